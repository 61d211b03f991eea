//! What a process has used so far, as the kernel has it.

use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::Pid;

use crate::Outcome;

/// Processor time of all threads that the process has or had, user and system together, in nanoseconds and not in ticks.
pub(crate) fn processor_time(process: Pid) -> Outcome<Duration> {
    let used = ClockId::pid_cpu_clock_id(process)?.now()?;
    Ok(Duration::from(used))
}

/// Memory in bytes, pages that are shared with other processes counted by their share.
pub(crate) fn memory(process: Pid) -> Outcome<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .ok_or("the kernel reports no Pss")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

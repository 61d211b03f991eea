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

/// Memory in bytes that the process has to itself: heap and stacks, as far as they were ever written and not given back.
pub(crate) fn memory(process: Pid) -> Outcome<u64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .ok_or("the kernel reports no anonymous memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

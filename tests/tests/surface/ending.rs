//! What a run leaves behind, however it ends.

use nix::sys::signal::Signal;
use weir_tests::world::leftovers::KernelObjects;
use weir_tests::world::{World, cgroup, leftovers};

use super::ASK;

#[test]
fn killed_with_open_the_command_gets_sigterm_and_the_next_run_sweeps_up() {
    let world = World::new();
    let mut running = world.weir().spawn(&[
        "sh",
        "-c",
        "trap 'echo terminated >&2; exit 0' TERM; echo ready; while :; do sleep 1; done",
    ]);
    running.wait_for_stdout("ready");
    running.signal(Signal::SIGKILL);
    running.wait_for_stderr("terminated");
    running.wait();
    let left = leftovers::cgroups(world.control_group());
    assert!(left.len() <= 1, "at most an empty cgroup: {left:?}");
    for path in left {
        assert!(cgroup::wait_until_empty(&path), "{:?}", cgroup::processes(&path));
    }
    world.weir().run(&["true"]).assert_exit(0);
}

#[test]
fn what_runs_on_of_a_killed_run_is_told_of() {
    let world = World::new();
    let mut running = world.weir().spawn(&[
        "sh",
        "-c",
        "sleep 600 </dev/null >/dev/null 2>&1 & echo ready; wait",
    ]);
    running.wait_for_stdout("ready");
    running.signal(Signal::SIGKILL);
    running.wait();
    let left = leftovers::cgroups(world.control_group()).pop().unwrap();
    let mut next = world.weir().spawn(&["true"]);
    let finished = next.wait().assert_exit(0);
    let told = format!("still run, no longer captured; {}/cgroup.procs", left.display());
    assert!(finished.stderr.contains(&told), "{told} in {}", finished.stderr);
}

#[test]
fn cleaning_up_that_fails_costs_neither_the_exit_status_nor_the_table() {
    let world = World::new();
    // A folder where the run's record was: neither this run nor the next one's sweep can remove it as they remove files.
    let spoil = "for record in /run/weir/runs/weir-run-*; do rm $record && mkdir $record; done";
    let mut running = world
        .weir()
        .spawn(&["sh", "-c", &format!("{ASK}; {spoil}; exit 42")]);
    let finished = running.wait().assert_exit(42);
    let stderr = finished.stderr;
    assert!(
        stderr.contains("warning: this run leaves something behind"),
        "{stderr}"
    );
    assert!(stderr.contains("\ngpt-4o-mini"), "{stderr}");

    let mut next = world.weir().spawn(&["sh", "-c", "exit 7"]);
    let stderr = next.wait().assert_exit(7).stderr;
    assert!(
        stderr.contains("warning: what an earlier run left could not be removed"),
        "{stderr}"
    );
}

/// Sockets that listen in the world's network.
fn listeners() -> usize {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .map(|path| std::fs::read_to_string(path).unwrap());
    // proc_net_tcp(5): the fourth field is the state, 0A is LISTEN.
    tables
        .iter()
        .flat_map(|table| table.lines())
        .filter(|line| line.split_whitespace().nth(3) == Some("0A"))
        .count()
}

#[test]
fn nothing_is_left_in_the_kernel_however_it_ended() {
    let world = World::new();
    let before = listeners();
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        let mut running = world.weir().spawn(&["cat"]);
        running.write_line("ready");
        running.wait_for_stdout("ready");
        let held = KernelObjects::held_by(running.process());
        assert!(!held.is_empty(), "Weir has programs in the kernel while it runs");
        assert!(listeners() > before);
        if let Some(signal) = signal {
            running.signal(signal);
        }
        running.wait();
        held.assert_gone();
        assert_eq!(listeners(), before);
    }
    world.weir().run(&["true"]).assert_exit(0);
}

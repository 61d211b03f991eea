//! What a signal to Weir does.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use weir_tests::captured::Dialer;
use weir_tests::world::World;
use weir_tests::world::wait::PATIENCE;

use super::{ASK, wait_until};

#[test]
fn signals_reach_the_command() {
    let world = World::new();
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
    ] {
        let script = format!("sleep 600 & trap 'echo got {name}; kill $!; exit 7' {name}; echo ready; wait");
        let mut running = world.weir().spawn(&["bash", "-c", &script]);
        running.wait_for_stdout("ready");
        running.signal(signal);
        running.wait_for_stdout(&format!("got {name}"));
        running.wait().assert_exit(7);
    }
}

#[test]
fn the_command_starts_with_no_signal_blocked() {
    let world = World::new();
    let finished = world
        .weir()
        .run(&["grep", "SigBlk", "/proc/self/status"])
        .assert_exit(0);
    assert_eq!(finished.stdout, "SigBlk:\t0000000000000000\n");
}

#[test]
fn a_signal_ends_weir_while_it_waits_to_start() {
    let world = World::new();
    world.weir().run(&["true"]).assert_exit(0);
    let lock = File::open(world.path("state/lock")).unwrap();
    lock.lock().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut running = world.weir().spawn(&["true"]);
        let process = format!(" {} ", running.process());
        // proc_locks(5): an arrow stands before who waits.
        wait_until("does Weir wait for the lock", || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks
                .lines()
                .any(|line| line.contains("->") && line.contains(&process))
        });
        running.signal(signal);
        assert_eq!(running.wait().status.signal(), Some(signal as i32));
    }
    drop(lock);
    world.weir().run(&["true"]).assert_exit(0);
}

#[test]
fn a_signal_ends_weir_while_it_waits_for_the_access_logs_reader() {
    let world = World::new();
    let path = world.path("log.fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut log = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    while log.write(&[b'\n'; 4096]).is_ok() {} // full
    let mut weir = world
        .outside(weir_tests::world::binaries::built("weir"))
        .arg("run")
        .arg("--state-dir")
        .arg(world.path("state"))
        .arg("--access-log")
        .arg(&path)
        .args(["--", "sh", "-c", &format!("{ASK}; ls /run/weir/runs >runs")])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Removing the run's record is the last that it does before it writes out the log.
    let runs = world.path("runs");
    wait_until("does the command end", || {
        std::fs::read_to_string(&runs).is_ok_and(|runs| runs.contains("weir-run-"))
    });
    wait_until("does the run end", || {
        let mut records = std::fs::read_dir("/run/weir/runs").unwrap().flatten();
        records.all(|entry| entry.file_name() == ".lock")
    });
    assert_eq!(weir.try_wait().unwrap(), None, "it waits for the log's reader");
    let process = Pid::from_raw(weir.id().try_into().unwrap());
    nix::sys::signal::kill(process, Signal::SIGTERM).unwrap();
    let mut status = None;
    let deadline = Instant::now() + PATIENCE;
    while status.is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        status = weir.try_wait().unwrap();
    }
    let _ = weir.kill();
    assert_eq!(
        status.and_then(|status| status.signal()),
        Some(Signal::SIGTERM as i32)
    );
}

/// What the command has opened may take two seconds to end. Who does not want to wait loses neither the status nor the table.
#[test]
fn a_signal_ends_the_wait_for_connections() {
    let world = World::new();
    let weir = world.weir().variable("WEIR_LOG", "info,weir_agent=debug");
    let dialer = Dialer::start(weir);
    // Passed out of the command, it stays open when the command has ended.
    let stream = dialer.connect("203.0.113.30:80");
    let running = dialer.end();
    running.wait_for_stderr("connections may end");
    running.signal(Signal::SIGTERM);
    running.wait_for_stderr("connections are cut");
    let finished = running.finish().assert_exit(0);
    assert!(
        finished.stderr.contains("No request to an AI provider was seen."),
        "{}",
        finished.stderr
    );
    drop(stream);
}

//! A run's cgroup and record: made, waited for, swept.

use std::process::{Command, Stdio};

use weir_agent::capture::{Hierarchy, RunDirectory};

use crate::{
    agent::Agent,
    support::{Fixture, in_namespace},
};

/// A process that ends when its standard input does.
fn waiting() -> Command {
    let mut command = Command::new("cat");
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    command
}

#[test]
fn a_cgroup_knows_its_processes() {
    let records = tempfile::tempdir().unwrap();
    let run = RunDirectory::open(records.path()).unwrap().begin().unwrap();
    assert!(!run.cgroup().is_populated().unwrap());
    assert_eq!(
        run.cgroup().path().parent().unwrap(),
        Hierarchy::find().unwrap().own
    );
    let mut command = waiting();
    run.cgroup().join_before_exec(&mut command).unwrap();
    let mut child = command.spawn().unwrap();
    assert!(run.cgroup().is_populated().unwrap());
    assert_eq!(run.cgroup().processes().unwrap(), [child.id().cast_signed()]);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let emptied = run.cgroup().emptied();
        tokio::pin!(emptied);
        tokio::select! {
            biased;
            _ = &mut emptied => panic!("a process still runs in it"),
            () = std::future::ready(()) => {}
        }
        drop(child.stdin.take());
        let (done, ()) = tokio::join!(emptied, async {
            child.wait().unwrap();
        });
        done.unwrap();
    });
    let path = run.cgroup().path().to_owned();
    run.end().unwrap();
    assert!(!path.exists());
    assert_eq!(
        records.path().read_dir().unwrap().count(),
        1,
        "only the lock is left"
    );
}

#[test]
fn a_populated_run_does_not_end() {
    let records = tempfile::tempdir().unwrap();
    let directory = RunDirectory::open(records.path()).unwrap();
    let run = directory.begin().unwrap();
    let mut command = waiting();
    run.cgroup().join_before_exec(&mut command).unwrap();
    let mut child = command.spawn().unwrap();
    let path = run.cgroup().path().to_owned();
    let error = run.end().unwrap_err().to_string();
    assert!(error.contains("a process still runs in it"), "{error}");
    assert_eq!(
        directory.sweep_stale().unwrap().still_populated,
        std::slice::from_ref(&path)
    );
    drop(child.stdin.take());
    child.wait().unwrap();
    assert_eq!(
        directory.sweep_stale().unwrap().removed,
        std::slice::from_ref(&path)
    );
    assert!(!path.exists());
}

#[test]
fn the_next_run_removes_what_killed_ones_left() {
    in_namespace(|| {
        let records = tempfile::tempdir().unwrap();
        let directory = RunDirectory::open(records.path()).unwrap();
        for policy in ["open", "closed"] {
            let mut agent = Agent::start(policy, records.path());
            let path = agent.cgroup.path().to_owned();
            // cgroups that a captured process made below its own
            std::fs::create_dir_all(path.join("inner/innermost")).unwrap();
            assert_eq!(
                directory.sweep_stale().unwrap().removed.len(),
                0,
                "a living run is not swept"
            );
            agent.kill();
            assert_eq!(
                directory.sweep_stale().unwrap().removed,
                std::slice::from_ref(&path)
            );
            assert!(!path.exists());
            assert_eq!(
                records.path().read_dir().unwrap().count(),
                1,
                "only the lock is left"
            );
        }
    });
}

#[test]
fn nothing_is_left() {
    in_namespace(|| {
        let fixture = Fixture::closed();
        let path = fixture.cgroup().path().to_owned();
        let records = fixture.records.path().to_owned();
        assert!(fixture.client("blocking 198.51.100.7:443").starts_with("reached"));
        drop(fixture);
        assert!(!path.exists() && !records.exists());
    });
}

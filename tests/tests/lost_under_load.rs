//! Weir is lost while connections come and go: what the failure policy promises holds for each of them.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use nix::sys::signal::Signal;
use weir_tests::world::World;
use weir_tests::world::run::Running;

/// Connections dialled after Weir was lost.
const AFTER: usize = 6 * 8;

/// A shell that outlives Weir, with six loops that dial one connection after another, eight of them after the phase has changed.
fn load<'world>(world: &'world World, policy: &str) -> Running<'world> {
    let phase = world.write("phase", "before");
    let mut running = world.weir().option("--fail").option(policy).spawn(&[
        "bash",
        "-c",
        "trap '' TERM; echo ready; exec bash",
    ]);
    running.wait_for_stdout("ready");
    running.write_line(&format!(
        "for i in 1 2 3 4 5 6; do (n=0; while [ $n -lt 8 ]; do phase=$(cat {}); [ $phase = after ] && n=$((n+1)); \
         curl -sS -m 120 -o /dev/null -w \"$phase %{{http_code}}\\n\" https://plain.example/hello?$phase; done) & done",
        phase.display()
    ));
    running.wait_for_stdout("before 200");
    running
}

/// From here on each connection is dialled after what was done before this call.
fn after(world: &World) {
    let new = world.write("phase.new", "after");
    std::fs::rename(new, world.path("phase")).unwrap();
}

/// The answers to the connections that were dialled after Weir was lost, `000` where there was none.
fn codes(running: &mut Running<'_>) -> Vec<String> {
    running.write_line("wait; echo over");
    let output = running.wait_for_stdout("over\n");
    output
        .lines()
        .filter_map(|line| line.strip_prefix("after "))
        .map(str::to_owned)
        .collect()
}

fn got_out(world: &World) -> bool {
    world
        .provider()
        .all()
        .iter()
        .any(|record| record.path.ends_with("after"))
}

#[test]
fn killed_with_open_each_new_connection_arrives() {
    let world = World::new();
    let mut running = load(&world, "open");
    running.kill();
    after(&world);
    assert_eq!(codes(&mut running), ["200"; AFTER]);
    running.write_line("exit 0");
}

#[test]
fn killed_with_closed_none_does() {
    let world = World::new();
    let mut running = load(&world, "closed");
    running.kill();
    after(&world);
    assert_eq!(codes(&mut running), ["000"; AFTER]);
    assert!(!got_out(&world));
    running.write_line("exit 0");
    running.wait();
    // The next run removes what the killed one left.
    world.weir().run(&["true"]).assert_exit(0);
}

/// Dials until the heartbeat is missed, when curl exits with `decided`: until then a connection only waits for Weir, and curl gives it up.
fn dial_until(running: &mut Running<'_>, decided: u8) {
    running.write_line(&format!(
        "until curl -sS -m 2 -o /dev/null https://plain.example/hello?after; test $? = {decided}; do :; done; echo decided"
    ));
    running.wait_for_stdout("decided");
}

#[test]
fn hung_with_open_each_new_connection_arrives() {
    let world = World::new();
    let mut running = load(&world, "open");
    running.signal(Signal::SIGSTOP);
    after(&world);
    dial_until(&mut running, 0);
    assert!(got_out(&world));
    // Those of the last seconds before the heartbeat was missed wait for Weir; none of them is lost either.
    running.signal(Signal::SIGCONT);
    assert_eq!(codes(&mut running), ["200"; AFTER]);
    running.write_line("exit 0");
    running.wait();
}

#[test]
fn hung_with_closed_none_does() {
    let world = World::new();
    let mut running = load(&world, "closed");
    running.signal(Signal::SIGSTOP);
    after(&world);
    // 7: refused, which is curl's word for a connect() that failed at once.
    dial_until(&mut running, 7);
    assert!(!got_out(&world));
    running.signal(Signal::SIGCONT);
    codes(&mut running);
    running.write_line("exit 0");
    running.wait();
}

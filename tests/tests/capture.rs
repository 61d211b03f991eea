//! Capture, as `weir run` does it: what is caught, what is let be, and what happens when Weir is gone.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use serde_json::json;
use weir_tests::world::binaries::built;
use weir_tests::world::run::{Running, WeirRun};
use weir_tests::world::{World, configuration, namespace, servers};

const MODELS: &str = "https://api.openai.com/v1/models";

fn probe() -> String {
    built("weir-probe").to_str().unwrap().to_owned()
}

#[test]
fn a_thousand_connects_at_once_reach_twenty_destinations_unmixed() {
    let world = World::new();
    let hosts: Vec<String> = (100..120).map(|number| format!("203.0.113.{number}")).collect();
    let script: String = hosts
        .iter()
        .map(|host| format!("address add {host}/32 dev lo\n"))
        .collect();
    namespace::ip(&script);
    let _reports: Vec<_> = hosts
        .iter()
        .map(|host| servers::start(host, 443, servers::identity))
        .collect();
    let probe = probe();
    let mut command = vec![probe.clone(), "parallel".to_owned(), "1000".to_owned()];
    command.extend(hosts.iter().map(|host| format!("{host}:443")));
    let finished = world.weir().run(&command).assert_exit(0);
    assert_eq!(finished.stdout, "1000 connections, 0 wrong\n");
}

#[test]
fn quic_is_refused_so_that_clients_fall_back() {
    let world = World::new();
    let refused = ["ConnectionRefused", "PermissionDenied"];
    for address in ["203.0.113.20:443", "[2001:db8::20]:443"] {
        let finished = world
            .weir()
            .run(&[probe().as_str(), "datagram", address])
            .assert_exit(0);
        assert_eq!(finished.stdout.lines().count(), 2, "{}", finished.stdout);
        for (line, kind) in finished.stdout.lines().zip(["unconnected", "connected"]) {
            assert!(
                refused.iter().any(|word| line == format!("{kind}: {word}")),
                "{address}: {}",
                finished.stdout
            );
        }
    }
}

#[test]
fn a_daemon_that_outlives_the_command_is_captured_until_it_ends() {
    let world = World::new();
    let script = format!("(setsid sh -c 'sleep 1; curl -sSf -o answer {MODELS}' >/dev/null 2>&1 &) ; exit 5");
    let finished = world.weir().run(&["sh", "-c", &script]).assert_exit(5);
    finished
        .only_exchange()
        .assert(&json!({"url.path": "/v1/models", "http.response.status_code": 200}));
}

#[test]
fn a_process_outside_is_left_alone() {
    let world = World::new();
    let mut running = world.weir().spawn(&["cat"]);
    running.write_line("ready");
    running.wait_for_stdout("ready");
    let output = world
        .outside("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", MODELS])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "401");
    assert!(running.finish().assert_exit(0).access_log.is_empty());
    assert_eq!(
        world.provider().all().first().unwrap().header("authorization"),
        None
    );
}

#[test]
fn loopback_and_what_is_excluded_are_left_alone() {
    let world = World::new();
    let loopback = servers::start("127.0.0.1", 443, servers::identity);
    let finished = world
        .weir()
        .run(&[probe().as_str(), "raw", "127.0.0.1:443", "--half-close"])
        .assert_exit(0);
    assert_eq!(finished.stdout, "127.0.0.1:443\n[closed]\n");
    assert_eq!(loopback.recv().unwrap(), "echoed 0");
    for option in ["--exclude-cidr=203.0.113.20/32", "--exclude-port=443"] {
        let command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", MODELS];
        let finished = world.weir().option(option).run(&command).assert_exit(0);
        assert_eq!(finished.stdout, "401", "{option}: without Weir there is no key");
        assert!(finished.access_log.is_empty());
    }
}

#[test]
fn ipv6_is_captured() {
    let world = World::new();
    let resolve = "api.openai.com:443:[2001:db8::20]";
    let command = ["curl", "-sSf", "-6", "--resolve", resolve, MODELS];
    world
        .weir()
        .run(&command)
        .assert_exit(0)
        .only_exchange()
        .assert(&json!({"http.response.status_code": 200}));
}

/// A shell that outlives Weir: it ignores SIGTERM and goes on reading its orders.
fn survivor<'world>(weir: WeirRun<'world>) -> Running<'world> {
    let mut running = weir.spawn(&["bash", "-c", "trap '' TERM; echo ready; exec bash"]);
    running.wait_for_stdout("ready");
    running.write_line(&format!(
        "curl -sS -o /dev/null -w 'first %{{http_code}}\\n' {MODELS}"
    ));
    running.wait_for_stdout("first 200");
    running
}

const AFTER: &str = "curl -sS --connect-timeout 30 -o /dev/null -w 'after %{http_code}\\n' https://plain.example/hello; echo over";

#[test]
fn killed_with_open_no_new_connection_is_lost() {
    let world = World::new();
    let mut running = survivor(world.weir().option("--fail").option("open"));
    running.kill();
    running.write_line(AFTER);
    running.wait_for_stdout("after 200");
    running.write_line("exit 0");
}

#[test]
fn killed_with_closed_nothing_gets_out() {
    let world = World::new();
    nothing_gets_out(&world, world.weir().option("--fail").option("closed"));
}

#[test]
fn a_policy_may_say_closed_and_the_command_line_goes_before_it() {
    let world = World::new();
    let policy = "---
apiVersion: weir.dev/v1alpha1
kind: AIPolicy
metadata: {name: shut}
spec: {targetRefs: [{kind: Workload}], failurePolicy: Closed}
";
    let configured = || {
        let text = configuration::standard(&world) + policy;
        world.bare_weir().configuration(&text)
    };
    nothing_gets_out(&world, configured());
    let mut running = survivor(configured().option("--fail").option("open"));
    running.kill();
    running.write_line(AFTER);
    running.wait_for_stdout("after 200");
    running.write_line("exit 0");
}

fn nothing_gets_out(world: &World, weir: WeirRun<'_>) {
    let mut running = survivor(weir);
    running.kill();
    running.write_line(AFTER);
    let output = running.wait_for_stdout("over\n");
    assert!(output.contains("after 000"), "{output}");
    assert!(
        world
            .provider()
            .all()
            .iter()
            .all(|record| record.path != "/hello")
    );
    // A provider's host is as shut, and no key travels.
    running.write_line(&format!(
        "curl -sS -o /dev/null -w 'provider %{{http_code}}\\n' {MODELS}"
    ));
    running.wait_for_stdout("provider 000");
    running.write_line("exit 0");
    running.wait();
    // The next run removes what the killed one left.
    world.weir().run(&["true"]).assert_exit(0);
}

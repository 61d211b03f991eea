//! The agent killed, hung, or not there: the failure policy decides.

use nix::sys::signal::Signal;
use weir_agent::capture::{CaptureSettings, FailurePolicy};

use crate::{
    agent::{Agent, BOUND},
    support::{Fixture, LOCAL_V4, LOCAL_V6, in_namespace, outside, reached_real, real_server, said},
};

/// What clients do, where they end up if let through, and what else must follow the policy.
fn each_family(check: impl Fn(&str, &str)) {
    for address in [
        format!("{LOCAL_V4}:443"),
        format!("[{LOCAL_V6}]:443"),
        format!("[::ffff:{LOCAL_V4}]:443"),
    ] {
        check(&format!("blocking {address}"), &reached_real(&address));
    }
}

fn real_servers() {
    real_server(&format!("{LOCAL_V4}:443"));
    real_server(&format!("[{LOCAL_V6}]:443"));
}

#[test]
fn killed_and_open_lets_everything_through() {
    in_namespace(|| {
        real_servers();
        let records = tempfile::tempdir().unwrap();
        let mut agent = Agent::start("open", records.path());
        assert!(
            agent
                .client("blocking 198.51.100.7:443")
                .starts_with("reached 198.51.100.7:443")
        );
        agent.kill();
        each_family(|arguments, reached| assert_eq!(agent.client(arguments), reached));
        for way in ["udp-connected", "udp-unconnected"] {
            assert_eq!(agent.client(&format!("{way} {LOCAL_V4}:443")), "sent");
        }
    });
}

#[test]
fn killed_and_closed_lets_nothing_out() {
    in_namespace(|| {
        real_servers();
        let records = tempfile::tempdir().unwrap();
        let mut agent = Agent::start("closed", records.path());
        assert!(
            agent
                .client("blocking 198.51.100.7:443")
                .starts_with("reached 198.51.100.7:443")
        );
        agent.kill();
        each_family(|arguments, _| assert_eq!(agent.client(arguments), "ECONNREFUSED"));
        assert_eq!(
            agent.client(&format!("udp-unconnected {LOCAL_V4}:443")),
            "ECONNREFUSED"
        );
        // What is never captured is never refused.
        real_server(&format!("{LOCAL_V4}:8443"));
        assert_eq!(
            agent.client(&format!("blocking {LOCAL_V4}:8443")),
            reached_real(&format!("{LOCAL_V4}:8443"))
        );
    });
}

#[test]
fn hung_agent_is_passed_by_or_refused() {
    in_namespace(|| {
        real_servers();
        let records = tempfile::tempdir().unwrap();
        for policy in ["open", "closed"] {
            let agent = Agent::start(policy, records.path());
            agent.signal(Signal::SIGSTOP);
            // The last heartbeat has to age; no event tells of that.
            std::thread::sleep(BOUND * 2);
            each_family(|arguments, reached| {
                let expected = if policy == "open" { reached } else { "ECONNREFUSED" };
                assert_eq!(agent.client(arguments), expected);
            });
            agent.signal(Signal::SIGCONT);
        }
    });
}

/// A process of the cgroup that moves to another network namespace finds no listener there.
#[test]
fn another_network_namespace_follows_the_policy() {
    in_namespace(|| {
        for (fixture, expected) in [
            (Fixture::open(), "ENETUNREACH"),
            (Fixture::closed(), "ECONNREFUSED"),
        ] {
            let command = outside("blocking 198.51.100.7:443");
            let mut elsewhere = std::process::Command::new("unshare");
            elsewhere
                .arg("--net")
                .arg(command.get_program())
                .args(command.get_args());
            for (name, value) in command.get_envs() {
                elsewhere.env(name, value.unwrap());
            }
            fixture.cgroup().join_before_exec(&mut elsewhere).unwrap();
            assert_eq!(said(&elsewhere.output().unwrap()), expected);
        }
    });
}

/// Without IPv6 there is no listener on [::1], and nothing to connect to either.
#[test]
fn without_ipv6() {
    in_namespace(|| {
        std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1").unwrap();
        const V6: &str = "blocking [2001:db8:1::7]:443";
        let uncaptured = said(&outside(V6).output().unwrap());
        for (fixture, expected) in [
            (Fixture::open(), uncaptured.as_str()),
            (Fixture::closed(), "ECONNREFUSED"),
        ] {
            assert_eq!(fixture.capture().listener_ports().1, None);
            assert!(
                fixture
                    .client("blocking 198.51.100.7:443")
                    .starts_with("reached 198.51.100.7:443")
            );
            assert_eq!(fixture.client(V6), expected);
            let counts = fixture.counts();
            assert_eq!(
                (counts.captured, counts.passed, counts.refused),
                (1, 0, 0),
                "it leads nowhere"
            );
        }
    });
}

#[test]
fn stopped_in_order_captures_nothing_more() {
    in_namespace(|| {
        real_servers();
        for mut fixture in [Fixture::open(), Fixture::closed()] {
            let run = fixture.run.take().unwrap();
            drop(fixture);
            each_family(|arguments, reached| {
                let mut command = outside(arguments);
                run.cgroup().join_before_exec(&mut command).unwrap();
                assert_eq!(said(&command.output().unwrap()), reached);
            });
            run.end().unwrap();
        }
    });
}

/// An agent with no descriptor left waits until a connection closes, and then takes those that waited for it.
#[test]
fn out_of_descriptors_every_connection_is_still_taken() {
    in_namespace(|| {
        let records = tempfile::tempdir().unwrap();
        let agent = Agent::start("scarce", records.path());
        assert_eq!(agent.client("many 198.51.100.7:443"), "50 connections, 0 wrong");
    });
}

/// With a bound of nothing every heartbeat is late.
#[test]
fn late_heartbeat_is_counted() {
    in_namespace(|| {
        real_servers();
        for on_failure in [FailurePolicy::Open, FailurePolicy::Closed] {
            let settings = CaptureSettings {
                on_failure,
                heartbeat_bound: std::time::Duration::ZERO,
                ..CaptureSettings::default()
            };
            let fixture = Fixture::new(&settings);
            let said = fixture.client(&format!("blocking {LOCAL_V4}:443"));
            let counts = fixture.counts();
            match on_failure {
                FailurePolicy::Open => assert_eq!(
                    (said.as_str(), counts.passed),
                    (&*reached_real(&format!("{LOCAL_V4}:443")), 1)
                ),
                FailurePolicy::Closed => assert_eq!((said.as_str(), counts.refused), ("ECONNREFUSED", 1)),
            }
        }
    });
}

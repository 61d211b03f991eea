//! Every way to connect reaches the agent, with the address that the app dialled.

use crate::support::{Fixture, LOCAL_V4, LOCAL_V6, in_namespace};

/// Unroutable in the test's namespace: only capture can make these dials succeed.
const V4: &str = "198.51.100.7:443";
const V6: &str = "[2001:db8:1::7]:443";
const MAPPED: &str = "[::ffff:198.51.100.7]:443";

fn reaches(arguments: &str, expected: &str) {
    in_namespace(|| assert_eq!(Fixture::open().client(arguments), expected));
}

#[test]
fn ipv4() {
    reaches(&format!("blocking {V4}"), &format!("reached {V4}, peer {V4}"));
}

#[test]
fn ipv4_port_80() {
    reaches(
        "blocking 198.51.100.7:80",
        "reached 198.51.100.7:80, peer 198.51.100.7:80",
    );
}

#[test]
fn ipv6() {
    reaches(&format!("blocking {V6}"), &format!("reached {V6}, peer {V6}"));
}

#[test]
fn ipv4_mapped_in_ipv6() {
    reaches(
        &format!("blocking {MAPPED}"),
        &format!("reached {V4}, peer {MAPPED}"),
    );
}

#[test]
fn non_blocking() {
    reaches(&format!("nonblocking {V4}"), &format!("reached {V4}, peer {V4}"));
    reaches(&format!("nonblocking {V6}"), &format!("reached {V6}, peer {V6}"));
}

#[test]
fn bound_source() {
    reaches(
        &format!("bound {V4} {LOCAL_V4}:0"),
        &format!("reached {V4}, peer {V4}"),
    );
    reaches(
        &format!("bound {V4} {LOCAL_V4}:4444"),
        &format!("reached {V4}, peer {V4}"),
    );
    reaches(
        &format!("bound {V6} [{LOCAL_V6}]:0"),
        &format!("reached {V6}, peer {V6}"),
    );
}

#[test]
fn fast_open() {
    reaches(&format!("fastopen {V4}"), &format!("reached {V4}, peer {V4}"));
    reaches(&format!("fastopen {V6}"), &format!("reached {V6}, peer {V6}"));
}

/// The outer MPTCP socket is another than the subflow that was captured, so getpeername isn't hidden from it.
#[test]
fn mptcp() {
    in_namespace(|| {
        let fixture = Fixture::open();
        let said = fixture.client(&format!("mptcp {V4}"));
        assert!(said.starts_with(&format!("reached {V4}, peer ")), "{said}");
        let said = fixture.client(&format!("mptcp {V6}"));
        assert!(said.starts_with(&format!("reached {V6}, peer ")), "{said}");
    });
}

#[test]
fn io_uring() {
    reaches(&format!("io_uring {V4}"), &format!("reached {V4}, peer {V4}"));
}

#[test]
fn descendants() {
    reaches(&format!("descendant {V4}"), &format!("reached {V4}, peer {V4}"));
}

/// The first address is on this machine and nobody listens there, on a port that isn't captured.
#[test]
fn a_socket_that_failed_before() {
    reaches(
        &format!("again {LOCAL_V4}:8443 {V4}"),
        &format!("reached {V4}, peer {V4}"),
    );
}

#[test]
fn a_thousand_at_once_to_twenty_destinations() {
    in_namespace(|| {
        let addresses: Vec<String> = (1..=10)
            .flat_map(|number| {
                [
                    format!("198.51.100.{number}:443"),
                    format!("[2001:db8:1::{number:x}]:80"),
                ]
            })
            .collect();
        let fixture = Fixture::open();
        assert_eq!(
            fixture.client(&format!("many {}", addresses.join(" "))),
            "1000 connections, 0 wrong"
        );
        assert_eq!((fixture.counts().captured, fixture.capture().resets()), (1000, 0));
    });
}

//! UDP 443 is refused, and nothing else of UDP is.

use std::process::Command;

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use crate::support::{Fixture, LOCAL_V4, LOCAL_V6, in_namespace, ip};

#[test]
fn refused_connected_or_not() {
    in_namespace(|| {
        let fixture = Fixture::open();
        let (v4, v6, mapped) = (
            format!("{LOCAL_V4}:443"),
            format!("[{LOCAL_V6}]:443"),
            format!("[::ffff:{LOCAL_V4}]:443"),
        );
        for address in [&v4, &v6, &mapped] {
            assert_eq!(
                fixture.client(&format!("udp-unconnected {address}")),
                "ECONNREFUSED",
                "{address}"
            );
        }
        // Why these aren't refused at their connect: see name_resolution_keeps_its_order.
        for address in [&v4, &v6] {
            assert_eq!(
                fixture.client(&format!("udp-connected {address}")),
                "EPERM",
                "{address}"
            );
        }
        // To the kernel each send to a mapped address has that address in it, connected or not.
        assert_eq!(fixture.client(&format!("udp-connected {mapped}")), "ECONNREFUSED");
        assert_eq!(fixture.counts().quic_refused, 6);
    });
}

#[test]
fn other_datagrams_pass() {
    in_namespace(|| {
        let fixture = Fixture::open();
        for address in [
            format!("{LOCAL_V4}:53"),
            format!("[{LOCAL_V6}]:80"),
            "127.0.0.1:443".to_owned(),
        ] {
            for way in ["udp-connected", "udp-unconnected"] {
                assert_eq!(
                    fixture.client(&format!("{way} {address}")),
                    "sent",
                    "{way} {address}"
                );
            }
        }
        assert_eq!(fixture.counts().quic_refused, 0);
    });
}

/// glibc sorts a name's addresses by connecting a UDP socket to each, at the port that was asked for, and puts those that
/// fail last. Were that connect refused, a machine without IPv6 would be told to try IPv6 first.
#[test]
fn name_resolution_keeps_its_order() {
    in_namespace(|| {
        let hosts = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(hosts.path(), "198.51.100.7 dual.test\n2001:db8:1::7 dual.test\n").unwrap();
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        mount(
            Some(hosts.path()),
            "/etc/hosts",
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .unwrap();
        // IPv4 leads somewhere, IPv6 nowhere.
        ip("route add default dev lo");
        let fixture = Fixture::open();
        let mut resolve = Command::new("python3");
        resolve.args(["-c", "import socket; print([a[4][0] for a in socket.getaddrinfo('dual.test', 443, type=socket.SOCK_STREAM)])"]);
        fixture.cgroup().join_before_exec(&mut resolve).unwrap();
        let output = resolve.output().expect("python3 starts");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            "['198.51.100.7', '2001:db8:1::7']"
        );
    });
}

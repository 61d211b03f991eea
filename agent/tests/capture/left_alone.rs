//! What capture must not touch.

use weir_agent::capture::CaptureSettings;

use crate::support::{
    Fixture, LOCAL_V4, LOCAL_V6, in_namespace, ip, outside, reached_real, real_server, said,
};

fn assert_left_alone(fixture: &Fixture, address: &str) {
    real_server(address);
    assert_eq!(
        fixture.client(&format!("blocking {address}")),
        reached_real(address)
    );
    assert_eq!(fixture.counts().captured, 0);
}

#[test]
fn loopback_and_link_local() {
    in_namespace(|| {
        ip("address add 169.254.7.7/32 dev lo");
        // In a new namespace lo is interface 1.
        ip("address add fe80::7/64 dev lo nodad");
        let fixture = Fixture::open();
        for address in [
            "127.0.0.1:443",
            "127.8.8.8:80",
            "[::1]:443",
            "169.254.7.7:80",
            "[fe80::7%1]:443",
        ] {
            assert_left_alone(&fixture, address);
        }
        assert_eq!(
            fixture.client("blocking [::ffff:127.0.0.1]:443"),
            reached_real("[::ffff:127.0.0.1]:443"),
            "IPv4 loopback in IPv6 clothes"
        );
    });
}

#[test]
fn other_ports() {
    in_namespace(|| assert_left_alone(&Fixture::open(), &format!("{LOCAL_V4}:8443")));
}

#[test]
fn excluded_port() {
    in_namespace(|| {
        let fixture = Fixture::new(&CaptureSettings {
            ports: vec![80],
            ..CaptureSettings::default()
        });
        assert_left_alone(&fixture, &format!("{LOCAL_V4}:443"));
        assert!(
            fixture
                .client("blocking 198.51.100.7:80")
                .starts_with("reached 198.51.100.7:80")
        );
    });
}

#[test]
fn excluded_networks() {
    in_namespace(|| {
        let exclude = ["203.0.113.0/24", "2001:db8::/64"]
            .map(|network| network.parse().unwrap())
            .to_vec();
        let fixture = Fixture::new(&CaptureSettings {
            exclude,
            ..CaptureSettings::default()
        });
        assert_left_alone(&fixture, &format!("{LOCAL_V4}:443"));
        assert_left_alone(&fixture, &format!("[{LOCAL_V6}]:443"));
        let mapped = format!("[::ffff:{LOCAL_V4}]:443");
        assert_eq!(
            fixture.client(&format!("blocking {mapped}")),
            reached_real(&mapped)
        );
        assert!(
            fixture
                .client("blocking 203.0.114.1:443")
                .starts_with("reached 203.0.114.1:443")
        );
        assert!(
            fixture
                .client("blocking [2001:db8:0:1::1]:443")
                .starts_with("reached [2001:db8:0:1::1]:443")
        );
    });
}

/// Excluding all of IPv6 says nothing about IPv4, however it is dialled.
#[test]
fn excluded_family() {
    in_namespace(|| {
        let exclude = vec!["::/0".parse().unwrap()];
        let fixture = Fixture::new(&CaptureSettings {
            exclude,
            ..CaptureSettings::default()
        });
        assert_left_alone(&fixture, &format!("[{LOCAL_V6}]:443"));
        assert!(
            fixture
                .client("blocking [::ffff:198.51.100.7]:443")
                .starts_with("reached 198.51.100.7:443")
        );
    });
}

/// Rewritten to loopback, a socket bound to another device would go nowhere.
#[test]
fn device_bound() {
    in_namespace(|| {
        let fixture = Fixture::open();
        real_server(&format!("{LOCAL_V4}:443"));
        let said = fixture.client(&format!("device {LOCAL_V4}:443 lo"));
        assert_eq!(
            (said, fixture.counts().captured),
            (reached_real(&format!("{LOCAL_V4}:443")), 0)
        );
    });
}

#[test]
fn another_process() {
    in_namespace(|| {
        let fixture = Fixture::open();
        real_server(&format!("{LOCAL_V4}:443"));
        let said = fixture.finish(outside(&format!("blocking {LOCAL_V4}:443")));
        assert_eq!(
            (said, fixture.counts().captured),
            (reached_real(&format!("{LOCAL_V4}:443")), 0)
        );
    });
}

/// Whoever dials the listener itself has no original destination.
#[test]
fn dialling_the_listener_is_reset() {
    in_namespace(|| {
        let fixture = Fixture::open();
        let (v4, v6) = fixture.capture().listener_ports();
        let dials = [
            format!("blocking 127.0.0.1:{v4}"),
            format!("blocking [::1]:{}", v6.unwrap()),
        ];
        for dial in &dials {
            assert_eq!(fixture.client(dial), "ECONNRESET");
            assert_eq!(fixture.finish(outside(dial)), "ECONNRESET");
        }
        assert_eq!(fixture.capture().resets(), 4);
    });
}

/// A socket that was captured and then dials the listener must not be taken for captured again.
#[test]
fn a_record_is_used_once() {
    in_namespace(|| {
        let fixture = Fixture::open();
        let (v4, _) = fixture.capture().listener_ports();
        let captured = fixture.client(&format!("bound 198.51.100.7:443 {LOCAL_V4}:4444"));
        assert!(captured.starts_with("reached"), "{captured}");
        let direct = fixture.client(&format!("bound 127.0.0.1:{v4} {LOCAL_V4}:4444"));
        assert_eq!(direct, "ECONNRESET");
    });
}

/// A connect that nobody answered leaves no record behind for whoever uses its source port next.
#[test]
fn an_abandoned_connect_leaves_no_record() {
    in_namespace(|| {
        let fixture = Fixture::open();
        let (v4, _) = fixture.capture().listener_ports();
        // A way to 127.0.0.1 on which nobody answers: the SYN is lost.
        ip("link add lost type veth peer name found");
        ip("link set lost up");
        ip("link set found up");
        ip("route del local 127.0.0.0/8 dev lo table local");
        ip("route del local 127.0.0.1 dev lo table local");
        ip("route add 127.0.0.1/32 dev lost");
        let said = fixture.client(&format!("abandoned 198.51.100.7:443 {LOCAL_V4}:4444"));
        assert_eq!((said.as_str(), fixture.counts().captured), ("abandoned", 1));
        ip("route del 127.0.0.1/32 dev lost");
        ip("route add local 127.0.0.1/32 dev lo table local");
        let direct = outside(&format!("bound 127.0.0.1:{v4} {LOCAL_V4}:4444"));
        assert_eq!(fixture.finish(direct), "ECONNRESET");
    });
}

#[test]
fn runs_side_by_side() {
    in_namespace(|| {
        let (one, two) = (Fixture::open(), Fixture::closed());
        for fixture in [&one, &two, &one] {
            assert!(
                fixture
                    .client("blocking 198.51.100.7:443")
                    .starts_with("reached 198.51.100.7:443")
            );
        }
        assert_eq!((one.counts().captured, two.counts().captured), (2, 1));
    });
}

#[test]
fn said_is_what_the_client_said() {
    assert_eq!(
        said(&outside("blocking 127.0.0.1:1").output().unwrap()),
        "ECONNREFUSED"
    );
}

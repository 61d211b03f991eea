//! connect(): redirects a dial to the listener, and remembers of its socket where it was going.

use aya_ebpf::{
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use weir_ebpf_common::{Counter, LOOPBACK_V4, LOOPBACK_V6_LAST, MAPPED_PREFIX, OriginRecord, SocketRecord};

use crate::{
    dial::{ALLOW, Destination, Dial, is_captured_port},
    listener::{self, Agent},
    quic,
    settings::{FAIL_CLOSED, SOCKETS, count},
};

#[cgroup_sock_addr(connect4)]
fn weir_connect4(context: SockAddrContext) -> i32 {
    let dial = Dial::new(&context);
    let destination = Destination::V4(dial.address_v4());
    if !dial.is_tcp() {
        quic::note(&dial);
        return ALLOW;
    }
    match capture(&dial, destination) {
        Outcome::Redirect(port) => {
            dial.set_address_v4(LOOPBACK_V4);
            dial.set_port(port);
            ALLOW
        }
        Outcome::LeaveAlone => ALLOW,
        Outcome::Refuse => dial.refuse(),
    }
}

#[cgroup_sock_addr(connect6)]
fn weir_connect6(context: SockAddrContext) -> i32 {
    let dial = Dial::new(&context);
    let destination = Destination::from_v6(dial.address_v6());
    if !dial.is_tcp() {
        quic::note(&dial);
        return ALLOW;
    }
    match capture(&dial, destination) {
        Outcome::Redirect(port) => {
            dial.set_address_v6(match destination {
                Destination::V4(_) => [0, 0, MAPPED_PREFIX, LOOPBACK_V4],
                Destination::V6(_) => [0, 0, 0, LOOPBACK_V6_LAST],
            });
            dial.set_port(port);
            ALLOW
        }
        Outcome::LeaveAlone => ALLOW,
        Outcome::Refuse => dial.refuse(),
    }
}

enum Outcome {
    Redirect(u16),
    LeaveAlone,
    Refuse,
}

#[inline(always)]
fn capture(dial: &Dial, destination: Destination) -> Outcome {
    let Some(socket) = dial.socket() else {
        return Outcome::LeaveAlone;
    };
    let port = dial.port();
    // A device-bound socket can't reach loopback.
    // SAFETY: a field of a live socket.
    if !is_captured_port(port) || destination.is_left_alone() || unsafe { (*socket).bound_dev_if } != 0 {
        forget(dial);
        return Outcome::LeaveAlone;
    }
    let through_v4 = matches!(destination, Destination::V4(_));
    let namespace = dial.network_namespace();
    let agent = listener::find(dial.as_ptr(), namespace, through_v4);
    if let Agent::Listens(listener) = agent
        && remember(dial, namespace, destination, port, through_v4)
    {
        count(Counter::Captured);
        return Outcome::Redirect(listener);
    }
    forget(dial);
    let counts = !matches!(agent, Agent::HasNoIpv6);
    if FAIL_CLOSED.load() == 1 {
        if counts {
            count(Counter::Refused);
        }
        Outcome::Refuse
    } else {
        if counts {
            count(Counter::Passed);
        }
        Outcome::LeaveAlone
    }
}

/// A socket whose first connect failed may be used again: what it remembers must be of the last one only.
#[inline(always)]
fn forget(dial: &Dial) {
    let _ = SOCKETS.remove(dial.socket_cookie());
}

/// False if the kernel has no room for the record: the connection then can't be captured.
#[inline(always)]
fn remember(dial: &Dial, namespace: u64, destination: Destination, port: u16, through_v4: bool) -> bool {
    let record = SocketRecord {
        network_namespace: namespace,
        origin: OriginRecord {
            address: destination.words(),
            port,
            padding: 0,
            process: (bpf_get_current_pid_tgid() >> 32) as u32,
            user: bpf_get_current_uid_gid() as u32,
            command: bpf_get_current_comm().unwrap_or_default(),
        },
        through_v4: u32::from(through_v4),
    };
    SOCKETS.insert(dial.socket_cookie(), record, 0).is_ok()
}

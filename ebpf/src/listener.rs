//! Whether the agent is there to take a connection.

use aya_ebpf::{
    bindings::{bpf_sock, bpf_sock_tuple},
    helpers::{bpf_ktime_get_ns, bpf_sk_lookup_tcp, bpf_sk_release},
};
use weir_ebpf_common::{LOOPBACK_V4, LOOPBACK_V6_LAST, NO_HEARTBEAT};

use crate::settings::{ENROLMENTS, HEARTBEAT, HEARTBEAT_BOUND};

const TCP_LISTEN: u32 = 10;
/// "The network namespace of the context": the socket's own.
const CURRENT_NAMESPACE: u64 = u64::MAX;

const SIZE_V4: u32 = 12;
const SIZE_V6: u32 = 36;

/// What there is to take a connection.
pub(crate) enum Agent {
    /// It listens at this port.
    Listens(u16),
    /// It listens, but not on [::1], which this network namespace does not have: what is dialled by IPv6 there leads nowhere.
    HasNoIpv6,
    /// Dead, hung, or not there in this network namespace.
    IsAway,
}

/// Whether the agent listens on 127.0.0.1 (or [::1]) in the socket's network namespace (its cookie), and its heartbeat is fresh.
#[inline(always)]
pub(crate) fn find(context: *mut core::ffi::c_void, namespace: u64, through_v4: bool) -> Agent {
    if !heart_beats() {
        return Agent::IsAway;
    }
    // SAFETY: copied at once; a torn read could only fail the look-up below, by a port or a mark that nobody has.
    let Some(enrolment) = unsafe { ENROLMENTS.get(namespace) }.copied() else {
        return Agent::IsAway;
    };
    // SAFETY: all-zero is a valid value of this union of integers.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let (port, size) = if through_v4 {
        let port = enrolment.port_v4;
        // No source: only a listener can match.
        tuple.__bindgen_anon_1.ipv4.daddr = LOOPBACK_V4;
        tuple.__bindgen_anon_1.ipv4.dport = port.to_be();
        (port, SIZE_V4)
    } else {
        let port = enrolment.port_v6;
        tuple.__bindgen_anon_1.ipv6.daddr = [0, 0, 0, LOOPBACK_V6_LAST];
        tuple.__bindgen_anon_1.ipv6.dport = port.to_be();
        (port, SIZE_V6)
    };
    if port == 0 {
        return Agent::HasNoIpv6;
    }
    // SAFETY: the tuple lives on our stack and is as long as said; the socket is released below.
    let socket: *mut bpf_sock = unsafe { bpf_sk_lookup_tcp(context, &mut tuple, size, CURRENT_NAMESPACE, 0) };
    if socket.is_null() {
        return Agent::IsAway;
    }
    // SAFETY: not null, referenced by us until the release.
    let ours = unsafe { (*socket).state == TCP_LISTEN && (*socket).mark == enrolment.mark };
    // SAFETY: the reference of the look-up.
    unsafe { bpf_sk_release(socket.cast()) };
    if ours { Agent::Listens(port) } else { Agent::IsAway }
}

#[inline(always)]
fn heart_beats() -> bool {
    let Some(beat) = HEARTBEAT.get(0) else {
        return false;
    };
    // SAFETY: an aligned word that the agent stores whole.
    let beat = unsafe { core::ptr::read_volatile(beat) };
    // SAFETY: no arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    // The beat may be a little younger than `now` was when we asked.
    beat != NO_HEARTBEAT && now.saturating_sub(beat) <= HEARTBEAT_BOUND.load()
}

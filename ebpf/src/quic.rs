//! UDP 443: refused while the agent is there, so that HTTP/3 clients fall back to TCP, which is captured.
//!
//! A datagram with an address is refused by sendmsg, one of a connected socket when its packet leaves. Refusing the
//! connect instead would be cleaner (ECONNREFUSED, where a dropped packet gives EPERM), but glibc sorts a name's
//! addresses by connecting a UDP socket to each at the port asked for: with every connect refused, a machine without
//! IPv6 is told to try IPv6 first, and fails.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_socket_cookie,
    macros::{cgroup_skb, cgroup_sock_addr},
    programs::{SkBuffContext, SockAddrContext},
};
use weir_ebpf_common::{AddressWords, Counter, QUIC_PORT};

use crate::{
    dial::{ALLOW, Destination, Dial, PROTOCOL_UDP, is_captured_port},
    listener::{self, Agent},
    settings::{DATAGRAMS, FAIL_CLOSED, count},
};

const PASS: i32 = 1;
const DROP: i32 = 0;

#[cgroup_sock_addr(sendmsg4)]
fn weir_sendmsg4(context: SockAddrContext) -> i32 {
    let dial = Dial::new(&context);
    on_send(&dial, Destination::V4(dial.address_v4()))
}

#[cgroup_sock_addr(sendmsg6)]
fn weir_sendmsg6(context: SockAddrContext) -> i32 {
    let dial = Dial::new(&context);
    on_send(&dial, Destination::from_v6(dial.address_v6()))
}

#[inline(always)]
fn on_send(dial: &Dial, destination: Destination) -> i32 {
    if dial.is_udp()
        && dial.port() == QUIC_PORT
        && is_refused(dial.as_ptr(), Some(dial.network_namespace()), destination)
    {
        return dial.refuse();
    }
    ALLOW
}

/// Remembers a UDP socket that is connected to port 443, for when its packets leave.
#[inline(always)]
pub(crate) fn note(dial: &Dial) {
    if dial.is_udp() && dial.port() == QUIC_PORT {
        let _ = DATAGRAMS.insert(dial.socket_cookie(), dial.network_namespace(), 0);
    }
}

#[cgroup_skb(egress)]
fn weir_egress(packet: SkBuffContext) -> i32 {
    match quic_destination(&packet) {
        Some(destination) if is_refused(packet.as_ptr(), sender(&packet), destination) => DROP,
        _ => PASS,
    }
}

/// The network namespace of a packet's socket, if it was connected while we looked.
#[inline(always)]
fn sender(packet: &SkBuffContext) -> Option<u64> {
    // SAFETY: a live context.
    let cookie = unsafe { bpf_get_socket_cookie(packet.as_ptr()) };
    // SAFETY: copied at once; a word is never torn.
    unsafe { DATAGRAMS.get(cookie) }.copied()
}

/// Where a packet to UDP 443 goes; None for every other packet.
#[inline(always)]
fn quic_destination(packet: &SkBuffContext) -> Option<Destination> {
    const VERSION: usize = 0;
    const V4_PROTOCOL: usize = 9;
    const V4_DESTINATION: usize = 16;
    const V6_NEXT_HEADER: usize = 6;
    const V6_DESTINATION: usize = 24;
    const V6_HEADER: usize = 40;
    const SHORTEST_HEADER: usize = 20;
    const UDP_DESTINATION_PORT: usize = 2;

    // Every packet of the cgroup comes by here, so TCP is told apart without a helper's call.
    // SAFETY: fields of a live context, which the verifier knows for pointers into the packet.
    let (start, end) = unsafe {
        (
            (*packet.skb.skb).data as usize,
            (*packet.skb.skb).data_end as usize,
        )
    };
    if start + SHORTEST_HEADER > end {
        return None;
    }
    // SAFETY: within SHORTEST_HEADER, which was checked to be there.
    let byte = |offset: usize| unsafe { *((start + offset) as *const u8) };
    let first = byte(VERSION);
    let is_v4 = first >> 4 == 4;
    let protocol = byte(if is_v4 { V4_PROTOCOL } else { V6_NEXT_HEADER });
    if u32::from(protocol) != PROTOCOL_UDP {
        return None;
    }
    let header = if is_v4 {
        usize::from(first & 0xf) * 4
    } else {
        V6_HEADER
    };
    let port: u16 = packet.load(header + UDP_DESTINATION_PORT).ok()?;
    if u16::from_be(port) != QUIC_PORT {
        return None;
    }
    if is_v4 {
        Some(Destination::V4(packet.load::<u32>(V4_DESTINATION).ok()?))
    } else {
        Some(Destination::V6(packet.load::<AddressWords>(V6_DESTINATION).ok()?))
    }
}

/// With the agent away QUIC follows the failure policy, as TCP does. The IPv4 listener stands for the agent: it is always
/// there. No namespace: a connected socket from before the capture, which nobody answers for.
#[inline(always)]
fn is_refused(context: *mut core::ffi::c_void, namespace: Option<u64>, destination: Destination) -> bool {
    if !is_captured_port(QUIC_PORT) || destination.is_left_alone() {
        return false;
    }
    if let Some(namespace) = namespace
        && let Agent::Listens(_) = listener::find(context, namespace, true)
    {
        count(Counter::QuicRefused);
        return true;
    }
    let closed = FAIL_CLOSED.load() == 1;
    if closed {
        count(Counter::QuicRefused);
    }
    closed
}

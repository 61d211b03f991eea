//! UDP 443: refused while the agent is there, so that HTTP/3 clients fall back to TCP, which is captured.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use weir_ebpf_common::{Counter, QUIC_PORT};

use crate::{
    dial::{ALLOW, Destination, Dial, is_captured_port},
    listener,
    settings::{FAIL_CLOSED, count},
};

#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn weir_sendmsg4(context: SockAddrContext) -> i32 {
    let dial = Dial::new(&context);
    refuse_quic(&dial, Destination::V4(dial.address_v4()))
}

#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn weir_sendmsg6(context: SockAddrContext) -> i32 {
    let dial = Dial::new(&context);
    refuse_quic(&dial, Destination::from_v6(dial.address_v6()))
}

#[inline(always)]
pub(crate) fn on_connect(dial: &Dial, destination: Destination) -> i32 {
    refuse_quic(dial, destination)
}

#[inline(always)]
fn refuse_quic(dial: &Dial, destination: Destination) -> i32 {
    if !dial.is_udp()
        || dial.port() != QUIC_PORT
        || !is_captured_port(QUIC_PORT)
        || destination.is_left_alone()
    {
        return ALLOW;
    }
    // With the agent away, QUIC follows the failure policy as TCP does. The IPv4 listener stands for the agent: it is
    // always there.
    if listener::find(dial, true).is_some() {
        count(Counter::QuicRefused);
        return dial.refuse();
    }
    if FAIL_CLOSED.load() == 1 {
        count(Counter::Refused);
        return dial.refuse();
    }
    ALLOW
}

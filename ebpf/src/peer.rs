//! getpeername(): answers with the original destination, so that the app sees the address that it dialled.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use weir_ebpf_common::OriginRecord;

use crate::{
    dial::{ALLOW, Dial},
    settings::SOCKETS,
};

#[cgroup_sock_addr(getpeername4)]
fn weir_getpeername4(context: SockAddrContext) -> i32 {
    let dial = Dial::new(&context);
    if let Some(origin) = origin(&dial) {
        dial.set_address_v4(origin.address[3]);
        dial.set_port(origin.port);
    }
    ALLOW
}

#[cgroup_sock_addr(getpeername6)]
fn weir_getpeername6(context: SockAddrContext) -> i32 {
    let dial = Dial::new(&context);
    if let Some(origin) = origin(&dial) {
        dial.set_address_v6(origin.address);
        dial.set_port(origin.port);
    }
    ALLOW
}

#[inline(always)]
fn origin(dial: &Dial) -> Option<OriginRecord> {
    // SAFETY: the record is removed when its socket closes, and this call holds the socket. Copied at once: eviction
    // could reuse the slot.
    unsafe { SOCKETS.get(dial.socket_cookie()) }.map(|record| record.origin)
}

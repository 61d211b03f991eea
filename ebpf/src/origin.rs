//! sock_ops: hands a captured connection's original destination over to the agent, by the connection's source.
//!
//! TCP_CONNECT_CB runs when the source is chosen and before the first SYN leaves, so the record is there before accept()
//! can return, whatever the kind of connect: blocking, non-blocking, fast open, MPTCP, io_uring.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::{
    bindings::{bpf_sock, bpf_sock_ops},
    macros::sock_ops,
    programs::SockOpsContext,
};
use weir_ebpf_common::{AddressWords, MAPPED_PREFIX, SocketRecord, SourceKey};

use crate::settings::{ORIGINS, socket_record};

const TCP_CONNECT: u32 = 3;
const STATE_CHANGE: u32 = 10;
const STATE_CHANGE_FLAG: i32 = 1 << 2;
const SYN_SENT: u32 = 2;
const CLOSE: u32 = 7;

#[sock_ops]
fn weir_sock_ops(context: SockOpsContext) -> u32 {
    match context.op() {
        TCP_CONNECT => {
            if let Some(record) = record(&context) {
                let _ = ORIGINS.insert(source(&context, record), unsafe { &(*record).origin }, 0);
                // Told of the connection's end, we can take back a record that nobody will come for.
                let _ = context.set_cb_flags(context.cb_flags() as i32 | STATE_CHANGE_FLAG);
            }
        }
        // A connect that failed has no accept(): left behind, its record would give whoever dials the listener
        // from the same port next a destination that isn't theirs.
        STATE_CHANGE if context.arg(0) == SYN_SENT && context.arg(1) == CLOSE => {
            if let Some(record) = record(&context) {
                let _ = ORIGINS.remove(source(&context, record));
            }
        }
        _ => {}
    }
    1
}

#[inline(always)]
fn record(context: &SockOpsContext) -> Option<*mut SocketRecord> {
    // SAFETY: a field of a live context.
    let socket: *mut bpf_sock = unsafe { read_volatile(addr_of!((*context.ops).__bindgen_anon_2.sk)) };
    if socket.is_null() {
        return None;
    }
    socket_record(socket)
}

#[inline(always)]
fn source(context: &SockOpsContext, record: *mut SocketRecord) -> SourceKey {
    // SAFETY: the caller's record is not null; the socket holds it.
    let (network_namespace, through_v4) = unsafe { ((*record).network_namespace, (*record).through_v4) };
    let address = if through_v4 == 1 {
        [0, 0, MAPPED_PREFIX, context.local_ip4()]
    } else {
        local_v6(context.ops)
    };
    SourceKey::new(network_namespace, address, context.local_port() as u16)
}

#[inline(always)]
fn local_v6(ops: *mut bpf_sock_ops) -> AddressWords {
    // SAFETY: fields of a live context, each by its constant offset.
    unsafe {
        [
            read_volatile(addr_of!((*ops).local_ip6[0])),
            read_volatile(addr_of!((*ops).local_ip6[1])),
            read_volatile(addr_of!((*ops).local_ip6[2])),
            read_volatile(addr_of!((*ops).local_ip6[3])),
        ]
    }
}

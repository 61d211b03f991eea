//! sock_ops: hands a captured connection's original destination over to the agent, by the connection's source.
//!
//! TCP_CONNECT_CB runs when the source is chosen and before the first SYN leaves, so the record is there before accept()
//! can return, whatever the kind of connect: blocking, non-blocking, fast open, MPTCP, io_uring.

use core::ptr::{addr_of, read_volatile};

use aya_ebpf::{
    bindings::bpf_sock_ops, helpers::generated::bpf_get_socket_cookie, macros::sock_ops,
    programs::SockOpsContext,
};
use weir_ebpf_common::{AddressWords, MAPPED_PREFIX, SocketRecord, SourceKey};

use crate::settings::{ORIGINS, SOCKETS};

const TCP_CONNECT: u32 = 3;
const STATE_CHANGE: u32 = 10;
const STATE_CHANGE_FLAG: i32 = 1 << 2;
const SYN_SENT: u32 = 2;
const CLOSE: u32 = 7;

#[sock_ops]
fn weir_sock_ops(context: SockOpsContext) -> u32 {
    match context.op() {
        TCP_CONNECT => {
            // SAFETY: copied at once; the socket is in the middle of its connect.
            if let Some(record) = unsafe { SOCKETS.get(cookie(&context)) } {
                let _ = ORIGINS.insert(source(&context, record), &record.origin, 0);
                // Told of the connection's end, we can take back what nobody will come for.
                let _ = context.set_cb_flags(context.cb_flags() as i32 | STATE_CHANGE_FLAG);
            }
        }
        STATE_CHANGE if context.arg(1) == CLOSE => closed(&context),
        _ => {}
    }
    1
}

fn closed(context: &SockOpsContext) {
    let cookie = cookie(context);
    // A connect that failed has no accept(): left behind, its record would give whoever dials the listener from the
    // same port next a destination that isn't theirs. One that succeeded may still wait to be accepted.
    if context.arg(0) == SYN_SENT
        // SAFETY: as above.
        && let Some(record) = unsafe { SOCKETS.get(cookie) }
    {
        let _ = ORIGINS.remove(source(context, record));
    }
    let _ = SOCKETS.remove(cookie);
}

#[inline(always)]
fn cookie(context: &SockOpsContext) -> u64 {
    // SAFETY: a live context.
    unsafe { bpf_get_socket_cookie(context.ops.cast()) }
}

#[inline(always)]
fn source(context: &SockOpsContext, record: &SocketRecord) -> SourceKey {
    let address = if record.through_v4 == 1 {
        [0, 0, MAPPED_PREFIX, context.local_ip4()]
    } else {
        local_v6(context.ops)
    };
    SourceKey::new(record.network_namespace, address, context.local_port() as u16)
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

//! One call of connect() or sendmsg(), as the hooks see it.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{
    EbpfContext,
    bindings::{bpf_sock, bpf_sock_addr},
    helpers::{bpf_get_netns_cookie, bpf_set_retval, generated::bpf_get_socket_cookie},
    maps::lpm_trie::Key,
    programs::SockAddrContext,
};
use weir_ebpf_common::{AddressWords, MAPPED_PREFIX, never};

use crate::settings::{CAN_SET_RETVAL, CAPTURED_PORTS, EXCLUDED_V4, EXCLUDED_V6, HAS_EXCLUDED};

/// The hook's verdict: let the call go on, to wherever the address now points.
pub(crate) const ALLOW: i32 = 1;
const REJECT: i32 = 0;

const ECONNREFUSED: i32 = 111;
const STREAM: u32 = 1;
const DATAGRAM: u32 = 2;
const PROTOCOL_TCP: u32 = 6;
pub(crate) const PROTOCOL_UDP: u32 = 17;
/// MPTCP connects by its first subflow, which says TCP (seen on 6.18); kept for kernels that show the outer socket.
const PROTOCOL_MPTCP: u32 = 262;

/// The kernel takes loads and stores of the context only at the offset of a field, so each is volatile: the compiler
/// must neither merge nor index them.
#[derive(Clone, Copy)]
pub(crate) struct Dial {
    context: *mut bpf_sock_addr,
}

impl Dial {
    #[inline(always)]
    pub(crate) fn new(context: &SockAddrContext) -> Self {
        Self {
            context: context.sock_addr,
        }
    }

    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *mut core::ffi::c_void {
        SockAddrContext::new(self.context).as_ptr()
    }

    #[inline(always)]
    pub(crate) fn is_tcp(&self) -> bool {
        // SAFETY: fields of a live context.
        let (kind, protocol) = unsafe {
            (
                read_volatile(addr_of!((*self.context).type_)),
                read_volatile(addr_of!((*self.context).protocol)),
            )
        };
        kind == STREAM && (protocol == PROTOCOL_TCP || protocol == PROTOCOL_MPTCP)
    }

    #[inline(always)]
    pub(crate) fn is_udp(&self) -> bool {
        // SAFETY: fields of a live context.
        let (kind, protocol) = unsafe {
            (
                read_volatile(addr_of!((*self.context).type_)),
                read_volatile(addr_of!((*self.context).protocol)),
            )
        };
        kind == DATAGRAM && protocol == PROTOCOL_UDP
    }

    /// The port dialled, host byte order.
    #[inline(always)]
    pub(crate) fn port(&self) -> u16 {
        // SAFETY: a field of a live context.
        u16::from_be(unsafe { read_volatile(addr_of!((*self.context).user_port)) } as u16)
    }

    #[inline(always)]
    pub(crate) fn set_port(&self, port: u16) {
        // SAFETY: a field that these hooks may write.
        unsafe { write_volatile(addr_of_mut!((*self.context).user_port), u32::from(port.to_be())) }
    }

    /// The IPv4 address dialled, network byte order. Only in hooks of IPv4.
    #[inline(always)]
    pub(crate) fn address_v4(&self) -> u32 {
        // SAFETY: a field of a live context.
        unsafe { read_volatile(addr_of!((*self.context).user_ip4)) }
    }

    #[inline(always)]
    pub(crate) fn set_address_v4(&self, address: u32) {
        // SAFETY: a field that these hooks may write.
        unsafe { write_volatile(addr_of_mut!((*self.context).user_ip4), address) }
    }

    /// The IPv6 address dialled. Only in hooks of IPv6.
    #[inline(always)]
    pub(crate) fn address_v6(&self) -> AddressWords {
        // SAFETY: fields of a live context, each by its constant offset.
        unsafe {
            [
                read_volatile(addr_of!((*self.context).user_ip6[0])),
                read_volatile(addr_of!((*self.context).user_ip6[1])),
                read_volatile(addr_of!((*self.context).user_ip6[2])),
                read_volatile(addr_of!((*self.context).user_ip6[3])),
            ]
        }
    }

    #[inline(always)]
    pub(crate) fn set_address_v6(&self, address: AddressWords) {
        let [first, second, third, last] = address;
        // SAFETY: fields that these hooks may write, each by its constant offset.
        unsafe {
            write_volatile(addr_of_mut!((*self.context).user_ip6[0]), first);
            write_volatile(addr_of_mut!((*self.context).user_ip6[1]), second);
            write_volatile(addr_of_mut!((*self.context).user_ip6[2]), third);
            write_volatile(addr_of_mut!((*self.context).user_ip6[3]), last);
        }
    }

    /// The socket, or None where the kernel has none at hand.
    #[inline(always)]
    pub(crate) fn socket(&self) -> Option<*mut bpf_sock> {
        // SAFETY: a field of a live context.
        let socket = unsafe { read_volatile(addr_of!((*self.context).__bindgen_anon_1.sk)) };
        (!socket.is_null()).then_some(socket)
    }

    /// Names the socket for as long as the machine is up.
    #[inline(always)]
    pub(crate) fn socket_cookie(&self) -> u64 {
        // SAFETY: a live context.
        unsafe { bpf_get_socket_cookie(self.as_ptr()) }
    }

    /// The cookie of the socket's network namespace.
    #[inline(always)]
    pub(crate) fn network_namespace(&self) -> u64 {
        // SAFETY: a live context.
        unsafe { bpf_get_netns_cookie(self.as_ptr()) }
    }

    /// Refuses the call: ECONNREFUSED where the kernel lets us say so, EPERM elsewhere.
    #[inline(always)]
    pub(crate) fn refuse(&self) -> i32 {
        if CAN_SET_RETVAL.load() == 1 {
            // SAFETY: allowed in these hooks wherever the agent set the flag.
            unsafe { bpf_set_retval(-ECONNREFUSED) };
        }
        REJECT
    }
}

/// Where a dial goes, as the rules of capture see it.
#[derive(Clone, Copy)]
pub(crate) enum Destination {
    /// IPv4, dialled as such or as `::ffff:a.b.c.d`.
    V4(u32),
    /// IPv6 proper.
    V6(AddressWords),
}

impl Destination {
    #[inline(always)]
    pub(crate) fn from_v6(address: AddressWords) -> Self {
        if never::is_mapped(address) {
            Self::V4(address[3])
        } else {
            Self::V6(address)
        }
    }

    #[inline(always)]
    pub(crate) fn words(self) -> AddressWords {
        match self {
            Self::V4(address) => [0, 0, MAPPED_PREFIX, address],
            Self::V6(address) => address,
        }
    }

    /// Whether it is left alone whatever its port: it doesn't leave the machine or the link, or it is excluded.
    #[inline(always)]
    pub(crate) fn is_left_alone(self) -> bool {
        let excluded = HAS_EXCLUDED.load() == 1;
        match self {
            Self::V4(address) => {
                never::v4(address) || (excluded && EXCLUDED_V4.get(Key::new(32, address)).is_some())
            }
            Self::V6(address) => {
                never::v6(address) || (excluded && EXCLUDED_V6.get(Key::new(128, address)).is_some())
            }
        }
    }
}

#[inline(always)]
pub(crate) fn is_captured_port(port: u16) -> bool {
    CAPTURED_PORTS.get_ptr(port).is_some()
}

//! Map keys and values shared by the kernel programs and the agent.
//!
//! Every type is `repr(C)` with its padding spelt out: the kernel compares map keys byte by byte, so no byte may be
//! left to the compiler.
#![no_std]

/// An IP address as both families share it: four words in network byte order, IPv4 as `::ffff:a.b.c.d`.
pub type AddressWords = [u32; 4];

/// The third word of an IPv4 address in [`AddressWords`].
pub const MAPPED_PREFIX: u32 = 0x0000_ffff_u32.to_be();

/// `127.0.0.1` as the kernel's hooks see it.
pub const LOOPBACK_V4: u32 = 0x7f00_0001_u32.to_be();

/// The last word of `::1` as the kernel's hooks see it.
pub const LOOPBACK_V6_LAST: u32 = 1_u32.to_be();

/// The port on which HTTP/3 is spoken over UDP.
pub const QUIC_PORT: u16 = 443;

/// The high byte of every listener mark ("W"). The other three are drawn at random for each listener, so that one agent's
/// programs never take another's listener for their own.
pub const MARK_PREFIX: u32 = 0x5700_0000;

/// The bits of a listener's mark that are drawn at random.
pub const MARK_RANDOM_BITS: u32 = 0x00ff_ffff;

/// How many original destinations may wait for their `accept()`. The oldest are dropped beyond that, and their
/// connections reset: a flood costs connections, never a wrong destination.
pub const ORIGIN_CAPACITY: u32 = 65_536;

/// How many captured sockets can be open at once before getpeername shows the oldest ones their redirect. All pods of a node
/// share them, and one alone can have as many as its source ports.
pub const SOCKET_CAPACITY: u32 = 65_536;

/// How many network namespaces can have a listener at a time. A node runs a few hundred pods at most.
pub const ENROLMENT_CAPACITY: u32 = 4_096;

/// How many connected UDP sockets to port 443 are remembered, of all pods of a node. The oldest are forgotten beyond that, and their packets pass.
pub const DATAGRAM_CAPACITY: u32 = 16_384;

/// How many ports can be captured.
pub const PORT_CAPACITY: u32 = 1_024;

/// How many excluded networks each address family can have.
pub const EXCLUDED_CAPACITY: u32 = 4_096;

/// A heartbeat that was never given, or was withdrawn: always stale.
pub const NO_HEARTBEAT: u64 = 0;

/// Where the agent listens in one network namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The listener's port on 127.0.0.1, host byte order.
    pub port_v4: u16,
    /// The listener's port on `[::1]`, host byte order; 0 if there is none.
    pub port_v6: u16,
    /// The mark that the listener carries: another socket on that port is not ours.
    pub mark: u32,
}

/// Who opened a captured connection, and to where.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginRecord {
    /// The address the app dialled.
    pub address: AddressWords,
    /// The port the app dialled, host byte order.
    pub port: u16,
    /// Always zero.
    pub padding: u16,
    /// The process (thread group) that called connect, as the initial PID namespace numbers it.
    pub process: u32,
    /// The user that called connect, as the initial user namespace numbers it.
    pub user: u32,
    /// The calling thread's name, ended by a zero byte.
    pub command: [u8; 16],
}

/// What is remembered of a captured socket for as long as it lives, by its cookie.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketRecord {
    /// The cookie of the socket's network namespace. Kept here because sock_ops can't ask before kernel 5.15.
    pub network_namespace: u64,
    /// The original destination and the caller.
    pub origin: OriginRecord,
    /// 1 if the connection goes to the IPv4 listener, 0 if to the IPv6 one.
    pub through_v4: u32,
}

/// Key of the original destinations that wait for `accept()`: the connection's source, which is all that the listener
/// sees of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceKey {
    /// The cookie of the network namespace (`SO_NETNS_COOKIE`).
    pub network_namespace: u64,
    /// The source address.
    pub address: AddressWords,
    /// The source port, host byte order.
    pub port: u16,
    /// Always zero.
    pub padding: [u16; 3],
}

impl SourceKey {
    /// The key of a connection's source.
    #[inline(always)]
    pub const fn new(network_namespace: u64, address: AddressWords, port: u16) -> Self {
        Self {
            network_namespace,
            address,
            port,
            padding: [0; 3],
        }
    }
}

/// Indices of the counters that the programs keep per CPU.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Connections redirected to the listener.
    Captured = 0,
    /// Connections to a captured port let through because the agent was away and the policy is Open. None of those by IPv6 where there is
    /// none: they lead nowhere.
    Passed = 1,
    /// Connections refused because the agent was away and the policy is Closed.
    Refused = 2,
    /// Datagrams to UDP 443 refused: while the agent is there, so that clients fall back to TCP; while it is away, if the policy is Closed.
    QuicRefused = 3,
}

/// How many counters there are.
pub const COUNTERS: u32 = 4;

/// The addresses that are never captured: they don't leave the machine or the link.
pub mod never {
    use super::{AddressWords, MAPPED_PREFIX};

    /// Unspecified (0.0.0.0/8 reaches the machine itself), loopback (127/8) or link-local (169.254/16).
    #[inline(always)]
    pub const fn v4(address: u32) -> bool {
        let host = u32::from_be(address);
        host >> 24 == 0 || host >> 24 == 127 || host >> 16 == 0xa9fe
    }

    /// Unspecified (`::`), loopback (`::1`) or link-local (`fe80::/10`).
    #[inline(always)]
    pub const fn v6(address: AddressWords) -> bool {
        let [first, second, third, last] = address;
        let near_zero = first | second | third == 0 && u32::from_be(last) <= 1;
        near_zero || u32::from_be(first) >> 22 == 0xfe80 >> 6
    }

    /// Whether this IPv6 address carries an IPv4 one (`::ffff:a.b.c.d`).
    #[inline(always)]
    pub const fn is_mapped(address: AddressWords) -> bool {
        let [first, second, third, _] = address;
        first | second == 0 && third == MAPPED_PREFIX
    }
}

#[cfg(feature = "user")]
#[allow(
    unsafe_code,
    reason = "aya asks for a promise about bytes that only this crate can give"
)]
mod plain_data {
    use super::{Enrolment, OriginRecord, SocketRecord, SourceKey};
    use aya::Pod;

    // SAFETY: repr(C), integers only, every padding byte is a field.
    unsafe impl Pod for Enrolment {}
    // SAFETY: as above.
    unsafe impl Pod for OriginRecord {}
    // SAFETY: as above.
    unsafe impl Pod for SocketRecord {}
    // SAFETY: as above.
    unsafe impl Pod for SourceKey {}
}

// The layouts have no byte that isn't a field's.
const _: () = assert!(size_of::<Enrolment>() == 2 + 2 + 4);
const _: () = assert!(size_of::<OriginRecord>() == 16 + 2 + 2 + 4 + 4 + 16);
const _: () = assert!(size_of::<SocketRecord>() == 8 + size_of::<OriginRecord>() + 4);
const _: () = assert!(size_of::<SourceKey>() == 8 + 16 + 2 + 6);

//! What the agent tells the programs: read-only globals, fixed when they are loaded, and maps, which may change.

use aya_ebpf::{
    Global,
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray},
};
use weir_ebpf_common::{
    COUNTERS, Counter, DATAGRAM_CAPACITY, ENROLMENT_CAPACITY, EXCLUDED_CAPACITY, Enrolment, ORIGIN_CAPACITY,
    OriginRecord, PORT_CAPACITY, SOCKET_CAPACITY, SocketRecord, SourceKey,
};

/// 1: refuse what can't be captured. 0: let it through.
#[unsafe(no_mangle)]
pub(crate) static FAIL_CLOSED: Global<u8> = Global::new(0);

/// A heartbeat older than this many nanoseconds means that the agent hangs.
#[unsafe(no_mangle)]
pub(crate) static HEARTBEAT_BOUND: Global<u64> = Global::new(3_000_000_000);

/// 1 where bpf_set_retval may be called from these hooks (kernel 6.1): a refusal is then ECONNREFUSED, not EPERM. Where
/// 0, the verifier drops the call as dead code.
#[unsafe(no_mangle)]
pub(crate) static CAN_SET_RETVAL: Global<u8> = Global::new(0);

/// 1 if any network is excluded: saves two look-ups where none is.
#[unsafe(no_mangle)]
pub(crate) static HAS_EXCLUDED: Global<u8> = Global::new(0);

/// Where the agent listens, by the network namespace's cookie: one set of programs serves all pods of a node. Not there:
/// nobody listens, and the failure policy decides.
#[map]
pub(crate) static ENROLMENTS: HashMap<u64, Enrolment> = HashMap::with_max_entries(ENROLMENT_CAPACITY, 0);

/// The network namespace of each UDP socket that was connected to port 443, by the socket's cookie: where its packets
/// leave, the kernel tells the namespace only since 6.15.
#[map]
pub(crate) static DATAGRAMS: LruHashMap<u64, u64> = LruHashMap::with_max_entries(DATAGRAM_CAPACITY, 0);

/// The captured ports, host byte order.
#[map]
pub(crate) static CAPTURED_PORTS: HashMap<u16, u8> = HashMap::with_max_entries(PORT_CAPACITY, 0);

/// IPv4 networks that are left alone.
#[map]
pub(crate) static EXCLUDED_V4: LpmTrie<u32, u8> = LpmTrie::with_max_entries(EXCLUDED_CAPACITY, 0);

/// IPv6 networks that are left alone.
#[map]
pub(crate) static EXCLUDED_V6: LpmTrie<[u32; 4], u8> = LpmTrie::with_max_entries(EXCLUDED_CAPACITY, 0);

/// When the agent last said that it lives: nanoseconds of CLOCK_MONOTONIC.
#[map]
pub(crate) static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

/// Each captured socket's record, by its cookie, from its connect to its end. sock_ops removes it at the end; the map is
/// LRU for those whose end isn't told (a connect that found no source port). Socket storage would need neither, but
/// making it costs 1.3 µs a connect where this costs 0.3 (6.18).
#[map]
pub(crate) static SOCKETS: LruHashMap<u64, SocketRecord> = LruHashMap::with_max_entries(SOCKET_CAPACITY, 0);

/// Original destinations that wait for the agent's accept().
#[map]
pub(crate) static ORIGINS: LruHashMap<SourceKey, OriginRecord> =
    LruHashMap::with_max_entries(ORIGIN_CAPACITY, 0);

/// Counts, by [`Counter`].
#[map]
pub(crate) static COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Adds one.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot is this CPU's own, and the verifier checked the pointer.
        unsafe { *value += 1 };
    }
}

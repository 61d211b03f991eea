//! Loads the kernel programs, with this capture's settings as their read-only globals and maps.

use std::path::Path;

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{
        Array, HashMap, MapData, MapError, PerCpuArray,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{Program, ProgramError},
};
use ipnet::IpNet;
use weir_ebpf_common::{Enrolment, OriginRecord, SourceKey};

use super::{CaptureError, CaptureSettings, FailurePolicy, kernel};

/// Built by build.rs from `ebpf/`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-ebpf"));

/// bpf_set_retval can be called from the connect and sendmsg hooks since this kernel.
const SET_RETVAL: kernel::Version = (6, 1);

/// The maps that the agent works with.
pub(super) struct Maps {
    pub(super) enrolments: HashMap<MapData, u64, Enrolment>,
    pub(super) origins: HashMap<MapData, SourceKey, OriginRecord>,
    pub(super) heartbeat: Array<MapData, u64>,
    pub(super) counts: PerCpuArray<MapData, u64>,
}

/// Every map of the programs, by the name that it is pinned under.
pub(super) const MAPS: [&str; 9] = [
    "CAPTURED_PORTS",
    "COUNTS",
    "DATAGRAMS",
    "ENROLMENTS",
    "EXCLUDED_V4",
    "EXCLUDED_V6",
    "HEARTBEAT",
    "ORIGINS",
    "SOCKETS",
];

/// Loads the programs. With a folder of bpffs their maps are those that are pinned there, made where they are missing:
/// so several loaded sets, and those of an agent before us, share them.
pub(super) fn load(settings: &CaptureSettings, pins: Option<&Path>) -> Result<Ebpf, CaptureError> {
    let fail_closed = u8::from(settings.on_failure == FailurePolicy::Closed);
    let heartbeat_bound = u64::try_from(settings.heartbeat_bound.as_nanos()).unwrap_or(u64::MAX);
    let can_set_retval = u8::from(kernel::running().is_some_and(|(_, version)| version >= SET_RETVAL));
    let has_excluded = u8::from(!settings.exclude.is_empty());
    let mut loader = EbpfLoader::new();
    loader
        .override_global("FAIL_CLOSED", &fail_closed, true)
        .override_global("HEARTBEAT_BOUND", &heartbeat_bound, true)
        .override_global("CAN_SET_RETVAL", &can_set_retval, true)
        .override_global("HAS_EXCLUDED", &has_excluded, true);
    if let Some(pins) = pins {
        for name in MAPS {
            loader.map_pin_path(name, pins.join(name));
        }
    }
    let mut programs = loader.load(OBJECT)?;
    // Before any map is taken out and closed: a program finds its maps by their descriptors.
    for (name, program) in programs.programs_mut() {
        let loaded = match program {
            Program::SockOps(program) => program.load(),
            Program::CgroupSockAddr(program) => program.load(),
            Program::CgroupSkb(program) => program.load(),
            _ => Err(ProgramError::UnexpectedProgramType),
        };
        loaded.map_err(|error| CaptureError::loading(name, error))?;
    }
    Ok(programs)
}

/// Writes the settings into the programs' maps, and takes out those that the agent works with.
pub(super) fn take_maps(programs: &mut Ebpf, settings: &CaptureSettings) -> Result<Maps, CaptureError> {
    let mut ports: HashMap<_, u16, u8> = HashMap::try_from(take(programs, "CAPTURED_PORTS")?)?;
    for old in ports.keys().collect::<Result<Vec<_>, _>>()? {
        if !settings.ports.contains(&old) {
            ports.remove(&old)?;
        }
    }
    for port in &settings.ports {
        ports.insert(port, 1, 0)?;
    }
    let mut excluded_v4: LpmTrie<_, u32, u8> = LpmTrie::try_from(take(programs, "EXCLUDED_V4")?)?;
    let mut excluded_v6: LpmTrie<_, [u32; 4], u8> = LpmTrie::try_from(take(programs, "EXCLUDED_V6")?)?;
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for network in &settings.exclude {
        let length = network.prefix_len().into();
        match network {
            IpNet::V4(network) => v4.push((length, u32::from_ne_bytes(network.network().octets()))),
            IpNet::V6(network) => {
                v6.push((length, super::origin::address_to_words(network.network().into())));
            }
        }
    }
    exclude(&mut excluded_v4, &v4)?;
    exclude(&mut excluded_v6, &v6)?;
    Ok(Maps {
        enrolments: HashMap::try_from(take(programs, "ENROLMENTS")?)?,
        origins: HashMap::try_from(take(programs, "ORIGINS")?)?,
        heartbeat: Array::try_from(take(programs, "HEARTBEAT")?)?,
        counts: PerCpuArray::try_from(take(programs, "COUNTS")?)?,
    })
}

/// Has a trie hold these networks (prefix length, address) and no others: a pinned one has those of the agent before us.
fn exclude<A: Pod + PartialEq>(
    trie: &mut LpmTrie<MapData, A, u8>,
    networks: &[(u32, A)],
) -> Result<(), MapError> {
    for old in trie.keys().collect::<Result<Vec<_>, _>>()? {
        if !networks.contains(&(old.prefix_len(), old.data())) {
            trie.remove(&old)?;
        }
    }
    for (length, address) in networks {
        trie.insert(&Key::new(*length, *address), 1, 0)?;
    }
    Ok(())
}

fn take(programs: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, CaptureError> {
    // Only a build of another version could miss one of its own maps.
    programs.take_map(name).ok_or_else(|| {
        CaptureError::Map(MapError::InvalidName {
            name: name.to_owned(),
        })
    })
}

//! Loads the kernel programs, with this capture's settings as their read-only globals and maps.

use aya::{
    Ebpf, EbpfLoader,
    maps::{
        Array, HashMap, MapData, MapError, PerCpuArray,
        lpm_trie::{Key, LpmTrie},
    },
    programs::{Program, ProgramError},
};
use ipnet::IpNet;
use weir_ebpf_common::{OriginRecord, SourceKey};

use super::{CaptureError, CaptureSettings, FailurePolicy, kernel, listener::Listener};

/// Built by build.rs from `ebpf/`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-ebpf"));

/// bpf_set_retval can be called from the connect and sendmsg hooks since this kernel.
const SET_RETVAL: kernel::Version = (6, 1);

/// The loaded programs and the maps that the agent works with.
pub(super) struct Loaded {
    pub(super) programs: Ebpf,
    pub(super) origins: HashMap<MapData, SourceKey, OriginRecord>,
    pub(super) heartbeat: Array<MapData, u64>,
    pub(super) counts: PerCpuArray<MapData, u64>,
}

pub(super) fn load(settings: &CaptureSettings, listener: &Listener) -> Result<Loaded, CaptureError> {
    let fail_closed = u8::from(settings.on_failure == FailurePolicy::Closed);
    let heartbeat_bound = u64::try_from(settings.heartbeat_bound.as_nanos()).unwrap_or(u64::MAX);
    let can_set_retval = u8::from(kernel::running().is_some_and(|(_, version)| version >= SET_RETVAL));
    let has_excluded = u8::from(!settings.exclude.is_empty());
    let mut programs = EbpfLoader::new()
        .override_global("LISTENER_PORT_V4", &listener.port_v4, true)
        .override_global("LISTENER_PORT_V6", &listener.port_v6, true)
        .override_global("LISTENER_MARK", &listener.mark, true)
        .override_global("FAIL_CLOSED", &fail_closed, true)
        .override_global("HEARTBEAT_BOUND", &heartbeat_bound, true)
        .override_global("CAN_SET_RETVAL", &can_set_retval, true)
        .override_global("HAS_EXCLUDED", &has_excluded, true)
        .load(OBJECT)?;
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

    let mut ports: HashMap<_, u16, u8> = HashMap::try_from(take(&mut programs, "CAPTURED_PORTS")?)?;
    for port in &settings.ports {
        ports.insert(port, 1, 0)?;
    }
    let mut excluded_v4: LpmTrie<_, u32, u8> = LpmTrie::try_from(take(&mut programs, "EXCLUDED_V4")?)?;
    let mut excluded_v6: LpmTrie<_, [u32; 4], u8> = LpmTrie::try_from(take(&mut programs, "EXCLUDED_V6")?)?;
    for network in &settings.exclude {
        match network {
            IpNet::V4(network) => {
                let address = u32::from_ne_bytes(network.network().octets());
                excluded_v4.insert(&Key::new(network.prefix_len().into(), address), 1, 0)?;
            }
            IpNet::V6(network) => {
                let address = super::origin::address_to_words(network.network().into());
                excluded_v6.insert(&Key::new(network.prefix_len().into(), address), 1, 0)?;
            }
        }
    }
    Ok(Loaded {
        origins: HashMap::try_from(take(&mut programs, "ORIGINS")?)?,
        heartbeat: Array::try_from(take(&mut programs, "HEARTBEAT")?)?,
        counts: PerCpuArray::try_from(take(&mut programs, "COUNTS")?)?,
        programs,
    })
}

fn take(programs: &mut Ebpf, name: &'static str) -> Result<aya::maps::Map, CaptureError> {
    // Only a build of another version could miss one of its own maps.
    programs.take_map(name).ok_or_else(|| {
        CaptureError::Map(MapError::InvalidName {
            name: name.to_owned(),
        })
    })
}

//! What can be seen of a node's capture from outside of its agent: pins, heartbeat, attachments, listeners.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use aya::maps::{Array, HashMap, Map, MapData, MapError};
use socket2::{Domain, Socket, Type};
use thiserror::Error;
use weir_ebpf_common::{Enrolment, NO_HEARTBEAT};

use super::pins::Pins;
use super::{CaptureError, PodSandbox};
use crate::capture::attach::{DECIDING, SERVING};
use crate::capture::pods::PodUid;
use crate::capture::sys::links::Link;
use crate::capture::{program, sys};
use crate::network_namespace::NetworkNamespace;

/// What agents have pinned on this node. Looking changes nothing.
pub struct PinnedCapture {
    pins: Pins,
    heartbeat: Array<MapData, u64>,
    enrolments: HashMap<MapData, u64, Enrolment>,
}

/// What is wrong with a pod's capture.
#[derive(Debug, Error)]
pub enum PodFault {
    /// A program does not sit on its cgroup.
    #[error("the program {0} is not attached to its cgroup")]
    Detached(&'static str),
    /// The programs have no listener to send its connections to.
    #[error("no listener is known for its network namespace")]
    NotEnrolled,
    /// The listener that the programs know is gone.
    #[error("nothing listens on its port {0}")]
    NotListening(u16),
    /// It could not be looked at.
    #[error("its network namespace could not be looked at: {0} (that needs CAP_SYS_ADMIN)")]
    Namespace(#[from] io::Error),
    /// The map of listeners could not be read.
    #[error(transparent)]
    Map(#[from] MapError),
}

impl PinnedCapture {
    /// Finds what this version of Weir pins below `bpf_root`.
    pub fn open(bpf_root: &Path) -> Result<Self, CaptureError> {
        let pins = Pins::existing(bpf_root)?;
        let maps = pins.maps();
        for name in program::MAPS {
            let path = maps.join(name);
            fs::symlink_metadata(&path).map_err(CaptureError::pin(&path, "find"))?;
        }
        let map = |name: &str| MapData::from_pin(maps.join(name)).and_then(Map::from_map_data);
        Ok(Self {
            heartbeat: Array::try_from(map("HEARTBEAT")?)?,
            enrolments: HashMap::try_from(map("ENROLMENTS")?)?,
            pins,
        })
    }

    /// How long ago the agent gave a sign of life; `None` if it never did, or has withdrawn it.
    pub fn heartbeat_age(&self) -> Result<Option<Duration>, CaptureError> {
        let beat = self.heartbeat.get(&0, 0)?;
        let age = Duration::from_nanos(sys::monotonic_nanoseconds().saturating_sub(beat));
        Ok((beat != NO_HEARTBEAT).then_some(age))
    }

    /// The pods that something is pinned for.
    pub fn pods(&self) -> Result<Vec<PodUid>, CaptureError> {
        self.pins.pinned_pods()
    }

    /// Whether a pod's connections are captured: its programs sit on its cgroup, and a listener stands where they send them.
    pub fn check(&self, pod: &PodSandbox) -> Result<(), PodFault> {
        for (name, _) in DECIDING.iter().chain(&SERVING) {
            let link = Link::open(&self.pins.pod(&pod.uid).join(name));
            let is_attached = link
                .and_then(|link| link.cgroup())
                .is_ok_and(|cgroup| cgroup == pod.cgroup_id);
            if !is_attached {
                return Err(PodFault::Detached(name));
            }
        }
        let (cookie, listening) = look_inside(&pod.network_namespace)?;
        let enrolment = match self.enrolments.get(&cookie, 0) {
            Ok(enrolment) => enrolment,
            Err(MapError::KeyNotFound) => return Err(PodFault::NotEnrolled),
            Err(error) => return Err(error.into()),
        };
        match listening.contains(&enrolment.port_v4) {
            true => Ok(()),
            false => Err(PodFault::NotListening(enrolment.port_v4)),
        }
    }
}

/// A network namespace's cookie, and the ports on which somebody listens on its 127.0.0.1.
fn look_inside(namespace: &NetworkNamespace) -> io::Result<(u64, Vec<u16>)> {
    namespace.inside(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let cookie = sys::network_namespace_cookie(&socket)?;
        let sockets = fs::read_to_string("/proc/thread-self/net/tcp")?;
        Ok((cookie, listening_ports(&sockets)))
    })
}

/// By the text of /proc/net/tcp (kernel: net/ipv4/tcp_ipv4.c, `get_openreq4` and its neighbours): addresses are words in the
/// machine's own order, in hexadecimal.
fn listening_ports(sockets: &str) -> Vec<u16> {
    const LISTEN: &str = "0A";
    let loopback = format!("{:08X}", u32::from_ne_bytes([127, 0, 0, 1]));
    let port = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, _remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        let (address, port) = local.split_once(':')?;
        (address == loopback && state == LISTEN).then(|| u16::from_str_radix(port, 16).ok())?
    };
    sockets.lines().filter_map(port).collect()
}

/// Has the kernel load all programs once, and lets them go again.
pub fn load_programs() -> Result<usize, CaptureError> {
    let programs = program::load(&crate::capture::CaptureSettings::default(), None)?;
    Ok(programs.programs().count())
}

#[cfg(test)]
mod tests {
    use super::listening_ports;

    #[test]
    #[cfg(target_endian = "little")]
    fn listeners_on_loopback_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
             0: 0100007F:3A99 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n   \
             1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1 0 100 0 0 10 0\n   \
             2: 0100007F:3A9A 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0\n";
        assert_eq!(listening_ports(text), [15001]);
        assert_eq!(listening_ports("odd\n"), Vec::<u16>::new());
    }
}

//! A captured pod's listener on its way from one agent to the next.

use std::{io, os::fd::OwnedFd};

use super::super::{listener::Sockets, pods::PodUid};
use super::{PodCapture, PodSandbox};
use crate::network_namespace::NamespaceIdentity;

/// The listener of a captured pod, and which sandbox of the pod it stands in.
#[derive(Debug)]
pub struct PodListener {
    /// The pod's uid.
    pub uid: PodUid,
    /// [`PodSandbox::cgroup_id`].
    pub cgroup_id: u64,
    /// The network namespace that it listens in.
    pub network_namespace: NamespaceIdentity,
    /// On 127.0.0.1.
    pub v4: OwnedFd,
    /// On `[::1]`, where there is IPv6.
    pub v6: Option<OwnedFd>,
}

impl PodListener {
    /// Whether it stands in this sandbox, and not in one of the same uid before it.
    pub fn is_of(&self, pod: &PodSandbox) -> bool {
        self.uid == pod.uid
            && self.cgroup_id == pod.cgroup_id
            && self.network_namespace == pod.network_namespace.identity()
    }

    pub(super) fn sockets(self) -> io::Result<Sockets> {
        Sockets::handed(self.v4, self.v6)
    }
}

impl PodCapture {
    /// The listener again, for the next agent. Both take connections from one queue: whoever lets go of it cuts none.
    pub fn again(&self, pod: &PodSandbox) -> io::Result<PodListener> {
        let (v4, v6) = self.listener.descriptors()?;
        Ok(PodListener {
            uid: pod.uid.clone(),
            cgroup_id: pod.cgroup_id,
            network_namespace: pod.network_namespace.identity(),
            v4,
            v6,
        })
    }
}

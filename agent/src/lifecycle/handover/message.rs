//! What agents say to each other. Fields keep their numbers for ever: the other side may be of another version.

use crate::capture::PodListener;
use crate::capture::pods::PodUid;
use crate::network_namespace::NamespaceIdentity;

use super::{HandoverError, Identity, PROTOCOL};

/// One message.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Message {
    #[prost(oneof = "Body", tags = "1, 2, 3, 4, 5, 6, 7, 8")]
    pub(super) body: Option<Body>,
}

/// What it says.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Body {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Welcome(Welcome),
    #[prost(message, tag = "3")]
    Refusal(Refusal),
    #[prost(message, tag = "4")]
    Ready(Nothing),
    #[prost(message, tag = "5")]
    Listener(Listener),
    #[prost(message, tag = "6")]
    End(Nothing),
    #[prost(message, tag = "7")]
    Taken(Nothing),
    #[prost(message, tag = "8")]
    Done(Nothing),
}

#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(super) struct Nothing {}

/// Who the successor is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Hello {
    #[prost(uint32, tag = "1")]
    pub(super) protocol: u32,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(uint64, tag = "3")]
    pub(super) pins_device: u64,
    #[prost(uint64, tag = "4")]
    pub(super) pins_inode: u64,
}

/// The predecessor, and what it serves from.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Welcome {
    #[prost(string, tag = "1")]
    pub(super) version: String,
    /// Its Debug shows no key.
    #[prost(message, optional, tag = "2")]
    pub(super) configuration: Option<weir_api::proto::Delta>,
}

/// There will be no handover.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Refusal {
    #[prost(string, tag = "1")]
    pub(super) why: String,
}

/// A pod's listener. Its descriptors come with it: that on 127.0.0.1, then that on `[::1]` if there is one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Listener {
    #[prost(string, tag = "1")]
    pub(super) uid: String,
    #[prost(uint64, tag = "2")]
    pub(super) cgroup: u64,
    #[prost(uint64, tag = "3")]
    pub(super) namespace_device: u64,
    #[prost(uint64, tag = "4")]
    pub(super) namespace_inode: u64,
}

impl Hello {
    pub(super) fn of(us: &Identity) -> Self {
        Self {
            protocol: PROTOCOL,
            version: us.version.clone(),
            pins_device: us.pins.device,
            pins_inode: us.pins.inode,
        }
    }

    /// Why there can be no handover from `us`.
    pub(super) fn objection(&self, us: &Identity) -> Option<String> {
        if self.protocol != PROTOCOL {
            return Some(format!(
                "agent {} hands over by protocol {PROTOCOL}, agent {} by {}",
                us.version, self.version, self.protocol
            ));
        }
        let same = (self.pins_device, self.pins_inode) == (us.pins.device, us.pins.inode);
        (!same).then(|| {
            format!(
                "agents {} and {} do not pin the same maps: another layout, or another bpffs",
                us.version, self.version
            )
        })
    }
}

impl Listener {
    pub(super) fn of(listener: &PodListener) -> Self {
        Self {
            uid: listener.uid.to_string(),
            cgroup: listener.cgroup_id,
            namespace_device: listener.network_namespace.device,
            namespace_inode: listener.network_namespace.inode,
        }
    }

    pub(super) fn with(
        &self,
        descriptors: impl IntoIterator<Item = std::os::fd::OwnedFd>,
    ) -> Result<PodListener, HandoverError> {
        let mut descriptors = descriptors.into_iter();
        Ok(PodListener {
            uid: PodUid::parse(&self.uid).ok_or(HandoverError::Protocol("a listener of no pod"))?,
            cgroup_id: self.cgroup,
            network_namespace: NamespaceIdentity {
                device: self.namespace_device,
                inode: self.namespace_inode,
            },
            v4: descriptors
                .next()
                .ok_or(HandoverError::Protocol("a listener without its descriptor"))?,
            v6: descriptors.next(),
        })
    }
}

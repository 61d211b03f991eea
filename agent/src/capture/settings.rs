//! What is captured, and what happens when it can't be.

use std::time::Duration;

use ipnet::IpNet;

/// What becomes of a connection that should be captured while the agent is away (dead, hung, or not there in this
/// network namespace).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailurePolicy {
    /// It goes where it was going, unseen.
    #[default]
    Open,
    /// It is refused.
    Closed,
}

/// What is captured of a cgroup.
#[derive(Clone, Debug)]
pub struct CaptureSettings {
    /// TCP ports whose connections are captured. With 443 among them, UDP 443 is refused.
    pub ports: Vec<u16>,
    /// Networks that are left alone. Loopback and link-local addresses are left alone in any case.
    pub exclude: Vec<IpNet>,
    /// What happens while the agent is away.
    pub on_failure: FailurePolicy,
    /// How old the agent's last heartbeat may be before it counts as hung. It beats every tenth of a second. Until then connections
    /// wait for it, so that an agent which hangs holds them up for so long; but one that only waits for a processor, on a machine that
    /// has too much to do, must not be taken for one that hangs.
    pub heartbeat_bound: Duration,
}

impl Default for CaptureSettings {
    fn default() -> Self {
        Self {
            ports: vec![80, 443],
            exclude: Vec::new(),
            on_failure: FailurePolicy::Open,
            heartbeat_bound: Duration::from_secs(3),
        }
    }
}

//! The pods of this node, from cgroupfs and proc: no API server is asked.

mod path;
mod scan;
mod watch;

pub use path::{PodUid, pod_of};
pub use scan::{Found, Pods};
pub use watch::PodWatch;

//! etcd, the API server and its controllers.

use xtask::cluster_paths::ClusterPaths;

use super::addresses::{CONTROL_PLANE, PODS, SERVICES};
use super::cgroups::Hierarchies;
use super::init::Init;
use crate::step::Outcome;

const SCRIPT: &str = include_str!("../../../tests/cluster/control-plane.sh");

/// Starts it, and waits for its network only: the nodes can start meanwhile.
pub(crate) fn start(paths: &ClusterPaths, hierarchies: &Hierarchies) -> Outcome<Init> {
    let cgroups = hierarchies.for_control_plane(paths)?;
    let environment = [
        ("CONTROL_PLANE", CONTROL_PLANE),
        ("SERVICES", SERVICES),
        ("PODS", PODS),
    ];
    let mut init = Init::start(paths, "control-plane", SCRIPT, &cgroups, &environment)?;
    init.reached("network")?;
    Ok(init)
}

//! A node: its namespaces, its link to the others, containerd, kubelet, kube-proxy.

use std::fs;
use std::path::Path;
use std::process::Command;

use xtask::cluster_paths::ClusterPaths;

use super::addresses::{self, CONTROL_PLANE, DNS, PODS};
use super::cgroups::Hierarchies;
use super::init::Init;
use super::{images, kubectl};
use crate::step::{self, Outcome};

const SCRIPT: &str = include_str!("../../../tests/cluster/node.sh");
const CONTAINERD: &str = include_str!("../../../tests/cluster/node/containerd.toml");
const KUBELET: &str = include_str!("../../../tests/cluster/node/kubelet.yaml");
const KUBE_PROXY: &str = include_str!("../../../tests/cluster/node/kube-proxy.yaml");
const PTP: &str = include_str!("../../../tests/cluster/node/ptp.conflist");

/// A node that is coming up.
pub(crate) struct Node {
    number: u8,
    name: String,
    init: Init,
}

impl Node {
    /// Starts its namespaces and links them to the control plane's. containerd then starts by itself.
    pub(crate) fn start(
        paths: &ClusterPaths,
        hierarchies: &Hierarchies,
        control_plane: &Init,
        tools: &Path,
        number: u8,
        nodes: u8,
    ) -> Outcome<Self> {
        let name = addresses::node_name(number);
        configure(paths, number)?;
        let cgroups = hierarchies.for_node(paths, &name)?;
        let tools = tools.to_string_lossy();
        let address = addresses::node_address(number);
        let environment = [("NODE", &*name), ("ADDRESS", &*address), ("TOOLS", &*tools)];
        let mut init = Init::start(paths, &name, SCRIPT, &cgroups, &environment)?;
        init.reached("network")?;
        link(control_plane.process(), init.process(), number, nodes)?;
        init.go_on()?;
        Ok(Self { number, name, init })
    }

    /// Imports the images once containerd answers, and lets kubelet and kube-proxy start.
    pub(crate) fn run(&mut self, paths: &ClusterPaths, archives: &[std::path::PathBuf]) -> Outcome {
        self.init.reached("containerd")?;
        for archive in archives {
            images::import_into(paths, &self.name, archive)?;
        }
        self.init.go_on()?;
        self.init.reached("ready")
    }

    /// Waits until the API server knows of it, and tells it which addresses its pods have.
    pub(crate) fn joined(&self, paths: &ClusterPaths) -> Outcome {
        let node = format!("node/{}", self.name);
        let pods = addresses::pods_of_node(self.number);
        quietly(kubectl(paths, &["wait", "--for=create", &node, "--timeout=60s"])?)?;
        let patch = format!(r#"{{"spec": {{"podCIDR": "{pods}", "podCIDRs": ["{pods}"]}}}}"#);
        quietly(kubectl(paths, &["patch", &node, "--patch", &patch])?)?;
        quietly(kubectl(
            paths,
            &["wait", "--for=condition=Ready", &node, "--timeout=120s"],
        )?)
        .map_err(|error| {
            format!(
                "{error}; {}",
                super::tail(paths, &format!("{}-kubelet.log", self.name))
            )
        })
    }
}

/// Runs a command whose output matters only if it fails.
pub(crate) fn quietly(mut command: Command) -> Outcome {
    let output = command
        .output()
        .map_err(|error| format!("cannot run {}: {error}", step::shown(&command)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!(
        "{}: {}: {}",
        step::shown(&command),
        output.status,
        String::from_utf8_lossy(&said).trim()
    ))
}

fn configure(paths: &ClusterPaths, number: u8) -> Outcome {
    let name = addresses::node_name(number);
    let folder = paths.folder().join(&name);
    let files = [
        ("containerd.toml", CONTAINERD),
        ("kubelet.yaml", KUBELET),
        ("kube-proxy.yaml", KUBE_PROXY),
        ("cni/10-ptp.conflist", PTP),
    ];
    fs::create_dir_all(folder.join("cni")).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (file, template) in files {
        let text = template
            .replace("@NODE@", &name)
            .replace("@DNS@", DNS)
            .replace("@PODS@", PODS)
            .replace("@PODS_OF_NODE@", &addresses::pods_of_node(number));
        let path = folder.join(file);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// A veth from the node's eth0 to the control plane's bridge, and routes to the pods on either side. Pods' addresses are routed, not masqueraded.
fn link(control_plane: &str, node: &str, number: u8, nodes: u8) -> Outcome {
    let (name, address, pods) = (
        addresses::node_name(number),
        addresses::node_address(number),
        addresses::pods_of_node(number),
    );
    let bridge = format!(
        "link add {name} type veth peer name eth0 netns {node}\nlink set {name} master br0 up\nroute add {pods} via {address}\n"
    );
    let mut own = format!(
        "address add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {CONTROL_PLANE}\n"
    );
    for other in (1..=nodes).filter(|other| *other != number) {
        let (pods, address) = (addresses::pods_of_node(other), addresses::node_address(other));
        own.push_str(&format!("route add {pods} via {address}\n"));
    }
    ip(control_plane, &bridge)?;
    ip(node, &own)
}

/// Runs a batch of ip(8) commands in a process's network.
fn ip(process: &str, batch: &str) -> Outcome {
    use std::io::Write;
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{process}/ns/net"))
        .args(["--", "ip", "-batch", "-"])
        .stdin(std::process::Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| format!("cannot run nsenter: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        input
            .write_all(batch.as_bytes())
            .map_err(|error| error.to_string())?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("ip refused, in the cluster's network: {batch}"))
    }
}

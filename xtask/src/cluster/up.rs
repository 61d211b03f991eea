//! Bringing a cluster up.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use xtask::cluster_paths::ClusterPaths;

use super::cgroups::Hierarchies;
use super::node::{Node, quietly};
use super::tools::Tools;
use super::{control_plane, dns, down, images, kubectl, pki, providers, weir};
use crate::build::PROGRAMS;
use crate::image;
use crate::setup;
use crate::step::{self, Outcome};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many nodes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Kubernetes and DNS only: no Weir, no mock provider.
    #[arg(long)]
    bare: bool,
    /// Take the programs for images as they stand beside this one, and build none. For tests, which are built with them.
    #[arg(long, hide = true)]
    built: bool,
}

impl Arguments {
    /// What makes one cluster unlike another.
    fn shown(&self) -> String {
        let bare = if self.bare { " --bare" } else { "" };
        format!("--nodes {}{bare}", self.nodes)
    }
}

/// Brings it up, unless it is up. What a failed or killed `up` has left goes first.
pub(crate) fn run(paths: &ClusterPaths, arguments: &Arguments) -> Outcome {
    setup::cluster()?;
    let tools = super::build_tools()?;
    if !arguments.bare && !arguments.built {
        setup::toolchain()?;
        step::say("building weir and the mock provider");
        step::run(image::cargo_build()?.args(PROGRAMS))?;
    }
    let guard = lock()?;
    if is_up(paths) {
        let as_it_is = fs::read_to_string(paths.finished()).unwrap_or_default();
        if as_it_is != arguments.shown() {
            return Err(format!(
                "the cluster `{paths}` is up, as `up {as_it_is}`: end it first, `cargo xtask cluster down --name {paths}`, or name another"
            ));
        }
        step::say(&format!("the cluster `{paths}` is up"));
    } else {
        down::remove(paths)?;
        bring_up(paths, arguments, &tools).map_err(|error| {
            format!(
                "{error}\n==> what has come up stays to be looked at: logs are in {}, and `cargo xtask cluster down --name {paths}` ends it",
                paths.logs().display()
            )
        })?;
    }
    drop(guard);
    say_what_to_try(paths, arguments);
    Ok(())
}

/// Whether all of it runs.
fn is_up(paths: &ClusterPaths) -> bool {
    let mut parts = paths.nodes();
    parts.push("control-plane".to_owned());
    paths.finished().is_file() && parts.iter().all(|part| paths.process(part).is_ok())
}

fn say_what_to_try(paths: &ClusterPaths, arguments: &Arguments) {
    let kubeconfig = paths.kubeconfig();
    step::say(&format!(
        "KUBECONFIG={}, for what is run by `cargo xtask cluster exec`: nothing else reaches the cluster's network. Try",
        kubeconfig.display()
    ));
    let tries: &[&str] = if arguments.bare {
        &["kubectl get nodes,pods --all-namespaces --output wide"]
    } else {
        &[
            "kubectl --namespace shop exec deployment/app -- python3 openai_sync.py stream",
            "kubectl --namespace weir-system logs daemonset/weir-agent --all-pods",
            "helm --namespace weir-system test weir",
        ]
    };
    for command in tries {
        step::say(&format!("  cargo xtask cluster exec --name {paths} -- {command}"));
    }
}

/// One `up` or `down` at a time on this machine: they share the folder and the cgroup above their own.
pub(super) fn lock() -> Outcome<File> {
    let parent = ClusterPaths::parent();
    let named = |error: std::io::Error| format!("{}: {error}", parent.display());
    loop {
        fs::create_dir_all(parent).map_err(named)?;
        let folder = File::open(parent).map_err(named)?;
        folder.lock().map_err(named)?;
        // The last `down` removes the folder; a lock on one that is gone holds nobody off.
        let inode = folder.metadata().map_err(named)?.ino();
        if fs::metadata(parent).is_ok_and(|now| now.ino() == inode) {
            return Ok(folder);
        }
    }
}

fn bring_up(paths: &ClusterPaths, arguments: &Arguments, tools: &Tools) -> Outcome {
    step::say(&format!(
        "the cluster `{paths}`: certificates, then the control plane and {} nodes",
        arguments.nodes
    ));
    let logs = paths.logs();
    fs::create_dir_all(&logs).map_err(|error| format!("{}: {error}", logs.display()))?;
    std::os::unix::fs::symlink(&tools.kubernetes, paths.programs())
        .map_err(|error| format!("{}: {error}", paths.programs().display()))?;
    pki::make(paths, arguments.nodes)?;
    let hierarchies = Hierarchies::find()?;
    let mut control_plane = control_plane::start(paths, &hierarchies)?;
    let mut nodes = Vec::new();
    for number in 1..=arguments.nodes {
        let node = Node::start(
            paths,
            &hierarchies,
            &control_plane,
            &tools.kubernetes,
            number,
            arguments.nodes,
        )?;
        nodes.push(node);
    }
    let mut archives = images::make(paths, tools)?;
    if !arguments.bare {
        archives.extend(images::make_ours(paths)?);
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = nodes
            .iter_mut()
            .map(|node| scope.spawn(|| node.run(paths, &archives)))
            .collect();
        running.into_iter().try_for_each(|node| {
            node.join()
                .map_err(|_panic| "a node's thread panicked".to_owned())?
        })
    })?;
    control_plane
        .reached("ready")
        .map_err(|error| format!("{error}; {}", super::tail(paths, "kube-apiserver.log")))?;
    step::say("the API server is ready; waiting for the nodes");
    for node in &nodes {
        node.joined(paths)?;
    }
    let account = ["wait", "--for=create", "serviceaccount/default", "--timeout=60s"];
    quietly(kubectl(paths, &account)?)?;
    step::say("CoreDNS");
    let hosts = if arguments.bare {
        String::new()
    } else {
        providers::hosts()
    };
    dns::start(paths, &hosts)?;
    if !arguments.bare {
        step::say("the mock provider, as api.openai.com and the others");
        providers::start(paths)?;
        step::say("Weir, from charts/, and the namespace `shop` to try it in");
        weir::install(paths)?;
    }
    fs::write(paths.finished(), arguments.shown())
        .map_err(|error| format!("{}: {error}", paths.finished().display()))
}

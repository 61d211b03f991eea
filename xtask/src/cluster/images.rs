//! The cluster's own images, and getting images into its nodes. There is no registry, and nothing is ever pulled.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use xtask::cache;
use xtask::cluster_paths::{ClusterPaths, WEIR_IMAGE};

use super::app_image;
use super::node::quietly;
use super::tools::Tools;
use crate::image::{self, Profile, Root};
use crate::step::{self, Outcome};

/// Makes the images that every cluster has, in its folder.
pub(crate) fn make(paths: &ClusterPaths, tools: &Tools) -> Outcome<Vec<PathBuf>> {
    let folder = paths.folder().join("images");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let archives = ["pause", "busybox", "coredns"].map(|name| folder.join(format!("{name}.tar")));
    let [pause_archive, busybox_archive, coredns_archive] = &archives;
    pause(pause_archive)?;
    busybox(busybox_archive)?;
    coredns(&tools.coredns, coredns_archive)?;
    Ok(archives.into())
}

/// Makes the images that a cluster with a mock provider has beside them: Weir, the mock provider, an application. Their programs are built.
pub(crate) fn make_ours(paths: &ClusterPaths) -> Outcome<Vec<PathBuf>> {
    let folder = paths.folder().join("images");
    let (weir, mock) = (folder.join("weir.tar"), folder.join("mock-provider.tar"));
    image::write(Profile::Dev, WEIR_IMAGE, &weir)?;
    mock_provider(&mock)?;
    Ok(vec![weir, mock, app_image::make()?])
}

fn mock_provider(archive: &Path) -> Outcome {
    let root = Root::beside(archive)?;
    let program = Profile::Dev.folder()?.join("weir-mock-provider");
    root.program(&program, "usr/local/bin/weir-mock-provider")?;
    let configuration = json!({"Entrypoint": ["/usr/local/bin/weir-mock-provider"]});
    root.write(&configuration, "weir.test/mock-provider:1", archive)
}

/// Builds Weir and imports its image into every node. Pods take it when they are started the next time.
pub(crate) fn load(paths: &ClusterPaths) -> Outcome {
    image::build(Profile::Dev)?;
    let archive = paths.folder().join("images/weir.tar");
    image::write(Profile::Dev, WEIR_IMAGE, &archive)?;
    import(paths, &[archive])
}

/// Imports archives into every node.
pub(crate) fn import(paths: &ClusterPaths, archives: &[PathBuf]) -> Outcome {
    let nodes = paths.nodes();
    if nodes.is_empty() {
        return Err(format!(
            "the cluster `{paths}` has no nodes: `cargo xtask cluster up --name {paths}` starts it"
        ));
    }
    for archive in archives {
        for node in &nodes {
            import_into(paths, node, archive)?;
        }
        step::say(&format!("{} is in {}", archive.display(), nodes.join(", ")));
    }
    Ok(())
}

/// Imports an archive into one node, by a pipe: the node need not see the file.
pub(crate) fn import_into(paths: &ClusterPaths, node: &str, archive: &Path) -> Outcome {
    let file = File::open(archive).map_err(|error| format!("{}: {error}", archive.display()))?;
    let mut command = paths.on_node(node).map_err(|error| error.to_string())?;
    command
        .args(["ctr", "--namespace", "k8s.io", "images", "import", "-"])
        .stdin(Stdio::from(file));
    quietly(command).map_err(|error| format!("{}: {error}", archive.display()))
}

/// What holds a pod's namespaces open.
fn pause(archive: &Path) -> Outcome {
    let root = Root::beside(archive)?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-Os", "-s", "-o"])
        .arg(root.path("pause"))
        .arg(cache::clone_root().join("tests/cluster/pause.c"));
    step::run(&mut gcc)?;
    root.write(&json!({"Entrypoint": ["/pause"]}), "weir.test/pause:1", archive)
}

/// A shell and what goes with it.
fn busybox(archive: &Path) -> Outcome {
    let root = Root::beside(archive)?;
    add_busybox(&root)?;
    root.folder("tmp", 0o1777)?;
    root.file("etc/passwd", "root:x:0:0:root:/:/bin/sh\n")?;
    root.file("etc/group", "root:x:0:\n")?;
    root.write(
        &json!({"Env": ["PATH=/bin"], "Cmd": ["sh"]}),
        "weir.test/busybox:1",
        archive,
    )
}

/// busybox under all of its names, in /bin.
pub(crate) fn add_busybox(root: &Root) -> Outcome {
    let busybox = Path::new("/bin/busybox");
    root.copy(busybox, "bin/busybox", 0o755)?;
    let names = step::ask("/bin/busybox", &["--list"]).ok_or("busybox does not say what it does")?;
    for name in names.lines().filter(|name| *name != "busybox") {
        root.link(&format!("bin/{name}"), "busybox")?;
    }
    Ok(())
}

fn coredns(program: &Path, archive: &Path) -> Outcome {
    let root = Root::beside(archive)?;
    root.copy(program, "coredns", 0o755)?;
    root.write(
        &json!({"Entrypoint": ["/coredns"]}),
        "weir.test/coredns:1",
        archive,
    )
}

//! The image as it is released: built as documented, within its budget, and run in the place of the one that tests are built as.

use std::path::Path;
use std::process::Command;

use weir_tests::cluster::shop::{APP, labelled};
use weir_tests::cluster::{Cluster, WEIR_NAMESPACE, told};
use weir_tests::world::binaries::built;

use crate::revision::Revision;
use crate::{NODES, SLEEP, alone, weir};

const TAG: &str = "release";

fn xtask(arguments: &[&str]) {
    let output = Command::new(built("xtask")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
}

/// What is below a folder, in order: each file with its hash, and each folder.
fn below(folder: &Path) -> String {
    let script = "cd \"$1\" && find . -type d | sort && find . -type f -exec sha256sum {} + | sort -k 2";
    shell(script, &[folder])
}

/// Unpacks the one layer of an image's archive that has files.
fn unpack(archive: &Path, to: &Path) {
    let blobs = tempfile::tempdir().unwrap();
    let script = "tar -C \"$2\" -xf \"$1\" && tar -C \"$3\" -xf \"$(ls -S \"$2\"/blobs/sha256/* | head -1)\"";
    shell(script, &[archive, blobs.path(), to]);
}

fn shell(script: &str, arguments: &[&Path]) -> String {
    let mut shell = Command::new("sh");
    let output = shell
        .args(["-ec", script, "sh"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}: {}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_released_image_is_small_and_takes_over() {
    let _alone = alone();
    // It fails over its budget.
    xtask(&["image"]);
    let archive = xtask::cache::clone_root().join("target/release/weir-image.tar");

    // What the Dockerfile has a daemon put into its image is what is in ours.
    let dockerfile = std::fs::read_to_string(xtask::cache::clone_root().join("Dockerfile")).unwrap();
    assert!(
        dockerfile.contains("\nRUN cargo xtask image --files /image\n"),
        "{dockerfile}"
    );
    let (files, layer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    xtask(&["image", "--files", files.path().to_str().unwrap()]);
    unpack(&archive, layer.path());
    assert_eq!(below(files.path()), below(layer.path()));

    // The same by another name: the nodes have the tests' own image by that of the chart.
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("weir.tar");
    let (named, reference) = (named.to_str().unwrap(), format!("weir.dev/weir:{TAG}"));
    xtask(&["image", "--reference", &reference, "--output", named]);
    let cluster = Cluster::shared();
    xtask(&["cluster", "--name", cluster.paths().name(), "import", named]);
    let _release = Revision::with(&format!("image: {{tag: {TAG}}}\n"));
    let images = "--output=jsonpath={.items[*].spec.containers[*].image}";
    let running = weir(&["get", "pods", "--field-selector=status.phase=Running", images]);
    let new = running.split(' ').filter(|image| *image == reference).count();
    assert_eq!(new, 4, "two agents and two controllers: {running}");

    let shop = labelled("release");
    for node in NODES {
        let app = format!("app-{node}");
        shop.pod(&app, node, APP, SLEEP);
        let said = shop.exec(&app, &["python3", "openai_sync.py", "stream"]);
        assert_eq!(said, "The mock heard: What does a weir do?\n");
    }
    let mut test = cluster.command("helm");
    test.args(["--namespace", WEIR_NAMESPACE, "test", "weir"]);
    let output = test.output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
}

//! The release with other values for a while.

use weir_tests::cluster::{Cluster, WEIR_NAMESPACE, told};

/// A revision of the release, until this is dropped: then the one before is back.
pub(crate) struct Revision;

impl Revision {
    /// Upgrades to these values, a file's text; those that it does not name stay.
    pub(crate) fn with(values: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("values.yaml");
        std::fs::write(&file, values).unwrap();
        let (chart, file) = (
            xtask::cache::clone_root().join("charts/weir"),
            file.to_str().unwrap(),
        );
        let this = Self;
        helm(&[
            "upgrade",
            "weir",
            chart.to_str().unwrap(),
            "--reset-then-reuse-values",
            "--values",
            file,
        ]);
        this
    }
}

impl Drop for Revision {
    fn drop(&mut self) {
        helm(&["rollback", "weir"]);
    }
}

fn helm(arguments: &[&str]) {
    let mut helm = Cluster::shared().command("helm");
    helm.args(arguments)
        .args(["--namespace", WEIR_NAMESPACE, "--wait", "--timeout=180s"]);
    let output = helm.output().unwrap();
    // A second panic would hide the first.
    let is_told = output.status.success() || std::thread::panicking();
    assert!(is_told, "{arguments:?}: {}", told(&output));
}

//! The release with other values for a while.

use serde_json::Value as Json;
use weir_tests::cluster::{Cluster, WEIR_NAMESPACE, told};

/// A revision of the release, until this is dropped: then the one before is back.
pub(crate) struct Revision {
    before: String,
}

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
        let history = helm(&["history", "weir", "--max=1", "--output=json"]);
        let history: Json = serde_json::from_str(&history).unwrap();
        let this = Self {
            before: history[0]["revision"].to_string(),
        };
        helm_and_wait(&[
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
        helm_and_wait(&["rollback", "weir", &self.before]);
    }
}

fn helm_and_wait(arguments: &[&str]) {
    helm(&[arguments, &["--wait", "--timeout=180s"]].concat());
}

fn helm(arguments: &[&str]) -> String {
    let mut helm = Cluster::shared().command("helm");
    let output = helm
        .args(arguments)
        .args(["--namespace", WEIR_NAMESPACE])
        .output()
        .unwrap();
    // A second panic would hide the first.
    let is_told = output.status.success() || std::thread::panicking();
    assert!(is_told, "{arguments:?}: {}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

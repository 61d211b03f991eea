//! Weir in the suite's cluster, installed from the charts as users install it.

use std::fs::File;
use std::sync::OnceLock;

use super::{Cluster, said};
use xtask::cache;

/// The namespace that Weir is installed in.
pub const WEIR_NAMESPACE: &str = "weir-system";
/// The ConfigMap there with the mock provider's root.
const PROVIDER_CA: &str = "provider-ca";

impl Cluster {
    /// Weir, installed and ready. Tests that run at the same time install it once.
    ///
    /// # Panics
    /// If helm fails, or it does not become ready, with what was said.
    pub fn with_weir(&self) -> &Self {
        static INSTALLED: OnceLock<()> = OnceLock::new();
        INSTALLED.get_or_init(|| {
            let path = self.paths.folder().join("helm.lock");
            let lock = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            // Other processes of the suite want the same, and helm refuses to do two things at once.
            lock.lock()
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            self.install("weir-crds", &[]);
            self.trust_the_mock_provider();
            let upstream = format!("agent.upstreamCA.configMap={PROVIDER_CA}");
            self.install("weir", &["--set", "image.pullPolicy=Never", "--set", &upstream]);
        });
        self
    }

    /// Agents verify providers against public roots; the mock's is none.
    fn trust_the_mock_provider(&self) {
        let authority = format!("--from-file=ca.crt={}", self.paths.provider_authority().display());
        let namespace = format!("--namespace={WEIR_NAMESPACE}");
        let there = [
            "get",
            "configmap",
            PROVIDER_CA,
            "--ignore-not-found",
            "--output=name",
            &namespace,
        ];
        if self.kubectl(&there).is_empty() {
            self.kubectl(&["create", "configmap", PROVIDER_CA, &authority, &namespace]);
        }
    }

    fn install(&self, chart: &str, options: &[&str]) {
        let folder = cache::clone_root().join("charts").join(chart);
        let mut command = self.command("helm");
        command
            .args(["upgrade", "--install", chart])
            .arg(folder)
            .args(["--namespace", WEIR_NAMESPACE, "--create-namespace"])
            .args(["--wait", "--timeout", "180s"])
            .args(options);
        said(&mut command);
    }
}

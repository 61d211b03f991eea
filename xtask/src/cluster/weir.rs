//! Weir in the cluster, installed from the charts as users install it, and a namespace to try it in.

use std::fs;

use serde_json::json;
use xtask::cache;
use xtask::cluster_paths::{ClusterPaths, PROVIDER_KEY, WEIR_NAMESPACE};

use super::dns::{apply, pods, rolled_out};
use super::kubectl;
use super::node::quietly;
use crate::step::Outcome;

const SHOP: &str = include_str!("../../../tests/cluster/shop.yaml");
const APP: &str = include_str!("../../../tests/cluster/app.yaml");

/// Installs it, where it is not, and waits until it is ready. Its agents believe the mock provider, whose root is no public one.
pub(crate) fn install(paths: &ClusterPaths) -> Outcome {
    helm(paths, "weir-crds", &[])?;
    let path = paths.provider_authority();
    let authority = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "provider-ca", "namespace": WEIR_NAMESPACE},
        "data": {"ca.crt": authority},
    });
    apply(paths, &map.to_string())?;
    let values = [
        "--set=image.pullPolicy=Never",
        "--set=agent.upstreamCA.configMap=provider-ca",
    ];
    helm(paths, "weir", &values)?;
    apply(paths, &SHOP.replace("@KEY@", PROVIDER_KEY))?;
    // One that is there was given what an earlier installation had for it.
    let app = [
        "--namespace=shop",
        "delete",
        "deployment",
        "app",
        "--ignore-not-found",
        "--cascade=foreground",
    ];
    quietly(kubectl(paths, &app)?)?;
    apply(paths, APP)?;
    rolled_out(paths, "shop", "deployment/app")
}

fn helm(paths: &ClusterPaths, chart: &str, values: &[&str]) -> Outcome {
    let mut helm = paths.command("helm").map_err(|error| error.to_string())?;
    helm.args(["upgrade", "--install", chart])
        .arg(cache::clone_root().join("charts").join(chart))
        .args([
            "--namespace",
            WEIR_NAMESPACE,
            "--create-namespace",
            "--reset-values",
            "--wait",
            "--timeout=180s",
        ])
        .args(values);
    quietly(helm).map_err(|error| format!("{error}\n{}", pods(paths, WEIR_NAMESPACE)))
}

//! Weir in the cluster, installed from the charts as users install it, and a namespace to try it in.

use xtask::cache;
use xtask::cluster_paths::{ClusterPaths, PROVIDER_KEY, WEIR_NAMESPACE};

use super::dns::{apply, pods};
use super::kubectl;
use super::node::quietly;
use crate::step::Outcome;

const SHOP: &str = include_str!("../../../tests/cluster/shop.yaml");

/// Installs it, and waits until it is ready. Its agents believe the mock provider, whose root is no public one.
pub(crate) fn install(paths: &ClusterPaths) -> Outcome {
    helm(paths, "weir-crds", &[])?;
    let authority = paths.provider_authority();
    let mut map = kubectl(
        paths,
        &[
            "--namespace",
            WEIR_NAMESPACE,
            "create",
            "configmap",
            "provider-ca",
        ],
    )?;
    map.arg(format!("--from-file=ca.crt={}", authority.display()));
    quietly(map)?;
    let values = [
        "--set=image.pullPolicy=Never",
        "--set=agent.upstreamCA.configMap=provider-ca",
    ];
    helm(paths, "weir", &values)?;
    apply(paths, &SHOP.replace("@KEY@", PROVIDER_KEY))
}

fn helm(paths: &ClusterPaths, chart: &str, values: &[&str]) -> Outcome {
    let mut helm = paths.command("helm").map_err(|error| error.to_string())?;
    helm.args(["install", chart])
        .arg(cache::clone_root().join("charts").join(chart))
        .args([
            "--namespace",
            WEIR_NAMESPACE,
            "--create-namespace",
            "--wait",
            "--timeout=180s",
        ])
        .args(values);
    quietly(helm).map_err(|error| format!("{error}\n{}", pods(paths, WEIR_NAMESPACE)))
}

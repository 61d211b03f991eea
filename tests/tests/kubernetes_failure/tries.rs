//! What `cargo xtask cluster up` tells a developer to try works as it stands.

use std::process::Command;

use weir_tests::cluster::{Cluster, told};
use weir_tests::world::binaries::built;

use crate::alone;

/// What it says, of a cluster that is up already.
fn said(cluster: &str) -> String {
    let mut up = Command::new(built("xtask"));
    let output = up
        .args(["cluster", "--name", cluster, "up", "--built"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", told(&output));
    told(&output)
}

#[test]
fn what_a_developer_is_told_to_try_works() {
    let _alone = alone();
    // Other tests change what pods trust, or take the namespace's objects away.
    Cluster::shared().install_weir();
    let cluster = Cluster::shared().paths();
    let text = said(cluster.name());
    let kubeconfig = format!("KUBECONFIG={}", cluster.kubeconfig().display());
    assert!(text.contains(&kubeconfig), "{text}");
    let tries: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("cargo xtask ").map(|(_, words)| words))
        .filter(|words| words.contains(" -- "))
        .collect();
    let wanted = ["The mock heard", "\"k8s.namespace.name\":\"shop\"", "Succeeded"];
    assert_eq!(tries.len(), wanted.len(), "{text}");
    for (command, wanted) in tries.into_iter().zip(wanted) {
        let output = Command::new(built("xtask"))
            .args(command.split_whitespace())
            .output()
            .unwrap();
        let said = told(&output);
        assert!(
            output.status.success() && said.contains(wanted),
            "{command}: {said}"
        );
    }
}

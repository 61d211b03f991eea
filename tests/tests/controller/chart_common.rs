//! What the chart puts on every object.

use serde_json::Value as Json;
use weir_tests::cluster::Cluster;

#[test]
fn every_object_has_the_common_labels_and_annotations() {
    let mut command = Cluster::shared().command("helm");
    command
        .args(["template", "weir"])
        .arg(xtask::cache::clone_root().join("charts/weir"))
        .args([
            "--namespace",
            "weir-system",
            "--api-versions",
            "monitoring.coreos.com/v1",
        ])
        .args([
            "--set",
            "commonLabels.team=waterways,commonAnnotations.owner=miller",
        ])
        .args([
            "--set",
            "serviceMonitor.enabled=true,controller.secretNamespaces={a}",
        ]);
    let output = command.output().unwrap();
    let manifest = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Json> = manifest
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str(text).unwrap())
        .collect();
    let kinds: Vec<_> = objects
        .iter()
        .map(|object| object["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"Namespace") && kinds.contains(&"ServiceMonitor"),
        "{kinds:?}"
    );
    for object in objects {
        let metadata = &object["metadata"];
        let what = format!("{} {}", object["kind"], metadata["name"]);
        assert_eq!(metadata["labels"]["team"], "waterways", "{what}");
        assert_eq!(metadata["annotations"]["owner"], "miller", "{what}");
    }
}

//! The chart, as helm renders it.

use std::process::Output;

use weir_tests::cluster::Cluster;

fn rendered(set: &[&str]) -> Output {
    let chart = xtask::cache::clone_root().join("charts/weir");
    let mut command = Cluster::shared().command("helm");
    command
        .args(["template", "weir"])
        .arg(chart)
        .args(["--namespace", "weir-system"]);
    for value in set {
        command.args(["--set", value]);
    }
    command.output().unwrap()
}

#[test]
fn a_wrong_value_is_refused_with_a_message() {
    for (value, says) in [
        ("controller.replicas=0", "/controller/replicas"),
        ("failurePolicy=Open", "value must be one of 'open', 'closed'"),
        ("image.tga=1", "additional properties 'tga' not allowed"),
        ("webhook.captureLimit=soon", "/webhook/captureLimit"),
        ("image.digest=sha256:1", "/image/digest"),
        ("contoller.replicas=2", "'contoller' not allowed"),
    ] {
        let output = rendered(&[value]);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{value} was taken");
        assert!(message.contains(says), "{value}: {message}");
    }
}

#[test]
fn no_role_lists_secrets_and_each_rule_says_what_it_is_for() {
    for set in [[].as_slice(), &["controller.secretNamespaces={a,b}"]] {
        let output = rendered(set);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let manifest = String::from_utf8(output.stdout).unwrap();
        for document in manifest
            .split("\n---\n")
            .filter(|document| document.contains("\nrules:\n"))
        {
            let lines: Vec<&str> = document.lines().collect();
            for (index, line) in lines.iter().enumerate() {
                if line.contains("resources:") && line.contains("secrets") {
                    let rule: String = lines[index..].iter().take(3).copied().collect();
                    let verbs = rule
                        .split("verbs:")
                        .nth(1)
                        .and_then(|rest| rest.split(']').next())
                        .unwrap();
                    assert!(!verbs.contains("list") && !verbs.contains('*'), "{rule}");
                }
                if line.starts_with("  - apiGroups:") {
                    assert!(
                        lines[index - 1].trim_start().starts_with('#'),
                        "no reason above: {line}"
                    );
                }
            }
        }
    }
}

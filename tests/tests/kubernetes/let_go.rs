//! A pod that Weir is told to open no more, while connections of its are open: they stay bound by what bound them, and end.

use weir_tests::cluster::Program;
use weir_tests::cluster::inspection::explained;
use weir_tests::cluster::shop::{APP, labelled};

const PROGRAM: &str = include_str!("let_go.py");
const POLICY: &str = "{apiVersion: weir.dev/v1alpha1, kind: AIPolicy, metadata: {name: mini}, spec: {targetRefs: [{kind: Workload}], models: {allowed: ['gpt-4o-mini']}}}";

/// Whoever may label pods could else have the key without the policy.
#[test]
fn a_label_does_not_shed_a_policy() {
    let shop = labelled("shed");
    shop.apply(POLICY);
    shop.wait("aipolicy/mini", "condition=Accepted");
    for (pod, label, state) in [
        ("observed", "observe", "observed"),
        ("left", "disabled", "bypassed"),
    ] {
        shop.pod(pod, "n1", APP, "command: [sleep, infinity]");
        // The backend stays on the node.
        shop.pod(&format!("other-{pod}"), "n1", APP, "command: [sleep, infinity]");
        let mut program = Program::start(&shop, pod, PROGRAM);
        program.wait_for(|status| status == "200");
        program.wait_for(|status| status == "403 weir_model_denied");
        shop.kubectl(&["label", "pod", pod, &format!("weir.dev/intercept={label}")]);
        explained("n1", &shop, pod, |answer| answer["state"] == state);
        shop.exec(pod, &["touch", "/tmp/go"]);
        program.wait_for(|status| status.ends_with(" closes"));
        let said = program.stop();
        let (last, before) = said.split_last().unwrap();
        assert_eq!(last, "the provider's own certificate");
        assert!(
            before[1..]
                .iter()
                .all(|status| status.starts_with("403 weir_model_denied")),
            "{said:?}"
        );
    }
}

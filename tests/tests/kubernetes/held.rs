//! Configuration that changes under connections that are open: none is cut, and the next request on them is treated by what has come.

use weir_tests::cluster::shop::{APP, labelled, openai_backend};
use weir_tests::cluster::{Namespace, Program};

const PROGRAM: &str = include_str!("held.py");
const POLICY: &str = "{apiVersion: weir.dev/v1alpha1, kind: AIPolicy, metadata: {name: none}, spec: {targetRefs: [{kind: Workload}], models: {denied: ['gpt-*']}}}";

#[test]
fn a_rotated_secret_and_a_policy_are_heeded_by_the_next_request_and_cut_nothing() {
    let shop = labelled("held");
    shop.pod("app", "n2", APP, "command: [sleep, infinity]");
    let mut program = Program::start(&shop, "app", PROGRAM);
    program.wait_for(|status| status == "200");
    rotate(&shop, "sk-wrong");
    program.wait_for(|status| status == "401");
    openai_backend(&shop);
    program.wait_for(|status| status == "200");
    shop.apply(POLICY);
    program.wait_for(|status| status == "403");
    shop.kubectl(&["delete", "aipolicy", "none"]);
    program.wait_for(|status| status == "200");
    assert_eq!(program.stop(), ["200", "401", "200", "403", "200", "streaming"]);
}

fn rotate(shop: &Namespace<'_>, key: &str) {
    shop.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: openai}}, stringData: {{apiKey: {key}}}}}"
    ));
}

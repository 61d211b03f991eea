//! Configuration that changes under connections that are open: none is cut, and the next request on them is treated by what has come.

use weir_tests::cluster::shop::{APP, labelled, openai_backend};
use weir_tests::cluster::{Namespace, Program};

const PROGRAM: &str = include_str!("held.py");
const POLICY: &str = "{apiVersion: weir.dev/v1alpha1, kind: AIPolicy, metadata: {name: none}, spec: {targetRefs: [{kind: Workload}], models: {denied: ['gpt-*']}}}";

#[test]
fn what_changes_or_goes_is_heeded_by_the_next_request_and_cuts_nothing() {
    let shop = labelled("held");
    shop.pod("app", "n2", APP, "command: [sleep, infinity]");
    let mut program = Program::start(&shop, "app", PROGRAM);
    program.wait_for(|status| status == "200");
    rotate(&shop, "sk-wrong");
    program.wait_for(|status| status == "401 invalid_api_key");
    openai_backend(&shop);
    program.wait_for(|status| status == "200");
    shop.apply(POLICY);
    program.wait_for(|status| status == "403 weir_model_denied");
    shop.kubectl(&["delete", "aipolicy", "none"]);
    program.wait_for(|status| status == "200");
    shop.kubectl(&["delete", "secret", "openai"]);
    program.wait_for(|status| status == "401 weir_no_credential");
    openai_backend(&shop);
    program.wait_for(|status| status == "200");
    shop.kubectl(&["delete", "aibackend", "openai"]);
    program.wait_for(|status| status == "421 weir_backend_removed");
    let said = program.stop();
    let expected = [
        "200",
        "401 invalid_api_key",
        "200",
        "403 weir_model_denied",
        "200",
        "401 weir_no_credential",
        "200",
        "421 weir_backend_removed",
        "streaming",
    ];
    assert_eq!(said, expected);
}

fn rotate(shop: &Namespace<'_>, key: &str) {
    shop.apply(&format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: openai}}, stringData: {{apiKey: {key}}}}}"
    ));
}

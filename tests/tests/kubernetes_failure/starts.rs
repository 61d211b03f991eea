//! Pods whose first act is a request.

use crate::alone;
use crate::shop::{APP, labelled};

const PODS: usize = 40;

#[test]
fn none_of_many_pods_gets_past_weir_with_its_first_act() {
    let _alone = alone();
    let shop = labelled("starts");
    // In plaintext, so that one that got past Weir would be answered: by a 401, since it has no key.
    let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"What does a weir do?"}]}"#;
    shop.apply(&format!(
        "apiVersion: batch/v1
kind: Job
metadata: {{name: starts}}
spec:
  completions: {PODS}
  parallelism: 16
  backoffLimit: 0
  template:
    metadata: {{labels: {{app: starts}}}}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: {APP}
        imagePullPolicy: Never
        command: [curl, -sS, --fail-with-body, --max-time, '60', -H, 'authorization: Bearer none', -H, 'content-type: application/json', -d, '{body}', 'http://api.openai.com/v1/chat/completions']
"
    ));
    shop.wait("job/starts", &format!("jsonpath={{.status.succeeded}}={PODS}"));
}

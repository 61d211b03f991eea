//! Pods whose first act is a request.

use weir_tests::cluster::Namespace;
use weir_tests::cluster::shop::APP;

const PODS: usize = 200;
/// So many that there are always some in each stage of a start. More would only wait for the machine's processors, and everything else with them.
const AT_A_TIME: usize = 8;
const BODY: &str = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"What does a weir do?"}]}"#;

/// Many such pods, one after the other and many at a time. Each ends well only if its request was answered with the key that only Weir
/// has: in plaintext, so that one that gets past Weir is answered as well, by a 401.
pub(crate) struct Starts<'a>(&'a Namespace<'static>);

impl<'a> Starts<'a> {
    pub(crate) fn begin(shop: &'a Namespace<'static>) -> Self {
        shop.apply(&format!(
            "apiVersion: batch/v1
kind: Job
metadata: {{name: starts}}
spec:
  completions: {PODS}
  parallelism: {AT_A_TIME}
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
        command: [curl, -sS, --fail-with-body, --max-time, '60', -H, 'authorization: Bearer none', -H, 'content-type: application/json', -d, '{BODY}', 'http://api.openai.com/v1/chat/completions']
"
        ));
        Self(shop)
    }

    /// Waits for the last of them, or for the first that failed.
    pub(crate) fn assert_none_got_past(&self) {
        let wait = |condition: &str| {
            self.0
                .kubectl(&["wait", "job/starts", condition, "--timeout=15m"]);
        };
        wait("--for=jsonpath={.status.conditions[0].type}");
        let failed = self
            .0
            .kubectl(&["get", "job/starts", "--output=jsonpath={.status.failed}"]);
        assert!(failed.is_empty(), "{failed} failed: {}", self.failed());
        wait("--for=condition=Complete");
    }

    /// What became of those that failed.
    fn failed(&self) -> String {
        let selected = ["--selector=app=starts", "--field-selector=status.phase=Failed"];
        let names = self
            .0
            .kubectl(&[&["get", "pods", "--output=name"], &selected[..]].concat());
        let of_pod = |pod: &str| {
            let status = self
                .0
                .kubectl(&["get", pod, "--output=jsonpath={.spec.nodeName} {.status}"]);
            let logs = self.0.kubectl(&["logs", pod, "--all-containers", "--timestamps"]);
            format!("{pod} {status}\n{logs}")
        };
        names.lines().map(of_pod).collect()
    }
}

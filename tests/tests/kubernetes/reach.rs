//! What a pod reaches of Weir's own pods where no network policy is enforced, as in this cluster, whose network plugin (`ptp`) enforces none: the
//! ports that are meant, no others, and nothing without a token. What the policies would let in is looked at in `controller/chart.rs`.

use weir_tests::cluster::shop::APP;
use weir_tests::cluster::{Cluster, WEIR_NAMESPACE};

const PROGRAM: &str = include_str!("scan.py");
/// As gRPC asks over HTTP/2: an agent's stream, with no message in it.
const ASK: &str = "curl -sk --http2 --max-time 20 -X POST -H 'content-type: application/grpc' -H 'te: trailers' --data-binary '' -D - -o /tmp/told";

fn addresses(component: &str) -> Vec<String> {
    let namespace = format!("--namespace={WEIR_NAMESPACE}");
    let selector = format!("--selector=app.kubernetes.io/component={component}");
    let path = "--output=jsonpath={.items[*].status.podIP}";
    let listed = Cluster::shared().kubectl(&["get", "pods", &namespace, &selector, path]);
    let addresses: Vec<String> = listed.split_whitespace().map(str::to_owned).collect();
    assert_eq!(addresses.len(), 2, "{component}: {listed}");
    addresses
}

#[test]
fn a_pod_reaches_the_ports_that_are_meant_and_is_told_nothing_without_a_token() {
    let nobody = Cluster::shared().namespace("nobody");
    nobody.pod("app", "n1", APP, "command: [sleep, infinity]");
    let (agents, controllers) = (addresses("agent"), addresses("controller"));
    let mut scan = vec!["python3", "-c", PROGRAM];
    scan.extend(agents.iter().chain(&controllers).map(String::as_str));
    assert_eq!(
        nobody.exec("app", &scan),
        "15090\n15090\n15010 15014 15017\n15010 15014 15017\n"
    );

    for controller in controllers {
        for token in ["", "-H 'authorization: Bearer a.b.c'"] {
            let ask = format!(
                "{ASK} {token} https://{controller}:15010/weir.v1.Discovery/Stream && test ! -s /tmp/told"
            );
            let answer = nobody.exec("app", &["sh", "-c", &ask]);
            // 16: UNAUTHENTICATED.
            assert!(answer.to_lowercase().contains("grpc-status: 16"), "{answer}");
        }
    }
}

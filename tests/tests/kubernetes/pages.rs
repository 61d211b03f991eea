//! The commands that the pages of `docs/` name: those for a cluster are run here, as they stand.

use weir_tests::cluster::shop::{APP, labelled};
use weir_tests::cluster::{shell, told};
use weir_tests::pages::{COMMANDS, Shown};

#[test]
fn commands_for_a_cluster() {
    let shop = labelled("pages");
    shop.pod("app", "n1", APP, "command: [sleep, infinity]");
    for (command, shown) in COMMANDS {
        if *shown != Shown::Cluster {
            continue;
        }
        let script = command
            .replace("NS", shop.name())
            .replace("POD", "app")
            .replace("NAME", "openai");
        // Without a namespace of their own they are about the reader's.
        let script = format!(
            "kubectl() {{ command kubectl --namespace={} \"$@\"; }}\n{script}",
            shop.name()
        );
        let output = shell(&script);
        assert!(output.status.success(), "{command}: {}", told(&output));
        let said = String::from_utf8_lossy(&output.stdout);
        let wanted = match *command {
            "kubectl get namespace NS -o jsonpath='{.metadata.labels}'" => {
                "\"weir.dev/intercept\":\"enabled\""
            }
            "kubectl -n NS get pod POD -o jsonpath='{.metadata.annotations}'" => {
                "\"weir.dev/injected\":\"1\""
            }
            "kubectl get aibackends --all-namespaces" | "kubectl get aibackends" => "api.openai.com",
            "kubectl describe aibackend NAME -n NS" => "Programmed",
            "kubectl -n NS exec POD -- env" => "SSL_CERT_FILE=/etc/weir/trust/",
            "helm history weir -n weir-system" => "deployed",
            "kubectl -n weir-system get pods,events" => "pod/weir-agent-",
            _ => "",
        };
        assert!(said.contains(wanted), "{command}: {said}");
    }
}

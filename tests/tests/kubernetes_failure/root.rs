//! The interception root is changed, as documented, while programs call.

use std::time::{Duration, Instant};

use weir_tests::cluster::Document;
use weir_tests::cluster::shop::{APP, labelled};

use crate::load::Load;
use crate::{NODES, SLEEP, alone};

/// Only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const HEARD: &str = "The mock heard: What does a weir do?\n";

#[test]
fn the_root_is_changed_as_documented_and_no_call_is_lost() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let page = Document::open("control-plane.md").in_folder(folder.path());
    page.run("openssl req -x509");
    let next = std::fs::read_to_string(folder.path().join("next.crt")).unwrap();

    let shop = labelled("root");
    shop.kubectl(&["wait", "--for=create", "configmap/weir-trust", "--timeout=60s"]);
    let trusted = || shop.field("configmap", "weir-trust", "{.data.root\\.crt}");
    let deadline = Instant::now() + PATIENCE;
    while !trusted().contains(next.trim()) {
        assert!(Instant::now() < deadline, "{}", trusted());
        std::thread::sleep(Duration::from_millis(200));
    }
    // Pods that begin from here on know both roots.
    let load = Load::begin(&shop);
    shop.pod("both", NODES[0], APP, SLEEP);
    assert_eq!(shop.exec("both", &["python3", "openai_sync.py"]), HEARD);
    // Whether a program is answered that trusts the next root alone. Each time another one: who has rejected a leaf is passed on from then on.
    let mut tries = 0;
    let mut next_signs = || {
        tries += 1;
        let script = format!(
            "echo '{next}' > /tmp/next.crt; cp $(which curl) /tmp/curl-{tries}; /tmp/curl-{tries} -sS --cacert /tmp/next.crt https://api.openai.com/v1/models"
        );
        shop.exec_output("both", &["sh", "-c", &script]).status.success()
    };
    assert!(!next_signs());

    page.run("previous.crt");
    let deadline = Instant::now() + PATIENCE;
    while !next_signs() {
        assert!(Instant::now() < deadline, "the next root signs nothing");
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(shop.exec("both", &["python3", "openai_sync.py"]), HEARD);
    load.assert_nothing_was_lost();

    page.run("\"previous.crt\": null");
    page.assert_done();
    shop.pod("late", NODES[0], APP, SLEEP);
    assert_eq!(shop.exec("late", &["python3", "openai_sync.py"]), HEARD);
}

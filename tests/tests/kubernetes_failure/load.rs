//! Load in a pod on each node, which counts what becomes of it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value as Json;
use weir_tests::cluster::Namespace;
use weir_tests::cluster::shop::APP;

use crate::NODES;

const PROGRAM: &str = include_str!("load.py");

/// It is the pods' own program, and needs nobody to go on: the API server may go away meanwhile.
pub(crate) struct Load<'a>(&'a Namespace<'static>);

impl<'a> Load<'a> {
    /// Returns once calls and streams are under way.
    pub(crate) fn begin(shop: &'a Namespace<'static>) -> Self {
        let program = serde_json::to_string(PROGRAM).unwrap();
        let command = format!("command: [sh, -c, 'python3 -c \"$0\"; exec sleep infinity', {program}]");
        for node in NODES {
            shop.pod(&pod(node), node, APP, &command);
        }
        let load = Self(shop);
        for node in NODES {
            load.heard(node, |line| line == "begun");
        }
        load
    }

    /// Ends it.
    ///
    /// # Panics
    /// If a call failed, or a stream was cut.
    pub(crate) fn assert_nothing_was_lost(self) {
        for node in NODES {
            self.0.exec(&pod(node), &["touch", "/tmp/stop"]);
        }
        for node in NODES {
            let counted = self.heard(node, |line| line.starts_with('{'));
            let counted: Json = serde_json::from_str(&counted).unwrap();
            let number = |name: &str| counted[name].as_u64().unwrap();
            assert!(
                counted["failures"].as_array().unwrap().is_empty()
                    && number("calls") > 0
                    && number("streams") > 0,
                "{counted}"
            );
        }
    }

    /// Waits for a line like this.
    fn heard(&self, node: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut follow = self.0.command(&["logs", "--follow", &pod(node)]);
        let mut follow = follow
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
        let found = lines.find_map(|line| line.ok().filter(|line| wanted(line)));
        follow.kill().unwrap();
        follow.wait().unwrap();
        found.unwrap_or_else(|| panic!("{node}'s load has ended: {}", self.0.logs(&pod(node))))
    }
}

fn pod(node: &str) -> String {
    format!("load-{node}")
}

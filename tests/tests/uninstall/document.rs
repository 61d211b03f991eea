//! `docs/uninstall.md`, whose blocks are run as they stand.

use std::cell::RefCell;
use std::process::Output;

use weir_tests::cluster::Cluster;

pub(crate) struct Document {
    blocks: Vec<String>,
    run: RefCell<Vec<bool>>,
}

impl Document {
    pub(crate) fn open() -> Self {
        let text = std::fs::read_to_string(xtask::cache::clone_root().join("docs/uninstall.md")).unwrap();
        let blocks: Vec<String> = text
            .split("```sh\n")
            .skip(1)
            .map(|block| block.split("```").next().unwrap().to_owned())
            .collect();
        let run = RefCell::new(vec![false; blocks.len()]);
        Self { blocks, run }
    }

    /// Runs the first block that has these words, and gives what came of it.
    pub(crate) fn output(&self, words: &str) -> Output {
        let number = self.blocks.iter().position(|block| block.contains(words));
        let number = number.unwrap_or_else(|| panic!("no block has `{words}`"));
        self.run.borrow_mut()[number] = true;
        let mut command = Cluster::shared().command("sh");
        command
            .args(["-ec", &self.blocks[number]])
            .current_dir(xtask::cache::clone_root());
        command.output().unwrap()
    }

    /// The same, where it must succeed.
    pub(crate) fn run(&self, words: &str) {
        let output = self.output(words);
        assert!(output.status.success(), "{}", said(&output));
    }

    /// Asserts that every block was run.
    pub(crate) fn assert_done(&self) {
        let run = self.run.borrow();
        let left: Vec<_> = self
            .blocks
            .iter()
            .zip(run.iter())
            .filter(|(_, run)| !**run)
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

/// All that a command said.
pub(crate) fn said(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{}\n{out}{err}", output.status)
}

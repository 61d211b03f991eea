//! A page of `docs/` whose blocks of commands (```` ```sh ````) are run as they stand.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Cluster, PROVIDER_KEY};

/// The page.
#[derive(Debug)]
pub struct Document {
    blocks: Vec<String>,
    folder: PathBuf,
    run: RefCell<Vec<bool>>,
}

impl Document {
    /// The page of that name, such as `install.md`.
    ///
    /// # Panics
    /// If there is none.
    pub fn open(name: &str) -> Self {
        let path = xtask::cache::clone_root().join("docs").join(name);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let blocks = text.split("```sh\n").skip(1);
        let blocks: Vec<String> = blocks
            .map(|block| block.split("```").next().unwrap_or_default().to_owned())
            .collect();
        let run = RefCell::new(vec![false; blocks.len()]);
        let folder = xtask::cache::clone_root();
        Self { blocks, folder, run }
    }

    /// Its blocks, run in another folder than the repository's, for what they write there.
    #[must_use]
    pub fn in_folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Its blocks, with something added where a test's cluster has to differ from its reader's.
    ///
    /// # Panics
    /// If no block has that text.
    #[must_use]
    pub fn with(mut self, text: &str, added: &str) -> Self {
        let (number, _) = self.find(text);
        self.blocks[number] = self.blocks[number].replace(text, &format!("{text}{added}"));
        self
    }

    /// Its blocks, about another namespace than its reader's `shop`.
    #[must_use]
    pub fn for_namespace(mut self, name: &str) -> Self {
        for block in &mut self.blocks {
            *block = block
                .replace("namespace shop", &format!("namespace {name}"))
                .replace("=shop/", &format!("={name}/"));
        }
        self
    }

    /// Runs the first block that has these words, and gives what came of it.
    ///
    /// # Panics
    /// If no block has them.
    pub fn output(&self, words: &str) -> Output {
        let (number, block) = self.find(words);
        self.run.borrow_mut()[number] = true;
        shell_in(&self.folder, block)
    }

    /// The same, where it must succeed. Gives its standard output.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub fn run(&self, words: &str) -> String {
        succeeded(words, &self.output(words))
    }

    /// Runs all of them, in order.
    ///
    /// # Panics
    /// If one fails, with what it said.
    pub fn run_all(&self) {
        for block in &self.blocks {
            self.run(block);
        }
    }

    /// Runs all of them in one shell, where a block goes on from the variables of those before it. Gives its standard output.
    ///
    /// # Panics
    /// If one fails, with what it said.
    pub fn run_as_one(&self) -> String {
        let script = self.blocks.concat();
        assert!(!script.is_empty(), "the page has no block");
        succeeded(&script, &shell_in(&self.folder, &script))
    }

    /// # Panics
    /// If a block was not run, with it.
    pub fn assert_done(&self) {
        let run = self.run.borrow();
        let blocks = self.blocks.iter().zip(run.iter());
        let left: Vec<_> = blocks.filter(|(_, run)| !**run).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn find(&self, words: &str) -> (usize, &str) {
        let mut blocks = self.blocks.iter().enumerate();
        let found = blocks.find(|(_, block)| block.contains(words));
        let (number, block) = found.unwrap_or_else(|| panic!("no block has `{words}`"));
        (number, block)
    }
}

/// What came of a script, as a reader of the pages runs it: from the repository, with a key at hand.
pub fn shell(script: &str) -> Output {
    shell_in(&xtask::cache::clone_root(), script)
}

fn shell_in(folder: &Path, script: &str) -> Output {
    let mut shell: Command = Cluster::shared().command("sh");
    shell
        .args(["-euc", script])
        .current_dir(folder)
        .env("OPENAI_API_KEY", PROVIDER_KEY);
    super::output(&mut shell)
}

fn succeeded(words: &str, output: &Output) -> String {
    assert!(output.status.success(), "{words}: {}", told(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// All that a command said.
pub fn told(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{}\n{out}{err}", output.status)
}

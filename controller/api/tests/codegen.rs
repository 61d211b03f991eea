//! What is generated from the types is in the repository as it would be generated now.
#![allow(clippy::unwrap_used)] // in a test it is an assertion

#[path = "../examples/codegen/files.rs"]
mod files;
#[path = "../examples/codegen/reference.rs"]
mod reference;

use std::path::Path;

#[test]
fn generated_files_are_not_stale() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, content) in files::all() {
        let found = std::fs::read_to_string(root.join(&path)).unwrap_or_default();
        assert!(
            found == content,
            "{path} is stale: run `cargo xtask codegen` and commit what it writes"
        );
    }
}

//! Writes what is generated from the types into the repository: `cargo xtask codegen` runs it. An example rather than a part of xtask, which shall
//! build fast and depend on nothing of Weir.

mod files;
mod reference;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (path, content) in files::all() {
        let path = root.join(path);
        let directory = path.parent().unwrap_or(&root);
        if let Err(error) = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, content)) {
            use std::io::Write;
            // Nobody reads it: then the status says it.
            let _ = writeln!(std::io::stderr(), "{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

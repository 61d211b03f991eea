//! Where the programs are that the tests drive.

use std::path::PathBuf;

/// The built program `name`, from the directory in which this test was built.
///
/// # Panics
/// If it was not built, with the command that does.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("/proc is mounted");
    // A test stands in target/PROFILE/deps, a program in target/PROFILE.
    let found = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "the program {name} is not built beside {}: `cargo xtask test` builds it, or `cargo build -p {}`",
            test.display(),
            if name == "weir" {
                "weir-agent"
            } else {
                "weir-tests"
            }
        )
    })
}

/// Where built tools and client environments are kept between clones: `$WEIR_CACHE`, or `~/.cache/weir`.
pub fn cache() -> PathBuf {
    if let Some(directory) = std::env::var_os("WEIR_CACHE") {
        return directory.into();
    }
    let home = std::env::var_os("HOME").expect("HOME is set, or WEIR_CACHE");
    PathBuf::from(home).join(".cache/weir")
}

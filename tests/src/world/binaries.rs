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

/// The Python that has the clients of `tests/clients/python`.
///
/// # Panics
/// If its environment was not made, with the command that does.
pub fn python() -> PathBuf {
    made(xtask::cache::python(), "bin/python")
}

/// A program of `tests/clients/python`.
pub fn python_program(name: &str) -> PathBuf {
    xtask::cache::client_sources("python").join(name)
}

/// A program of `tests/clients/node`, beside its node_modules.
///
/// # Panics
/// If its environment was not made, with the command that does.
pub fn node_program(name: &str) -> PathBuf {
    made(xtask::cache::node(), name)
}

/// A program of `tests/clients/java`, which `java` compiles as it starts it.
pub fn java_program(name: &str) -> PathBuf {
    xtask::cache::client_sources("java").join(name)
}

/// The Go client.
///
/// # Panics
/// If it was not built, with the command that does.
pub fn go_client() -> PathBuf {
    made(xtask::cache::go(), "chat")
}

fn made(environment: std::io::Result<PathBuf>, name: &str) -> PathBuf {
    let path = environment.unwrap_or_else(|error| panic!("{error}")).join(name);
    assert!(
        path.exists(),
        "{} is missing: `cargo xtask setup` makes it",
        path.display()
    );
    path
}

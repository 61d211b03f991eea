//! The commands that the pages of `docs/` name: those for a machine are run here, as they stand.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use std::collections::BTreeSet;
use std::process::Output;

use nix::mount::{MsFlags, mount};
use weir_tests::pages::{COMMANDS, Shown, named};
use weir_tests::world::{KEY, World, binaries, configuration};

/// What a reader has as `app.py`.
const APP: &str = "import urllib.error, urllib.request
try:
    urllib.request.urlopen('https://api.openai.com/v1/models').read()
    print('answered')
except urllib.error.HTTPError as error:
    print('refused with', error.code)
";

#[test]
fn every_command_of_the_pages_is_run() {
    let named = named();
    let known: BTreeSet<&str> = COMMANDS.iter().map(|(command, _)| *command).collect();
    assert_eq!(known.len(), COMMANDS.len(), "one is there twice");
    for (command, page) in &named {
        assert!(
            known.contains(command.as_str()),
            "docs/{page} names `{command}`: say in tests/src/pages.rs what runs it"
        );
    }
    for (command, shown) in COMMANDS {
        assert!(named.contains_key(*command), "no page names `{command}` any more");
        if let Shown::By(file) = shown {
            assert!(xtask::cache::clone_root().join(file).is_file(), "{file}");
        }
    }
}

/// The indented lines of the README, which its reader types from the clone; but for those about a cluster, which `uninstall` and `kubernetes_failure` run, and the
/// demo, which is a part of the suite.
#[test]
fn the_readmes_commands() {
    let readme = std::fs::read_to_string(xtask::cache::clone_root().join("README.md")).unwrap();
    let typed: Vec<&str> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| !line.starts_with("helm ") && !line.starts_with("kubectl "))
        .collect();
    let run = "sudo --preserve-env=OPENAI_API_KEY target/release/weir run -f examples/openai.yaml -- python3 app.py";
    assert_eq!(typed, ["cargo xtask demo", "cargo xtask build", run]);
    let without_file = "sudo target/release/weir run -- python3 app.py";
    assert!(readme.contains(&format!("`{without_file}`")), "{readme}");

    let build = std::process::Command::new(binaries::built("xtask"))
        .arg("build")
        .output()
        .unwrap();
    assert!(build.status.success(), "{build:?}");
    let world = reader();
    keep_state_apart();
    let clone = xtask::cache::clone_root();
    std::os::unix::fs::symlink(clone.join("examples"), world.path("examples")).unwrap();
    let type_in = |command: &str| {
        let built = clone.join("target/release/weir");
        let script = command.replace("target/release/weir", built.to_str().unwrap());
        let mut shell = world.outside("sh");
        let output = shell.args(["-ec", &script]).env("OPENAI_API_KEY", KEY).output();
        let output = output.unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.contains("(models)"), "{told}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(type_in(run), "answered\n");
    assert_eq!(
        type_in(without_file),
        "refused with 401\n",
        "the program has no key of its own"
    );
}

/// What a machine's reader has: a program, the example as `openai.yaml`, a configuration of their own as `weir.yaml`.
fn reader() -> World {
    let world = World::new();
    let example = xtask::cache::clone_root().join("examples/openai.yaml");
    world.write("openai.yaml", std::fs::read(example).unwrap());
    world.write("weir.yaml", configuration::standard(&world));
    world.write("app.py", APP);
    world
}

/// Weir's state goes there, and sudo's; the packages' state, which apt wants, is covered by it. In the world's own mounts.
fn keep_state_apart() {
    mount(
        Some("tmpfs"),
        "/var/lib",
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap();
}

/// Runs a command with what a reader fills in. `weir` is the one that was built: by its path where sudo would look for it in a PATH of its own.
fn run(world: &World, command: &str) -> Output {
    let built = binaries::built("weir");
    let path_of_sudo = |words: &str| format!("{words} {}", built.display());
    let mut script = command
        .replace("sudo weir", &path_of_sudo("sudo"))
        .replace("=OPENAI_API_KEY weir", &path_of_sudo("=OPENAI_API_KEY"))
        .replace("=NAME weir", &path_of_sudo("=OPENAI_API_KEY"))
        // As on a machine where nobody has mounted it: the mounts are the world's own.
        .replace(
            "mount -t cgroup2",
            "mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/unified; mount -t cgroup2",
        )
        .replace("apt install", "apt-get install --simulate")
        .replace("STORE", "store.jks");
    if let Some(before) = script.strip_suffix("run …") {
        // The example takes the key from the environment, and sudo lets it through only where it is told to.
        let file = if before.contains("--preserve-env") {
            "-f openai.yaml "
        } else {
            ""
        };
        script = format!("{before}run {file}-- python3 app.py");
    }
    let script = script.replace('…', "python3 app.py");
    let path = std::env::var("PATH").unwrap();
    let mut shell = world.outside("sh");
    shell
        .args(["-ec", &script])
        .env("PATH", format!("{}:{path}", built.parent().unwrap().display()))
        .env("OPENAI_API_KEY", KEY);
    shell.output().unwrap()
}

#[test]
fn commands_for_a_machine() {
    let world = reader();
    let machine = COMMANDS.iter().filter(|(_, shown)| *shown == Shown::Machine);
    let (weirs, systems): (Vec<_>, Vec<_>) = machine.partition(|(command, _)| command.contains("weir"));
    for (command, _) in systems {
        let output = run(&world, command);
        assert!(output.status.success(), "{command}: {output:?}");
    }
    keep_state_apart();
    for (command, _) in weirs {
        let output = run(&world, command);
        let said = String::from_utf8_lossy(&output.stdout);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{command}: {}\n{said}{told}",
            output.status
        );
        if command.ends_with("-- env") {
            assert!(said.contains("SSL_CERT_FILE=/var/lib/weir/"), "{command}: {said}");
        }
        if command.contains("app.py") || command.contains('…') {
            let wanted = if command.contains("sudo env") {
                "refused with 401\n"
            } else {
                "answered\n"
            };
            assert_eq!(said, wanted, "{command}: {told}");
            assert!(told.contains("(models)"), "{command}: {told}");
        }
    }
    let log = std::fs::read_to_string(world.path("calls.json")).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
}

//! What is missing is said in one line.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use weir_tests::world::binaries;
use weir_tests::world::{World, configuration, leftovers};

use super::ASK;

#[test]
fn an_unprivileged_caller_is_told_what_is_missing() {
    let world = World::new();
    let weir = binaries::built("weir");
    let copy = world.path("weir");
    std::fs::copy(weir, &copy).unwrap();
    for directory in [world.path(""), copy.clone()] {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = world
        .outside("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
            "--",
        ])
        .arg(&copy)
        .args(["run", "--state-dir", "/tmp/weir-nobody", "--", "true"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(
        text.contains("root") && text.lines().count() == 1,
        "one line that says what is missing: {text}"
    );
}

/// `weir run` by root with these capabilities and no others.
fn run_with(world: &World, capabilities: &str, options: &[&str], script: &str) -> Output {
    let configuration = world.write("weir.yaml", configuration::standard(world));
    let mut set = String::from("-all");
    capabilities.split(' ').for_each(|name| set.extend([",+", name]));
    let output = world
        .outside("sh")
        .args(["-c", "echo 0 >\"$0\" && exec setpriv \"$@\""])
        .arg(world.control_group().path().join("cgroup.procs"))
        .args([format!("--inh-caps={set}"), format!("--bounding-set={set}")])
        .arg(binaries::built("weir"))
        .args(["run", "--state-dir"])
        .arg(world.path("state"))
        .arg("-f")
        .arg(configuration)
        .args(options)
        .args(["--", "sh", "-c", script])
        .output()
        .unwrap();
    leftovers::assert_nothing(world.control_group());
    output
}

/// The table of docs/surface.md: this much is enough, under either policy.
#[test]
fn the_capabilities_that_it_asks_for_are_enough() {
    let world = World::new();
    // The command's user must be able to enter the state directory.
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    for (capabilities, options) in [
        ("bpf perfmon net_admin", &["--fail", "open"][..]),
        ("bpf perfmon net_admin", &["--fail", "closed"]),
        ("sys_admin net_admin", &["--fail", "closed"]),
        ("bpf perfmon net_admin setuid setgid kill", &["--user", "nobody"]),
    ] {
        let output = run_with(&world, capabilities, options, ASK);
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(output.status.code(), Some(0), "{capabilities}: {stderr}");
        assert!(stdout.contains("The mock heard: hi"), "{capabilities}: {stdout}");
        assert!(stderr.contains("gpt-4o-mini"), "{capabilities}: {stderr}");
    }
}

/// And less is not, one taken away at a time.
#[test]
fn a_capability_that_is_missing_is_named() {
    let world = World::new();
    for (capabilities, options, missing) in [
        ("perfmon net_admin", &[][..], "capture needs CAP_BPF:"),
        ("bpf net_admin", &[], "capture needs CAP_PERFMON:"),
        ("bpf perfmon", &[], "capture needs CAP_NET_ADMIN:"),
        ("sys_admin", &[], "capture needs CAP_NET_ADMIN:"),
        (
            "bpf perfmon net_admin setuid setgid",
            &["--user", "nobody"],
            "running the command as another user needs CAP_KILL:",
        ),
        (
            "bpf perfmon net_admin",
            &["--user", "nobody"],
            "running the command as another user needs CAP_SETUID and CAP_SETGID and CAP_KILL:",
        ),
    ] {
        let output = run_with(&world, capabilities, options, "echo it ran");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{capabilities}: {stderr}");
        assert!(stderr.contains(missing), "{missing} in {stderr}");
        assert_eq!((stderr.lines().count(), output.stdout.len()), (1, 0), "{stderr}");
    }
}

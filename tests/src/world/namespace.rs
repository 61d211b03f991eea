//! Network and mount namespaces for the calling thread and what it starts, so that nothing of the machine's own is touched.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Moves the calling thread into new namespaces: a network that has only a loopback device, up, with `addresses` (`203.0.113.10/32`) on it,
/// and a private copy of the mounts.
///
/// # Panics
/// Without the privileges it takes, with what is missing.
pub fn enter(addresses: &[&str]) {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap_or_else(|error| {
        panic!("cannot make network and mount namespaces: {error}. These tests need root with CAP_SYS_ADMIN (run them with sudo)")
    });
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .unwrap_or_else(|error| panic!("cannot make the mounts private: {error}"));
    // Weir keeps its runs' records in /run: each world has its own, or one test's run would sweep up after another's.
    mount(
        Some("tmpfs"),
        "/run",
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .unwrap_or_else(|error| panic!("cannot mount a tmpfs on /run: {error}"));
    let mut script = String::from("link set lo up\n");
    for address in addresses {
        // Duplicate address detection would keep an IPv6 address from use for a second.
        let flags = if address.contains(':') { " nodad" } else { "" };
        script.push_str(&format!("address add {address} dev lo{flags}\n"));
    }
    ip(&script);
}

/// Runs a batch of ip(8) commands in the thread's network namespace.
///
/// # Panics
/// If ip is missing or refuses one.
pub fn ip(script: &str) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot run ip: {error}. Debian's package is iproute2; `cargo xtask setup` installs it")
        });
    child
        .stdin
        .take()
        .expect("piped above")
        .write_all(script.as_bytes())
        .expect("ip reads its script");
    let output = child.wait_with_output().expect("ip was started above");
    assert!(
        output.status.success(),
        "ip refused {script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Shows `content` in place of the file `target`, in this mount namespace only. `store` is where the content is kept.
///
/// # Panics
/// If there is no such file, or it cannot be mounted over.
pub fn replace_file(target: &str, content: &str, store: &Path) {
    let target = fs::canonicalize(target).unwrap_or_else(|error| panic!("{target}: {error}"));
    fs::write(store, content).unwrap_or_else(|error| panic!("{}: {error}", store.display()));
    mount(Some(store), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .unwrap_or_else(|error| panic!("cannot mount over {}: {error}", target.display()));
}

//! The image of the tests' applications: Python with the providers' SDKs, the programs of `tests/clients/python`, curl and a shell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use xtask::cache;

use super::images::add_busybox;
use crate::image::Root;
use crate::setup;
use crate::step::{self, Outcome};

/// Where Python stands, and what it is: its prefix, its library's folder, the environment's packages, its version.
const QUESTION: &str = "import sys, sysconfig, os
print(os.path.realpath(sys.executable))
print(sysconfig.get_path('stdlib'))
print(sysconfig.get_path('purelib'))
print('python%d.%d' % sys.version_info[:2])";

/// What no program imports, and what an environment has of its own.
const LEFT_OUT: &[&str] = &[
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "site-packages",
    "dist-packages",
    "pip",
    "__pycache__",
];

/// The archive, from the cache. It takes half a minute to make.
pub(crate) fn make() -> Outcome<PathBuf> {
    let folder = cache::app_image().map_err(|error| error.to_string())?;
    let archive = folder.join("app-python.tar");
    if archive.is_file() {
        return Ok(archive);
    }
    setup::python()?;
    step::say(&format!(
        "the image of a Python application, into {} (half a minute)",
        folder.display()
    ));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let root = Root::beside(&archive)?;
    let python = python(&root)?;
    for program in cache::files(&cache::client_sources("python")).map_err(|error| error.to_string())? {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        root.copy(&program, &format!("app/{name}"), 0o644)?;
    }
    root.program(Path::new("/usr/bin/curl"), "usr/bin/curl")?;
    root.copy(
        Path::new("/etc/ssl/certs/ca-certificates.crt"),
        "etc/ssl/certs/ca-certificates.crt",
        0o644,
    )?;
    add_busybox(&root)?;
    root.file(
        "etc/passwd",
        "root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/app:/bin/sh\n",
    )?;
    root.file("etc/group", "root:x:0:\napp:x:1000:\n")?;
    root.file("etc/nsswitch.conf", "hosts: files dns\n")?;
    root.folder("tmp", 0o1777)?;
    let configuration = json!({
        "User": "1000:1000",
        "WorkingDir": "/app",
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONUNBUFFERED=1"],
        "Cmd": [format!("/usr/local/bin/{python}")],
    });
    root.write(&configuration, "weir.test/app-python:1", &archive)?;
    Ok(archive)
}

/// The interpreter, its library and the environment's packages, as one Python below /usr/local. Gives its name.
fn python(root: &Root) -> Outcome<String> {
    let environment = cache::python().map_err(|error| error.to_string())?;
    let executable = environment.join("bin/python");
    let answer = step::ask(&executable.to_string_lossy(), &["-c", QUESTION])
        .ok_or("Python does not say where it stands")?;
    let mut lines = answer.lines();
    let (Some(program), Some(library), Some(packages), Some(name)) =
        (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(format!(
            "Python said where it stands in words that we do not know: {answer}"
        ));
    };
    root.program(Path::new(program), &format!("usr/local/bin/{name}"))?;
    root.link("usr/local/bin/python3", name)?;
    root.link("usr/local/bin/python", name)?;
    let inside = format!("usr/local/lib/{name}");
    let wanted = |entry: &str| !LEFT_OUT.contains(&entry) && !entry.starts_with("config-");
    root.tree(Path::new(library), &inside, &wanted)?;
    root.tree(Path::new(packages), &format!("{inside}/site-packages"), &wanted)?;
    // Debian's own interpreter looks there, outside an environment.
    root.link(&format!("{inside}/dist-packages"), "site-packages")?;
    // Compiled once here: what is in an image has no time of its own, which is what Python would otherwise compare.
    let mut compile = Command::new(&executable);
    compile
        .args([
            "-m",
            "compileall",
            "-q",
            "-j",
            "2",
            "--invalidation-mode",
            "unchecked-hash",
        ])
        .args(["-s", &root.path("").to_string_lossy(), "-p", "/"])
        .arg(root.path(&inside));
    step::run(&mut compile)?;
    Ok(name.to_owned())
}

//! What is missing is said in one line.

use std::os::unix::fs::PermissionsExt;

use weir_tests::world::World;

#[test]
fn an_unprivileged_caller_is_told_what_is_missing() {
    let world = World::new();
    let weir = weir_tests::world::binaries::built("weir");
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

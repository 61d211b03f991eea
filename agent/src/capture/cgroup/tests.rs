use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use proptest::prelude::*;

use super::*;

#[test]
fn cgroup2_is_found_wherever_it_is_mounted() {
    let unified = b"proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
    assert_eq!(mount_points(unified), [PathBuf::from("/sys/fs/cgroup")]);
    let hybrid =
        b"cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
    assert_eq!(mount_points(hybrid), [PathBuf::from("/sys/fs/cgroup/unified")]);
    assert!(mount_points(b"cgroup /cgroup2 cgroup rw 0 0\n").is_empty());
}

#[test]
fn own_cgroup_is_the_line_of_hierarchy_zero() {
    assert_eq!(
        own_cgroup(b"9:name=systemd:/a\n10::/x\n0::/user.slice/a b\n"),
        Some("/user.slice/a b".into())
    );
    assert_eq!(own_cgroup(b"1:cpu:/\n"), None);
}

#[test]
fn population_is_read_from_events() {
    assert!(is_populated("populated 1\nfrozen 0\n"));
    assert!(!is_populated("populated 0\nfrozen 1\n"));
}

/// As the kernel's mangle() does.
fn escape(path: &[u8]) -> Vec<u8> {
    path.iter()
        .flat_map(|&byte| match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => format!("\\{byte:03o}").into_bytes(),
            _ => vec![byte],
        })
        .collect()
}

proptest! {
    #[test]
    fn an_escaped_mount_point_is_read_back(name in prop::collection::vec(1_u8.., 1..40)) {
        let mut line = b"none ".to_vec();
        line.extend(escape(&name));
        line.extend(b" cgroup2 rw 0 0\n");
        prop_assert_eq!(mount_points(&line), [PathBuf::from(OsStr::from_bytes(&name))]);
    }

    #[test]
    fn any_text_is_survived(text: Vec<u8>) {
        let _ = mount_points(&text);
        let _ = own_cgroup(&text);
        prop_assert!(unescape(&text).len() <= text.len());
    }
}

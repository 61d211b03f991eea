//! The names that kubelet gives to the cgroups of pods (kubernetes: pkg/kubelet/cm/cgroup_manager_linux.go).
//!
//! cgroupfs driver: `kubepods/burstable/podUID`. systemd driver: each folder repeats the one above, and `_` stands for `-`:
//! `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice`. Guaranteed pods have no folder of their class.
//! kubelet's `--cgroup-root` comes before, and with the systemd driver in each name.

use std::{fmt, path::Path};

/// A pod's uid: a UUID, or the 32 hexadecimal digits of a static pod's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(String);

impl PodUid {
    /// None if it is no uid. What is one has no character that means anything in a path.
    pub fn parse(text: &str) -> Option<Self> {
        let dashes = [8, 13, 18, 23];
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let good = match text.len() {
            32 => text.bytes().all(is_digit),
            36 => text.bytes().enumerate().all(|(index, byte)| {
                if dashes.contains(&index) {
                    byte == b'-'
                } else {
                    is_digit(byte)
                }
            }),
            _ => false,
        };
        good.then(|| Self(text.to_owned()))
    }

    /// As Kubernetes writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

const CLASSES: [&str; 2] = ["burstable", "besteffort"];

/// Whether a folder of this name is where kubelet's pods begin.
pub(super) fn is_kubepods(name: &str) -> bool {
    name == "kubepods"
        || name
            .strip_suffix(".slice")
            .is_some_and(|stem| stem == "kubepods" || stem.ends_with("-kubepods"))
}

/// Whether `name`, in a folder of pods, is that of a class.
pub(super) fn is_class(kubepods: &str, name: &str) -> bool {
    match kubepods.strip_suffix(".slice") {
        None => CLASSES.contains(&name),
        Some(stem) => CLASSES.iter().any(|class| {
            name.strip_prefix(stem)
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(".slice"))
                == Some(class)
        }),
    }
}

/// The pod that `name`, in the folder `parent` of pods or of a class, stands for.
pub(super) fn pod(parent: &str, name: &str) -> Option<PodUid> {
    match parent.strip_suffix(".slice") {
        None => PodUid::parse(name.strip_prefix("pod")?),
        Some(stem) => {
            let uid = name
                .strip_prefix(stem)?
                .strip_prefix("-pod")?
                .strip_suffix(".slice")?;
            // A dash would be a folder of its own to systemd.
            (!uid.contains('-')).then(|| PodUid::parse(&uid.replace('_', "-")))?
        }
    }
}

/// The pod that a cgroup's path, below where cgroup2 is mounted, stands for; None if it is not a pod's own cgroup.
pub fn pod_of(path: &Path) -> Option<PodUid> {
    let names: Vec<&str> = path
        .components()
        .map(|component| component.as_os_str().to_str())
        .collect::<Option<_>>()?;
    match names.as_slice() {
        [.., kubepods, class, name] if is_kubepods(kubepods) && is_class(kubepods, class) => pod(class, name),
        [.., kubepods, name] if is_kubepods(kubepods) => pod(kubepods, name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44";

    #[test]
    fn kubelets_own_examples() {
        for path in [
            "kubepods/pod0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44",
            "kubepods/burstable/pod0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44",
            "node1/kubepods/besteffort/pod0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44",
            "kubepods.slice/kubepods-pod0f5c8f70_1b2d_4b8e_9c70_3f1e0a9d2b44.slice",
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f5c8f70_1b2d_4b8e_9c70_3f1e0a9d2b44.slice",
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod0f5c8f70_1b2d_4b8e_9c70_3f1e0a9d2b44.slice",
        ] {
            assert_eq!(
                pod_of(Path::new(path)).as_ref().map(PodUid::as_str),
                Some(UID),
                "{path}"
            );
        }
        let fixed = "kubepods/burstable/podb8a1e6c3d2f94b7a8c5e1f0a9d3b7c62";
        assert!(pod_of(Path::new(fixed)).is_some(), "a static pod");
    }

    #[test]
    fn what_is_no_pods_own_cgroup() {
        for path in [
            "",
            "kubepods",
            "kubepods/burstable",
            "kubepods/burstable/pod",
            "kubepods/burstable/pod..",
            "kubepods/guaranteed/pod0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44",
            "system.slice/pod0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44",
            "kubepods/pod0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44/6c1d",
            "kubepods/pod0f5c8f70_1b2d_4b8e_9c70_3f1e0a9d2b44",
            "kubepods/pod0F5C8F70-1B2D-4B8E-9C70-3F1E0A9D2B44",
            // The class in the name has to be that of the folder.
            "kubepods.slice/kubepods-burstable.slice/kubepods-besteffort-pod0f5c8f70_1b2d_4b8e_9c70_3f1e0a9d2b44.slice",
            "kubepods.slice/kubepods-burstable-pod0f5c8f70_1b2d_4b8e_9c70_3f1e0a9d2b44.slice",
            "kubepods.slice/kubepods-pod0f5c8f70-1b2d-4b8e-9c70-3f1e0a9d2b44.slice",
        ] {
            assert_eq!(pod_of(Path::new(path)), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn whatever_kubelet_names_is_found(
            uid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            root in prop::collection::vec("[a-z][a-z0-9]{0,5}", 0..3),
            class in prop::option::of(prop::sample::select(CLASSES.to_vec())),
            systemd: bool,
        ) {
            // As kubelet does it: a list of names, joined in the driver's way.
            let mut names: Vec<String> = root;
            names.push("kubepods".to_owned());
            names.extend(class.map(str::to_owned));
            names.push(format!("pod{uid}"));
            let path = if systemd {
                let escaped: Vec<String> = names.iter().map(|name| name.replace('-', "_")).collect();
                let slices = (1..=escaped.len()).map(|count| format!("{}.slice", escaped[..count].join("-")));
                slices.collect::<Vec<_>>().join("/")
            } else {
                names.join("/")
            };
            let found = pod_of(Path::new(&path));
            prop_assert_eq!(found.as_ref().map(PodUid::as_str), Some(uid.as_str()));
            let container = Path::new(&path).join("cri-containerd-0123.scope");
            prop_assert_eq!(pod_of(&container), None);
        }

        #[test]
        fn no_path_breaks_it(path: String) {
            if let Some(uid) = pod_of(Path::new(&path)) {
                prop_assert!(PodUid::parse(uid.as_str()).is_some());
            }
        }

        #[test]
        fn nor_one_that_nearly_is(path in "((k|kubepods|pod|burstable|-|_|\\.slice|/|0f5c8f70){0,12})") {
            pod_of(Path::new(&path));
        }
    }
}

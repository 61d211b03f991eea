//! A node of the test's own: a bpffs, a cgroup below which kubelet would put its pods, and pods.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;
use weir_agent::capture::{Cgroup, Hierarchy, pods::PodUid};

use crate::support::{outside, said};

/// A bpffs and a folder for pods' cgroups. Other nodes' are not seen through it.
pub(crate) struct Node {
    bpffs: TempDir,
    pub(crate) cgroup: Cgroup,
}

impl Node {
    /// Moves the calling thread into a mount namespace of its own.
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )
        .unwrap();
        let bpffs = tempfile::tempdir().unwrap();
        mount(
            Some("bpf"),
            bpffs.path(),
            Some("bpf"),
            MsFlags::empty(),
            None::<&str>,
        )
        .unwrap();
        let name = format!(
            "weir-test-node-{}-{}",
            std::process::id(),
            MADE.fetch_add(1, Ordering::Relaxed)
        );
        let cgroup = Cgroup::create(&Hierarchy::find().unwrap().own, &name).unwrap();
        Self { bpffs, cgroup }
    }

    pub(crate) fn bpf_root(&self) -> &Path {
        self.bpffs.path()
    }

    /// What Weir has pinned, without folders. The kernel itself has files in the root of a fresh bpffs.
    pub(crate) fn pins(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.bpffs.path().join("weir")];
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else {
                    found.push(entry.path());
                }
            }
        }
        found
    }

    /// A burstable pod as the cgroupfs driver makes it.
    pub(crate) fn pod(&self, number: u32) -> Pod {
        let uid = uid(number);
        Pod::start(
            &self.cgroup.path().join(format!("kubepods/burstable/pod{uid}")),
            uid,
            "--net",
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let removed = self.cgroup.remove();
        let _ = umount2(self.bpffs.path(), MntFlags::MNT_DETACH);
        if !std::thread::panicking() {
            removed.unwrap();
        }
    }
}

pub(crate) fn uid(number: u32) -> PodUid {
    PodUid::parse(&format!("0f5c8f70-1b2d-4b8e-9c70-{number:012x}")).unwrap()
}

/// A pod whose sandbox holds a network namespace, as `pause` does.
pub(crate) struct Pod {
    pub(crate) uid: PodUid,
    pub(crate) cgroup: PathBuf,
    sandbox: Child,
}

impl Pod {
    /// `namespaces`: what `unshare` is told; `--uts` leaves the pod in the host's network.
    pub(crate) fn start(cgroup: &Path, uid: PodUid, namespaces: &str) -> Self {
        let container = cgroup.join("sandbox");
        std::fs::create_dir_all(&container).unwrap();
        let mut command = Command::new("unshare");
        command
            .args([
                namespaces,
                "sh",
                "-c",
                "ip link set lo up && echo ready && exec cat",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Cgroup::open(&container).join_before_exec(&mut command).unwrap();
        let mut sandbox = command.spawn().expect("`unshare` starts: install util-linux");
        let mut line = String::new();
        BufReader::new(sandbox.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        Self {
            uid,
            cgroup: cgroup.to_owned(),
            sandbox,
        }
    }

    pub(crate) fn process(&self) -> i32 {
        self.sandbox.id().cast_signed()
    }

    /// A command in the pod's network namespace and in a container's cgroup, to be started.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let container = self.cgroup.join("app");
        std::fs::create_dir_all(&container).unwrap();
        let mut inside = Command::new("nsenter");
        inside
            .arg(format!("--net=/proc/{}/ns/net", self.process()))
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in command.get_envs() {
            inside.env(name, value.unwrap());
        }
        Cgroup::open(container).join_before_exec(&mut inside).unwrap();
        inside
    }

    /// Runs a client in the pod, and gives what it said.
    pub(crate) fn client(&self, arguments: &str) -> String {
        said(&self.command(&outside(arguments)).output().unwrap())
    }

    /// Ends the sandbox and removes the cgroup, as kubelet does.
    pub(crate) fn end(mut self) {
        self.kill();
        Cgroup::open(&self.cgroup).remove().unwrap();
    }

    fn kill(&mut self) {
        let _ = self.sandbox.kill();
        let _ = self.sandbox.wait();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill();
    }
}

//! Starting the scripts of `tests/cluster` as pid 1 of their namespaces, and hearing how far they are.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use xtask::cluster_paths::ClusterPaths;

use super::tail;
use crate::step::Outcome;

const NAMESPACES: &str = include_str!("../../../tests/cluster/namespaces.sh");

/// A script that runs as pid 1. It stays when this is dropped: it ends with the cluster's cgroup.
pub(crate) struct Init {
    paths: ClusterPaths,
    part: String,
    process: String,
    says: BufReader<ChildStdout>,
    hears: ChildStdin,
}

impl Init {
    /// Starts `script` for `part` of the cluster in the given cgroups, and waits until it is in its namespaces.
    pub(crate) fn start(
        paths: &ClusterPaths,
        part: &str,
        script: &str,
        cgroups: &[PathBuf],
        environment: &[(&str, &str)],
    ) -> Outcome<Self> {
        let file = |name: String, content: &str| {
            let path = paths.folder().join(name);
            fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok::<_, String>(path)
        };
        let namespaces = file("namespaces.sh".to_owned(), NAMESPACES)?;
        let script = file(format!("{part}.sh"), script)?;
        let log = paths.logs().join(format!("{part}.log"));
        let log = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let mut command = Command::new("bash");
        command
            .arg(namespaces)
            .args(cgroups)
            .arg("--")
            .arg(script)
            .current_dir("/")
            .envs(environment.iter().copied())
            .env("FOLDER", paths.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot run bash: {error}"))?;
        let (Some(hears), Some(says)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{part}: its pipes are not ours"));
        };
        let mut init = Self {
            paths: paths.clone(),
            part: part.to_owned(),
            process: String::new(),
            says: BufReader::new(says),
            hears,
        };
        let line = init.line()?;
        let process = line
            .strip_prefix("process ")
            .ok_or_else(|| format!("{part} said `{line}` instead of its pid"))?;
        init.process = process.to_owned();
        let path = paths.folder().join(format!("{part}.pid"));
        fs::write(&path, process).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(init)
    }

    /// Its pid, as the machine counts.
    pub(crate) fn process(&self) -> &str {
        &self.process
    }

    /// Waits until the script says that it has come so far.
    pub(crate) fn reached(&mut self, wanted: &str) -> Outcome {
        let line = self.line()?;
        if line == wanted {
            Ok(())
        } else {
            Err(format!("{} said `{line}` instead of `{wanted}`", self.part))
        }
    }

    /// Lets it go on.
    pub(crate) fn go_on(&mut self) -> Outcome {
        self.hears
            .write_all(b"\n")
            .map_err(|error| format!("{} has ended: {error}", self.part))
    }

    fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        self.says
            .read_line(&mut line)
            .map_err(|error| format!("{}: {error}", self.part))?;
        if line.is_empty() {
            let tail = tail(&self.paths, &format!("{}.log", self.part));
            return Err(format!(
                "{} of the cluster did not start; {tail}\nThe other logs are beside it",
                self.part
            ));
        }
        Ok(line.trim_end().to_owned())
    }
}

//! A program that runs in a pod, line by line.

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Stdio};

use super::Namespace;

/// Runs until it is stopped.
pub struct Program<'a> {
    shop: &'a Namespace<'static>,
    pod: String,
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    heard: Vec<String>,
}

impl<'a> Program<'a> {
    /// Starts a Python program that ends once there is a file /tmp/stop.
    ///
    /// # Panics
    /// If kubectl cannot be run.
    pub fn start(shop: &'a Namespace<'static>, pod: &str, text: &str) -> Self {
        let mut command = shop.command(&["exec", pod, "--", "python3", "-c", text]);
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self {
            shop,
            pod: pod.to_owned(),
            process,
            lines,
            heard: Vec::new(),
        }
    }

    /// Returns once it has said a line like this.
    ///
    /// # Panics
    /// If it ends before that, with what it said.
    pub fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) {
        loop {
            let Some(line) = self.lines.next() else {
                let mut said = String::new();
                let _ = self.process.stderr.take().unwrap().read_to_string(&mut said);
                panic!("{} has ended: {:?} {said}", self.pod, self.heard);
            };
            self.heard.push(line.unwrap());
            if wanted(&self.heard[self.heard.len() - 1]) {
                return;
            }
        }
    }

    /// Stops it, and gives all that it has said.
    ///
    /// # Panics
    /// If its pod is gone.
    pub fn stop(mut self) -> Vec<String> {
        self.shop.exec(&self.pod, &["touch", "/tmp/stop"]);
        self.heard.extend(self.lines.by_ref().map_while(Result::ok));
        self.process.wait().unwrap();
        self.shop.exec(&self.pod, &["rm", "/tmp/stop"]);
        std::mem::take(&mut self.heard)
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

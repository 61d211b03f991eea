//! A stream of events that a pod holds open.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use super::Namespace;

const BODY: &str =
    r#"{"model":"mock-large-600000-slow","stream":true,"messages":[{"role":"user","content":"?"}]}"#;

/// A stream of some ten seconds, of which the first event has come.
pub struct Stream {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Stream {
    /// Opens it, by a call of the provider from a pod that has no key.
    ///
    /// # Panics
    /// If it is not answered by events.
    pub fn open(shop: &Namespace<'_>, pod: &str) -> Self {
        let url = "https://api.openai.com/v1/chat/completions";
        let json = "content-type: application/json";
        let mut command: Command = shop.command(&["exec", pod, "--"]);
        command.args(["curl", "-sSN", "-H", json, "--data", BODY, url]);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert!(line.starts_with("data: {"), "{line}");
        Self { process, output }
    }

    /// Waits for its end, which must be a good one.
    ///
    /// # Panics
    /// If it is cut, with the last that came.
    pub fn assert_whole(self) {
        let (status, end) = self.end();
        assert!(
            status.success() && end.ends_with("data: [DONE]"),
            "{status}: {end}"
        );
    }

    /// Waits for its end, which its client must have taken for a cut.
    ///
    /// # Panics
    /// If it ends well, with the last that came.
    pub fn assert_cut(self) {
        let (status, end) = self.end();
        assert!(
            !status.success() && !end.ends_with("data: [DONE]"),
            "{status}: {end}"
        );
    }

    /// How its client has ended, and the last that came.
    fn end(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).unwrap();
        let status = self.process.wait().unwrap();
        let end = text.get(text.len().saturating_sub(200)..).unwrap_or_default();
        (status, end.trim_end().to_owned())
    }
}

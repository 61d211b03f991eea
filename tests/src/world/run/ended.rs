//! What there is to see of a run when it has ended.

use std::process::ExitStatus;

use crate::world::log::LogLine;

/// A `weir run` that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status.
    pub status: ExitStatus,
    /// The command's standard output.
    pub stdout: String,
    /// The error output of the command and of Weir.
    pub stderr: String,
    /// One line an exchange.
    pub access_log: Vec<LogLine>,
}

impl Finished {
    /// Asserts that it exited with `code`.
    ///
    /// # Panics
    /// Otherwise, with all that it printed.
    pub fn assert_exit(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "exit status\n--- stdout ---\n{}\n--- stderr ---\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The access log's only line.
    ///
    /// # Panics
    /// If there is not exactly one.
    pub fn only_exchange(&self) -> &LogLine {
        assert_eq!(
            self.access_log.len(),
            1,
            "exchanges: {:?}\n{}",
            self.access_log,
            self.stderr
        );
        self.access_log.first().expect("counted above")
    }
}

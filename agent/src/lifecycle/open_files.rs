//! How many files this process may have open: each captured connection takes two, each captured pod two more.

use std::io;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// A limit below which a busy node runs out: container runtimes and systemd give half a million and more.
const ENOUGH: rlim_t = 16 * 1024;

/// The limits that this process was started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenFiles {
    soft: rlim_t,
    hard: rlim_t,
}

impl OpenFiles {
    /// Those of now.
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(Self { soft, hard })
    }

    /// Takes all that may be had: the usual soft limit of 1,024 is there for programs that use select(2), and would be spent at
    /// some 500 connections.
    pub(crate) fn raise(self) -> io::Result<()> {
        Ok(setrlimit(Resource::RLIMIT_NOFILE, self.hard, self.hard)?)
    }

    /// Gives them back, in a child between fork and exec: it may be one of the programs that use select(2). Makes one system call and no more.
    pub(crate) fn restore(self) -> io::Result<()> {
        Ok(setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard)?)
    }

    /// What there is to have, or why it is too little.
    pub(crate) fn check(self) -> Result<String, String> {
        match self.hard {
            enough if enough >= ENOUGH => Ok(format!("{enough} may be open, two for each connection")),
            few => Err(format!(
                "only {few} may be open, two for each connection: raise the limit (ulimit -Hn; LimitNOFILE of the container \
                 runtime's or the shell's service)"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::OpenFiles;

    #[test]
    fn too_few_are_named_with_the_mend() {
        let files = |hard| OpenFiles { soft: 1024, hard };
        assert!(files(1_048_576).check().is_ok());
        let few = files(4096).check().expect_err("2,048 connections");
        assert!(few.contains("only 4096") && few.contains("LimitNOFILE"), "{few}");
    }
}

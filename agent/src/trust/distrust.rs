//! A client that does not accept our leaf: telling it from other failures, and saying what to do.

use std::collections::HashSet;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustls::AlertDescription;

/// Commands reported on; past this many different names, new ones go unreported.
const REPORTED: usize = 256;

/// Whether a handshake failed because the client rejected our certificate: an alert of RFC 8446 §6.2 that says so,
/// anywhere in the error's chain of causes.
///
/// A client that just closes the connection says nothing: [`may_be_distrust`].
pub fn is_distrust(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref() {
            return says_distrust(*alert);
        }
        // io::Error::source() passes over the very error that it wraps.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// Whether a handshake ended as it does where the client closes without an alert: Node looks at the certificate only
/// after its part of the handshake is done. But so may a client that gave up for another reason.
///
/// To be asked only of a handshake in which the client was shown our certificate.
pub fn may_be_distrust(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

fn says_distrust(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA               // OpenSSL, Node, curl, Python
            | AlertDescription::BadCertificate    // Go
            | AlertDescription::CertificateUnknown // Java, Chromium
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificateStatusResponse
            | AlertDescription::BadCertificateHashValue
    )
}

/// Words the report, once for each command name.
#[derive(Debug)]
pub struct DistrustReporter {
    root_certificate: PathBuf,
    reported: Mutex<HashSet<String>>,
}

impl DistrustReporter {
    /// `root_certificate`: the file of our root, which the mend may have to name
    /// ([`super::LocalAuthority::certificate_path`]).
    pub fn new(root_certificate: &Path) -> Self {
        Self {
            root_certificate: root_certificate.to_owned(),
            reported: Mutex::default(),
        }
    }

    /// What to tell the user when `command` (its name, as the kernel has it) rejected our certificate for `host`
    /// ([`is_distrust`]): who it was, and what to set. `None` where that command has been reported already.
    pub fn report(&self, command: &str, host: &str) -> Option<String> {
        self.once(command, || {
            format!("{command:?} does not trust Weir's certificate for {host}, so its calls there are not counted.")
        })
    }

    /// The same where it only looks like it ([`may_be_distrust`]).
    pub fn report_suspicion(&self, command: &str, host: &str) -> Option<String> {
        self.once(command, || {
            format!(
                "{command:?} hung up when it saw Weir's certificate for {host}. If its calls there fail, it most \
                 likely does not trust it."
            )
        })
    }

    fn once(&self, command: &str, finding: impl FnOnce() -> String) -> Option<String> {
        let mut reported = self.reported.lock();
        if reported.contains(command) || reported.len() >= REPORTED {
            return None;
        }
        reported.insert(command.to_owned());
        drop(reported);
        Some(format!("{} {}", finding(), self.mend(command)))
    }

    fn mend(&self, command: &str) -> String {
        let root = self.root_certificate.display();
        match Runtime::of(command) {
            Runtime::Java => format!(
                "Java takes its trust store from JAVA_TOOL_OPTIONS or JDK_JAVA_OPTIONS, whichever Weir finds free; this \
                 program has both, or names another store. Import ours there: keytool -importcert -noprompt -keystore \
                 STORE -storepass changeit -alias weir -file {root}"
            ),
            Runtime::Python => format!(
                "Python's libraries follow SSL_CERT_FILE and REQUESTS_CA_BUNDLE, which Weir sets; this program \
                 overrides them (verify=, certifi.where(), a cleared environment, a value of its own). Let it read ours, or \
                 give it {root}"
            ),
            Runtime::Node => format!(
                "Node adds NODE_EXTRA_CA_CERTS, which Weir sets, once at its start; this program clears it or passes \
                 a `ca` of its own. Add {root} there"
            ),
            Runtime::Browser => format!(
                "Browsers have a certificate store of their own: import {root} there for this purpose only, or \
                 leave the browser outside `weir run`"
            ),
            Runtime::Other => format!(
                "It reads neither SSL_CERT_FILE nor what else Weir sets, or pins its certificates. Tell it to trust \
                 {root}, or let it pass with `onUntrusted: Relay` in its AIBackend"
            ),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Runtime {
    Java,
    Python,
    Node,
    Browser,
    Other,
}

impl Runtime {
    /// By the command's name: a hint for the mend, nothing hangs on it.
    fn of(command: &str) -> Self {
        let command = command.to_ascii_lowercase();
        let starts = |names: &[&str]| names.iter().any(|name| command.starts_with(name));
        // A JVM names its threads too: the kernel's name of a process is its main thread's.
        if starts(&["java", "kotlin", "scala", "gradle", "mvn", "sbt"]) {
            Self::Java
        } else if starts(&[
            "python", "pypy", "uvicorn", "gunicorn", "celery", "ipython", "jupyter", "pytest", "uv",
        ]) {
            Self::Python
        } else if starts(&["node", "npm", "npx", "electron", "mainthread"]) {
            Self::Node
        } else if starts(&["chrome", "chromium", "firefox", "brave", "msedge"]) {
            Self::Browser
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests;

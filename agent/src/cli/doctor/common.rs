//! What every machine needs that captures.

use std::path::Path;

use super::{Check, clock};
use crate::capture::preflight::{self, Need};
use crate::capture::{CaptureError, load_programs};
use crate::trust;

/// Kernel, capabilities (with what they are for, and how to get them), and whether the kernel takes the programs.
pub(super) fn kernel(needs: &[Need], how: &str) -> Vec<Check> {
    vec![
        Check::new("linux", preflight::kernel()),
        Check::new("capabilities", capabilities(needs, how)),
        Check::new("bpf", preflight::bpf().map(|()| "the kernel has it".to_owned())),
        Check::new("programs", programs()),
    ]
}

fn capabilities(needs: &[Need], how: &str) -> Result<String, String> {
    let list = |needs: &[Need]| -> String {
        let each = needs
            .iter()
            .map(|((name, _), purpose)| format!("{name} (to {purpose})"));
        each.collect::<Vec<_>>().join(", ")
    };
    let missing = preflight::missing(needs);
    if missing.is_empty() {
        Ok(list(needs))
    } else {
        Err(format!("there is no {}: {how}", list(&missing)))
    }
}

fn programs() -> Result<String, CaptureError> {
    load_programs().map(|count| format!("the kernel takes all {count}"))
}

/// What providers are verified against, and the clock that certificates are held against.
pub(super) fn trust() -> Vec<Check> {
    let roots = trust::upstream_roots().map(|roots| format!("{} to verify providers by", roots.len()));
    vec![
        Check::new("public roots", roots),
        Check::new(
            "clock",
            clock::check(std::time::SystemTime::now(), program().as_deref()),
        ),
    ]
}

fn program() -> Option<std::path::PathBuf> {
    std::env::current_exe().ok()
}

/// The folder `path` as messages name it, where it is there.
pub(super) fn present(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

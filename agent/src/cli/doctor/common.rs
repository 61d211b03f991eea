//! What every machine needs that captures.

use super::{Check, clock};
use crate::capture::preflight::{self, Need};
use crate::capture::{CaptureError, load_programs};
use crate::lifecycle::OpenFiles;
use crate::trust;

/// Kernel, capabilities (with what they are for, and how to get them), whether the kernel takes the programs, and how many files may be
/// open. Without the capabilities the programs are not tried: the kernel's answer would be about them.
pub(super) fn kernel(needs: &[Need], how: &str) -> Vec<Check> {
    let capabilities = Check::new("capabilities", capabilities(needs, how));
    let may_load = capabilities.outcome.is_ok();
    let mut checks = vec![
        Check::new("linux", preflight::kernel()),
        capabilities,
        Check::new("bpf", preflight::bpf().map(|()| "the kernel has it".to_owned())),
    ];
    if may_load {
        checks.push(Check::new("programs", programs()));
    }
    checks.push(Check::new("open files", open_files()));
    checks
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

/// Of a program started as this one, which takes all that it may have.
fn open_files() -> Result<String, String> {
    OpenFiles::of_this_process()
        .map_err(|error| error.to_string())?
        .check()
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

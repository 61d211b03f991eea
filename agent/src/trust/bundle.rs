//! The certificate files that the captured command's TLS libraries are pointed at.

use std::collections::HashMap;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use weir_api::environment::TRUST_VARIABLES;
use weir_api::java;

use super::{LocalAuthority, store};

/// The files' directory inside the state directory.
const DIRECTORY: &str = "bundles";
/// Certificates that a user names are at most this much; the public roots are some 250 KiB.
const SOURCE_LIMIT: u64 = 16 * 1024 * 1024;
/// What no run has used for so long, and none holds now, is removed.
const KEPT_UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why the files could not be written.
#[derive(Debug, Error)]
#[error("{}: {source}; choose a directory that you may write with --state-dir", path.display())]
pub struct BundleError {
    path: PathBuf,
    source: std::io::Error,
}

/// The certificate files of one run: for each variable the roots that its readers would have used, plus ours.
///
/// The files are named by their content and shared by all runs of the state directory, so that what a command leaves
/// running keeps its roots, and their number stays small. While the value lives, no other run removes them.
#[derive(Debug)]
pub struct TrustFiles {
    variables: Vec<(&'static str, Arc<PathBuf>)>,
    /// Set where a variable for a JVM's options is free.
    java: Option<(&'static str, Arc<PathBuf>)>,
    _in_use: Vec<File>,
}

impl TrustFiles {
    /// Writes the files into `state_directory`; `inherited` reads the environment that the command would otherwise have.
    ///
    /// A variable's roots are what it names already, else what its readers would fall back to, else the machine's
    /// (on a machine without any, ours alone). They are readable by everyone: the command may run as another user.
    pub fn write(
        state_directory: &Path,
        authority: &LocalAuthority,
        inherited: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, BundleError> {
        let directory = state_directory.join(DIRECTORY);
        let error = |source| BundleError {
            path: directory.clone(),
            source,
        };
        store::make_directory(&directory).map_err(error)?;
        // Absolute: the command may change its directory.
        let directory = directory.canonicalize().map_err(error)?;
        let _lock = store::lock_directory(state_directory).map_err(error)?;

        let mut files = Files::new(&directory);
        // Read once a name, for what cannot be read is warned of.
        let mut read = HashMap::new();
        let mut named = |name: &'static str| {
            read.entry(name)
                .or_insert_with(|| inherited(name).and_then(|value| roots_named_by(name, &value)))
                .clone()
        };
        let machine =
            named("SSL_CERT_FILE").unwrap_or_else(|| rustls_native_certs::load_native_certs().certs);
        let mut variables = Vec::with_capacity(TRUST_VARIABLES.len());
        for variable in TRUST_VARIABLES {
            let chosen = named(variable.name).or_else(|| variable.falls_back_to.and_then(&mut named));
            let mut roots = match chosen {
                Some(roots) => roots,
                None if variable.adds => Vec::new(),
                None => machine.clone(),
            };
            roots.push(authority.certificate().clone());
            variables.push((variable.name, files.put(&to_pem(roots), "pem").map_err(error)?));
        }
        let is_free = |name: &&str| inherited(name).is_none_or(|value| value.is_empty());
        let java = match java::OPTIONS_VARIABLES.into_iter().find(is_free) {
            Some(name) => {
                let roots = machine.iter().chain([authority.certificate()]).cloned();
                Some((name, files.put(&java::trust_store(roots), "jks").map_err(error)?))
            }
            None => None,
        };
        sweep(&directory, &files.paths(), SystemTime::now());
        Ok(Self {
            variables,
            java,
            _in_use: files.in_use,
        })
    }

    /// The first directory on the way to the files that a user may not enter, if any: a command that runs as this user
    /// would then find no roots at all, and no connection of it would work. Supplementary groups and access
    /// control lists are not looked at.
    pub fn unreachable_for(&self, user: u32, group: u32) -> Option<PathBuf> {
        let enters = |directory: &Path| {
            let Ok(metadata) = fs::metadata(directory) else {
                return false;
            };
            let bit = match () {
                () if metadata.uid() == user => 0o100,
                () if metadata.gid() == group => 0o010,
                () => 0o001,
            };
            user == 0 || metadata.mode() & bit != 0
        };
        let (_, path) = self.variables.first()?;
        let directories = path.ancestors().skip(1).collect::<Vec<_>>();
        directories
            .into_iter()
            .rev()
            .find(|directory| !enters(directory))
            .map(Path::to_owned)
    }

    /// Each variable and what it should hold: the file that it names, or a JVM's options.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, OsString)> {
        let files = self.variables.iter();
        let files = files.map(|(name, path)| (*name, path.as_os_str().to_owned()));
        let java = self.java.iter();
        files.chain(java.map(|(name, path)| (*name, java::options(&path.to_string_lossy()).into())))
    }
}

/// The certificates of the file (or the directory: `REQUESTS_CA_BUNDLE` may name one) that a variable names.
fn roots_named_by(name: &str, value: &OsString) -> Option<Vec<CertificateDer<'static>>> {
    if value.is_empty() {
        return None;
    }
    let path = Path::new(value);
    let roots = match fs::read_dir(path) {
        Ok(entries) => entries
            .filter_map(Result::ok)
            .filter_map(|entry| certificates_in(&entry.path()))
            .flatten()
            .collect(),
        Err(_) => certificates_in(path).unwrap_or_default(),
    };
    if roots.is_empty() {
        tracing::warn!(
            "{name} names {}, where no certificate can be read; the command gets the machine's roots instead",
            path.display()
        );
        return None;
    }
    Some(roots)
}

/// Only the certificates, never the file as it is: Weir may read what the command's user may not.
fn certificates_in(path: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > SOURCE_LIMIT {
        return None;
    }
    let bytes = fs::read(path).ok()?;
    Some(
        CertificateDer::pem_slice_iter(&bytes)
            .filter_map(Result::ok)
            .collect(),
    )
}

/// The files written so far in this run.
struct Files<'a> {
    directory: &'a Path,
    written: Vec<(Vec<u8>, Arc<PathBuf>)>,
    in_use: Vec<File>,
}

impl<'a> Files<'a> {
    fn new(directory: &'a Path) -> Self {
        Self {
            directory,
            written: Vec::new(),
            in_use: Vec::new(),
        }
    }

    fn paths(&self) -> Vec<&Path> {
        self.written.iter().map(|(_, path)| path.as_path()).collect()
    }

    fn put(&mut self, content: &[u8], extension: &str) -> std::io::Result<Arc<PathBuf>> {
        if let Some((_, path)) = self.written.iter().find(|(written, _)| *written == content) {
            return Ok(Arc::clone(path));
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        let name: String = digest.as_ref()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let path = self.directory.join(format!("{name}.{extension}"));
        if fs::read(&path).ok().as_deref() != Some(content) {
            store::write_atomically(&path, content, 0o644)?;
        }
        let file = File::open(&path)?;
        // Neither is worth failing for: the age and the lock only keep other runs from removing the file.
        let _ = file.set_modified(SystemTime::now());
        let _ = file.try_lock_shared();
        self.in_use.push(file);
        let path = Arc::new(path);
        self.written.push((content.to_owned(), Arc::clone(&path)));
        Ok(path)
    }
}

fn to_pem(roots: Vec<CertificateDer<'static>>) -> Vec<u8> {
    let mut seen = HashSet::new();
    let mut pem = String::with_capacity(roots.iter().map(|root| root.len() * 3 / 2 + 64).sum());
    for root in roots {
        let encoded = base64::engine::general_purpose::STANDARD.encode(&root);
        if !seen.insert(root) {
            continue;
        }
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for start in (0..encoded.len()).step_by(64) {
            pem.push_str(&encoded[start..encoded.len().min(start + 64)]);
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    pem.into_bytes()
}

/// Removes what no run uses: neither touched lately nor held by a living one.
fn sweep(directory: &Path, keep: &[&Path], now: SystemTime) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        let unused = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > KEPT_UNUSED));
        if unused
            && !keep.contains(&path.as_path())
            && File::open(&path).is_ok_and(|file| file.try_lock().is_ok())
        {
            let _ = fs::remove_file(&path); // the next run tries again
        }
    }
}

#[cfg(test)]
mod tests;

//! The cache outside of the clone: tools and client environments that a clean clone need not make again.
//!
//! Each entry is a folder whose name says what it was made from, so that a change of version or lock file makes a new one, and several clones
//! can share the cache.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// bpf-linker's version; `agent/build.rs` looks for the folder of this name.
pub const BPF_LINKER: &str = "0.13.0";
/// cargo-deny's version.
pub const CARGO_DENY: &str = "0.20.2";

/// `$WEIR_CACHE`, or `~/.cache/weir`.
///
/// # Errors
/// If neither `WEIR_CACHE` nor `HOME` is set.
pub fn directory() -> io::Result<PathBuf> {
    if let Some(directory) = std::env::var_os("WEIR_CACHE") {
        return Ok(directory.into());
    }
    let home = std::env::var_os("HOME").ok_or_else(|| {
        io::Error::other("neither WEIR_CACHE nor HOME is set: set WEIR_CACHE to a folder for built tools")
    })?;
    Ok(PathBuf::from(home).join(".cache/weir"))
}

/// The root of the clone that this was compiled in.
pub fn clone_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// The folder with the client programs of a language.
pub fn client_sources(language: &str) -> PathBuf {
    clone_root().join("tests/clients").join(language)
}

/// Python's environment: keyed by its requirements alone, since installing them takes longest and the programs run from the clone.
///
/// # Errors
/// If the requirements cannot be read, or as [`directory`].
pub fn python() -> io::Result<PathBuf> {
    keyed("python", &[client_sources("python").join("requirements.txt")])
}

/// The folder of the image of Python applications: keyed by their programs, and by how it is made of them.
///
/// # Errors
/// If the sources cannot be read, or as [`directory`].
pub fn app_image() -> io::Result<PathBuf> {
    let mut sources = files(&client_sources("python"))?;
    sources.push(clone_root().join("xtask/src/cluster/app_image.rs"));
    keyed("app-python", &sources)
}

/// Node's environment, programs included: an ES module is resolved from where its importer stands.
///
/// # Errors
/// If the sources cannot be read, or as [`directory`].
pub fn node() -> io::Result<PathBuf> {
    keyed("node", &files(&client_sources("node"))?)
}

/// The folder of the built Go client.
///
/// # Errors
/// If the sources cannot be read, or as [`directory`].
pub fn go() -> io::Result<PathBuf> {
    keyed("go", &files(&client_sources("go"))?)
}

/// The folder of a program of `tests/cluster` that Go builds: `kube`, `coredns`. `version` is Go's, which goes into what it builds.
///
/// # Errors
/// If the sources cannot be read, or as [`directory`].
pub fn cluster_program(name: &str, version: &str) -> io::Result<PathBuf> {
    let folder = keyed(
        &format!("cluster-{name}"),
        &files(&clone_root().join("tests/cluster").join(name))?,
    )?;
    Ok(folder.join(version))
}

/// The files directly in a folder, sorted by name.
///
/// # Errors
/// If it cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let read = std::fs::read_dir(folder).map_err(|error| named(folder, error))?;
    let mut files: Vec<PathBuf> = read
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|p| p.is_file())
        .collect();
    files.sort();
    Ok(files)
}

fn keyed(name: &str, sources: &[PathBuf]) -> io::Result<PathBuf> {
    let mut hash = Sha256::new();
    for source in sources {
        let content = std::fs::read(source).map_err(|error| named(source, error))?;
        hash.update(source.file_name().unwrap_or_default().as_encoded_bytes());
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    let key: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(directory()?.join(format!("{name}-{key}")))
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

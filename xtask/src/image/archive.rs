//! Writing a folder as an OCI image of one layer, in one tar: what `ctr images import`, `skopeo` and `docker load` take. No daemon is needed.
//!
//! The same folder gives the same bytes: order, owners and times are fixed. The layout is that of the
//! [OCI image specification](https://github.com/opencontainers/image-spec/blob/main/image-layout.md).

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::step::{self, Outcome};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Writes the image `reference` (`registry/name:tag`) of the files below `root` to `archive`. `configuration` says how to run it, as the
/// specification's `config`. `scratch` is an empty folder for what lies in between.
pub(crate) fn write(
    root: &Path,
    configuration: &Value,
    reference: &str,
    scratch: &Path,
    archive: &Path,
) -> Outcome {
    let blobs = scratch.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(|error| format!("{}: {error}", blobs.display()))?;
    let unnamed = scratch.join("layer.tar");
    tar(root, &unnamed)?;
    let (layer, layer_size) = digest(&unnamed)?;
    fs::rename(&unnamed, blobs.join(&layer)).map_err(|error| error.to_string())?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let (configuration, configuration_size) = blob(
        &blobs,
        &json!({
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": configuration,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer}")]},
        }),
    )?;
    let (manifest, manifest_size) = blob(
        &blobs,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIGURATION, "digest": format!("sha256:{configuration}"), "size": configuration_size},
            "layers": [{"mediaType": LAYER, "digest": format!("sha256:{layer}"), "size": layer_size}],
        }),
    )?;
    let tag = reference.rsplit(':').next().unwrap_or_default();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{
            "mediaType": MANIFEST,
            "digest": format!("sha256:{manifest}"),
            "size": manifest_size,
            "platform": {"architecture": architecture, "os": "linux"},
            // The first is the specification's, the second is where containerd and Docker look for the whole name.
            "annotations": {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": reference},
        }],
    });
    for (name, content) in [
        ("index.json", index),
        ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
    ] {
        fs::write(scratch.join(name), content.to_string()).map_err(|error| format!("{name}: {error}"))?;
    }
    tar(scratch, archive)
}

/// GNU tar, told to leave out whatever differs from one day to the next.
fn tar(folder: &Path, archive: &Path) -> Outcome {
    let mut command = Command::new("tar");
    command
        .args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
        .args(["--mtime=@0", "--format=gnu", "--create", "--file"])
        .arg(archive)
        .arg("--directory")
        .arg(folder)
        .arg(".");
    step::run(&mut command)
}

fn blob(blobs: &Path, content: &Value) -> Outcome<(String, usize)> {
    let text = content.to_string();
    let digest = hexadecimal(&Sha256::digest(&text));
    fs::write(blobs.join(&digest), &text).map_err(|error| format!("{}: {error}", blobs.display()))?;
    Ok((digest, text.len()))
}

fn digest(path: &Path) -> Outcome<(String, u64)> {
    let named = |error: io::Error| format!("{}: {error}", path.display());
    let mut hash = Sha256::new();
    let size = io::copy(&mut File::open(path).map_err(named)?, &mut hash).map_err(named)?;
    Ok((hexadecimal(&hash.finalize()), size))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use serde_json::{Value, json};

    use crate::image::Root;
    use crate::step;

    #[test]
    fn the_same_files_give_the_same_bytes_and_the_name_is_in_the_index() {
        let folder = std::env::temp_dir().join(format!("weir-archive-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("/tmp is writable");
        let archives = ["one.tar", "other.tar"].map(|name| folder.join(name));
        for (archive, time) in archives.iter().zip([SystemTime::UNIX_EPOCH, SystemTime::now()]) {
            let root = Root::beside(archive).expect("/tmp is writable");
            root.file("etc/hello", "hello\n").expect("/tmp is writable");
            let file = fs::File::open(root.path("etc/hello")).expect("just written");
            file.set_modified(time).expect("it is ours");
            root.folder("tmp", 0o1777).expect("/tmp is writable");
            root.write(&json!({"User": "1:1"}), "example.test/it:7", archive)
                .expect("tar is in every Debian");
        }
        let [one, other] = archives
            .each_ref()
            .map(|archive| fs::read(archive).expect("just written"));
        assert!(one == other, "the same files gave other bytes");
        let archive = archives
            .first()
            .expect("there are two")
            .to_string_lossy()
            .into_owned();
        let index = step::ask(
            "tar",
            &["--extract", "--to-stdout", "--file", &archive, "./index.json"],
        );
        let index: Value = serde_json::from_str(&index.expect("there is an index")).expect("it is JSON");
        let annotations = index
            .pointer("/manifests/0/annotations")
            .expect("the manifest has a name");
        assert_eq!(
            annotations,
            &json!({"org.opencontainers.image.ref.name": "7", "io.containerd.image.name": "example.test/it:7"})
        );
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}

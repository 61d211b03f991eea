//! The cluster's certificate authority, its identities, and kubeconfigs. They are good for two days.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xtask::cluster_paths::ClusterPaths;

use super::addresses::{self, CONTROL_PLANE, KUBERNETES_SERVICE};
use super::providers;
use crate::step::Outcome;

const DAYS: &str = "2";

/// Makes all keys, certificates and kubeconfigs of a cluster with that many nodes.
pub(crate) fn make(paths: &ClusterPaths, nodes: u8) -> Outcome {
    let pki = Pki::new(paths.pki())?;
    pki.authority("ca", "/CN=weir-cluster")?;
    let apiserver = format!(
        "IP:{CONTROL_PLANE},IP:127.0.0.1,IP:{KUBERNETES_SERVICE},DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,\
         DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
    );
    pki.certificate("ca", "apiserver", "/CN=kube-apiserver", Some(&apiserver))?;
    let masters = "/O=system:masters/CN=";
    pki.certificate(
        "ca",
        "apiserver-kubelet-client",
        &format!("{masters}apiserver-kubelet-client"),
        None,
    )?;
    pki.client("admin", &format!("{masters}admin"), None)?;
    for component in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        pki.client(component, &format!("/CN=system:{component}"), None)?;
    }
    for number in 1..=nodes {
        let node = addresses::node_name(number);
        let names = format!("DNS:{node},IP:{}", addresses::node_address(number));
        pki.client(
            &node,
            &format!("/O=system:nodes/CN=system:node:{node}"),
            Some(&names),
        )?;
    }
    pki.key_pair("service-accounts")?;
    pki.authority("provider-ca", "/CN=Mock provider root")?;
    pki.certificate(
        "provider-ca",
        "provider",
        "/CN=mock-provider",
        Some(&providers::alternative_names()),
    )
}

/// A folder with keys and certificates.
struct Pki {
    folder: PathBuf,
}

impl Pki {
    fn new(folder: PathBuf) -> Outcome<Self> {
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { folder })
    }

    fn openssl(&self, arguments: &[&str]) -> Outcome {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot run openssl: {error}"))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(format!(
                "openssl {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            ))
        }
    }

    /// A root, NAME.crt and NAME.key.
    fn authority(&self, name: &str, subject: &str) -> Outcome {
        self.request(
            name,
            subject,
            &[
                "basicConstraints=critical,CA:TRUE",
                "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
            ],
            &[],
        )
    }

    /// A certificate that `authority` signs, NAME.crt and NAME.key.
    fn certificate(&self, authority: &str, name: &str, subject: &str, names: Option<&str>) -> Outcome {
        let names = names.map(|names| format!("subjectAltName={names}"));
        let mut extensions = vec![
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature,keyEncipherment",
            "extendedKeyUsage=serverAuth,clientAuth",
        ];
        extensions.extend(names.as_deref());
        let (certificate, key) = (format!("{authority}.crt"), format!("{authority}.key"));
        self.request(name, subject, &extensions, &["-CA", &certificate, "-CAkey", &key])
    }

    fn request(&self, name: &str, subject: &str, extensions: &[&str], more: &[&str]) -> Outcome {
        // A file of our own: Debian's default would add what it thinks that every certificate wants.
        let configuration = format!(
            "[req]\ndistinguished_name = none\nx509_extensions = extensions\n[none]\n[extensions]\n\
             subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n{}\n",
            extensions.join("\n")
        );
        let (file, certificate, key) = (
            format!("{name}.cnf"),
            format!("{name}.crt"),
            format!("{name}.key"),
        );
        write(&self.folder.join(&file), &configuration)?;
        let mut arguments = vec!["req", "-x509", "-config", &file, "-newkey", "ec"];
        arguments.extend(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]);
        arguments.extend([
            "-days",
            DAYS,
            "-subj",
            subject,
            "-keyout",
            &key,
            "-out",
            &certificate,
        ]);
        arguments.extend(more);
        self.openssl(&arguments)
    }

    /// A certificate with a kubeconfig of the same name.
    fn client(&self, name: &str, subject: &str, names: Option<&str>) -> Outcome {
        self.certificate("ca", name, subject, names)?;
        // Its paths are relative to itself: nodes see this folder under another name.
        let text = format!(
            "apiVersion: v1
kind: Config
clusters: [{{name: weir, cluster: {{server: \"https://{CONTROL_PLANE}:6443\", certificate-authority: ca.crt}}}}]
users: [{{name: {name}, user: {{client-certificate: {name}.crt, client-key: {name}.key}}}}]
contexts: [{{name: {name}, context: {{cluster: weir, user: {name}}}}}]
current-context: {name}
"
        );
        write(&self.folder.join(format!("{name}.kubeconfig")), &text)
    }

    /// NAME.key and NAME.pub.
    fn key_pair(&self, name: &str) -> Outcome {
        let (key, public) = (format!("{name}.key"), format!("{name}.pub"));
        self.openssl(&[
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            &key,
        ])?;
        self.openssl(&["ec", "-in", &key, "-pubout", "-out", &public])
    }
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

//! The commands that the pages of `docs/` name as they speak, and what they show as typed at a prompt. A test runs each; what stands in blocks of
//! ```` ```sh ```` is run by [`crate::cluster::Document`].

use std::collections::BTreeMap;

/// How a command is shown to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Run on a machine: `tests/tests/pages.rs`.
    Machine,
    /// Run in the suite's cluster: `tests/tests/kubernetes/pages.rs`.
    Cluster,
    /// Run by this file of the repository.
    By(&'static str),
    /// A name, with nothing to run as it stands.
    Name,
}

/// All of them, in the order in which they can be run.
pub const COMMANDS: &[(&str, Shown)] = &[
    ("mount -t cgroup2 none /sys/fs/cgroup/unified", Shown::Machine),
    ("apt install ca-certificates", Shown::Machine),
    ("sudo weir doctor", Shown::Machine),
    ("weir doctor", Shown::Machine),
    ("weir run --help", Shown::Machine),
    ("weir run -- env", Shown::Machine),
    ("weir run -f openai.yaml -- python3 app.py", Shown::Machine),
    (
        "sudo --preserve-env=OPENAI_API_KEY weir run -f openai.yaml --access-log calls.json --metrics 127.0.0.1:9464 -- python3 app.py",
        Shown::Machine,
    ),
    (
        "weir run -f weir.yaml -- env NO_PROXY=api.openai.com …",
        Shown::Machine,
    ),
    ("sudo --preserve-env=OPENAI_API_KEY weir run …", Shown::Machine),
    ("sudo --preserve-env=NAME weir run …", Shown::Machine),
    (r#"sudo env "PATH=$PATH" weir run …"#, Shown::Machine),
    (
        "keytool -importcert -noprompt -keystore STORE -storepass changeit -alias weir -file /var/lib/weir/root.pem",
        Shown::Machine,
    ),
    (
        "kubectl label namespace weir-system pod-security.kubernetes.io/enforce=privileged",
        Shown::Cluster,
    ),
    ("kubectl -n weir-system get pods,events", Shown::Cluster),
    (
        "kubectl get namespace NS -o jsonpath='{.metadata.labels}'",
        Shown::Cluster,
    ),
    (
        "kubectl -n NS get pod POD -o jsonpath='{.metadata.annotations}'",
        Shown::Cluster,
    ),
    (
        "kubectl -n NS get pod POD -o jsonpath='{.spec.hostNetwork}'",
        Shown::Cluster,
    ),
    ("kubectl get aibackends --all-namespaces", Shown::Cluster),
    ("kubectl get aibackends", Shown::Cluster),
    ("kubectl get aipolicies", Shown::Cluster),
    ("kubectl describe aibackend NAME -n NS", Shown::Cluster),
    ("kubectl -n NS exec POD -- env", Shown::Cluster),
    ("helm history weir -n weir-system", Shown::Cluster),
    (
        "weir explain pod NAMESPACE/NAME",
        Shown::By("tests/tests/kubernetes/observe.rs"),
    ),
    (
        "weir explain pod NS/POD",
        Shown::By("tests/tests/kubernetes/observe.rs"),
    ),
    (
        "cargo xtask image",
        Shown::By("tests/tests/kubernetes_failure/release.rs"),
    ),
    (
        "cargo xtask codegen",
        Shown::By("controller/api/tests/codegen.rs"),
    ),
    (
        "kubectl create … --dry-run=client -o yaml",
        Shown::By("tests/tests/crds.rs"),
    ),
    ("kubectl get … -o yaml", Shown::By("tests/tests/crds.rs")),
    ("env -i", Shown::Name),
    ("helm test", Shown::Name),
    ("helm uninstall", Shown::Name),
    ("helm uninstall weir", Shown::Name),
    ("kill -9", Shown::Name),
    ("kubectl delete node", Shown::Name),
    ("kubectl delete pod", Shown::Name),
    ("kubectl describe", Shown::Name),
    ("kubectl explain", Shown::Name),
    ("kubectl rollout restart", Shown::Name),
    ("sudo --preserve-env=NAME", Shown::Name),
    ("unshare --net", Shown::Name),
    ("weir agent", Shown::Name),
    ("weir await-capture", Shown::Name),
    ("weir run", Shown::Name),
    ("weir run -f", Shown::Name),
];

/// What a command begins with.
const PROGRAMS: &[&str] = &[
    "apt",
    "apt-get",
    "bpftool",
    "busybox",
    "cargo",
    "cat",
    "chmod",
    "crane",
    "ctr",
    "curl",
    "docker",
    "env",
    "helm",
    "ip",
    "keytool",
    "kill",
    "kubectl",
    "mount",
    "openssl",
    "skopeo",
    "sudo",
    "systemctl",
    "unshare",
    "weir",
];

/// What the pages name, each with one of its pages. For contributors alone, and so not among them: benchmarks.md.
///
/// # Panics
/// If a page can't be read.
pub fn named() -> BTreeMap<String, String> {
    let folder = xtask::cache::clone_root().join("docs");
    let pages = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found = BTreeMap::new();
    for page in pages {
        let path = page.expect("a folder that was opened").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name == "benchmarks.md" {
            continue;
        }
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        found.extend(commands(&text).into_iter().map(|command| (command, name.clone())));
    }
    found
}

fn commands(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.extend(line.strip_prefix("$ ").map(str::to_owned));
        } else {
            // Every other piece stands between backquotes.
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.filter(|span| is_command(span)).map(str::to_owned));
        }
    }
    found
}

fn is_command(span: &str) -> bool {
    span.split_once(' ')
        .is_some_and(|(program, _)| PROGRAMS.contains(&program))
}

#[cfg(test)]
mod tests {
    #[test]
    fn spans_and_prompts_are_commands() {
        let page = "Run `kubectl get pods`, not `kubectl` or `a thing`.\n```\n$ weir doctor\nok\n```\n";
        assert_eq!(super::commands(page), ["kubectl get pods", "weir doctor"]);
    }
}

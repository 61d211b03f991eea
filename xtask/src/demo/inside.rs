//! The demo in its private network.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use xtask::cache;

use crate::step::{self, Outcome};

const APP: &str = include_str!("app.py");
const COMMANDS: &str = include_str!("commands.sh");
const CONFIGURATION: &str = include_str!("weir.yaml");
const KEY: &str = "sk-only-weir-has-this-key";
const HOSTS: &str =
    "127.0.0.1 localhost\n::1 localhost\n203.0.113.20 api.openai.com\n203.0.113.10 mock-provider.example\n";

/// A folder that goes when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("weir-demo-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, content: &str) -> Outcome<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The mock provider, ended with the demo.
struct Provider(Child);

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the programs under the real `weir run` and prints what they and it print.
pub(super) fn show(programs: &Path) -> Outcome {
    let folder = Folder::new()?;
    network(&folder)?;
    let provider = provider(programs, &folder)?;
    for (name, more) in [
        ("question.json", ""),
        ("question-stream.json", r#", "stream": true"#),
    ] {
        let messages = r#"[{"role": "user", "content": "What does a weir do?"}]"#;
        folder.write(
            name,
            &format!(r#"{{"model": "gpt-4o-mini", "messages": {messages}{more}}}"#),
        )?;
    }
    folder.write("app.py", APP)?;
    folder.write("commands.sh", COMMANDS)?;
    let authority = fs::read_to_string(folder.0.join("ca.crt")).map_err(|error| error.to_string())?;
    let indented: String = authority.lines().map(|line| format!("    {line}\n")).collect();
    let map = format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: mock-ca}}\ndata:\n  ca.crt: |\n{indented}"
    );
    folder.write("weir.yaml", &format!("{CONFIGURATION}{map}"))?;

    step::say("app.py, a program as OpenAI's SDK has it: no key in it, and nothing of Weir");
    quote(APP);
    step::say("weir.yaml: which key goes to which provider (and, not shown, the mock provider's own CA)");
    quote(CONFIGURATION);
    step::say("weir run -f weir.yaml -- sh commands.sh");
    let status = weir(programs, &folder)?
        .status()
        .map_err(|error| format!("cannot start weir: {error}"))?;
    drop(provider);
    if !status.success() {
        return Err(format!("weir run: {status}"));
    }
    let (requests, with_key) = requests(&folder)?;
    step::say(&format!(
        "the provider got {requests} requests, {with_key} of them with the key that only weir.yaml holds"
    ));
    if requests == 0 || requests != with_key {
        Err("the key did not arrive".to_owned())
    } else {
        Ok(())
    }
}

fn weir(programs: &Path, folder: &Folder) -> Outcome<Command> {
    let python = cache::python().map_err(|error| error.to_string())?;
    let path = std::env::var("PATH").unwrap_or_default();
    let mut weir = Command::new(programs.join("weir"));
    weir.current_dir(&folder.0);
    weir.args(["run", "-f", "weir.yaml", "--state-dir"])
        .arg(folder.0.join("state"));
    weir.args(["--", "sh", "commands.sh"])
        .env("PATH", format!("{}:{path}", python.join("bin").display()));
    // Under sudo too the programs run as root: their Python is in root's cache.
    weir.env_remove("SUDO_UID");
    // Whatever keys this shell has: the programs shall have none. The user's own home holds nothing for them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().to_ascii_uppercase().contains("KEY") {
            weir.env_remove(name);
        }
    }
    Ok(weir)
}

fn network(folder: &Folder) -> Outcome {
    let script = "link set lo up\naddress add 203.0.113.10/32 dev lo\naddress add 203.0.113.20/32 dev lo\n";
    let script = folder.write("network", script)?;
    step::run(Command::new("ip").arg("-batch").arg(script))?;
    let hosts = folder.write("hosts", HOSTS)?;
    step::run(Command::new("mount").arg("--bind").arg(hosts).arg("/etc/hosts"))
}

fn provider(programs: &Path, folder: &Folder) -> Outcome<Provider> {
    let mut command = Command::new(programs.join("weir-mock-provider"));
    command.args([
        "--tls",
        "203.0.113.10:443",
        "--name",
        "mock-provider.example",
        "--key",
        KEY,
    ]);
    command
        .arg("--authority")
        .arg(folder.0.join("ca.crt"))
        .arg("--record")
        .arg(folder.0.join("requests"));
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start the mock provider: {error}"))?;
    let output = child.stdout.take().ok_or("the mock provider has no output")?;
    let provider = Provider(child);
    let mut line = String::new();
    BufReader::new(output)
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    if line.trim() == "ready" {
        Ok(provider)
    } else {
        Err("the mock provider did not start; what it said is above".to_owned())
    }
}

/// How many requests the provider recorded, and how many carried the key.
fn requests(folder: &Folder) -> Outcome<(usize, usize)> {
    let records = fs::read_to_string(folder.0.join("requests")).map_err(|error| error.to_string())?;
    let key = format!("Bearer {KEY}");
    Ok((
        records.lines().count(),
        records.lines().filter(|line| line.contains(&key)).count(),
    ))
}

fn quote(text: &str) {
    let mut error_output = std::io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(error_output, "    {line}");
    }
}

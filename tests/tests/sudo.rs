//! `sudo weir run` as its users have it: the real sudo, called by an unprivileged user of the test's own.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use serde_json::json;
use weir_tests::world::wait::PATIENCE;
use weir_tests::world::{World, binaries, configuration, leftovers, log, namespace};

const NAME: &str = "weir-ada";
const UID: u32 = 64_242;
const GID: u32 = 64_243;
/// A group that she is in beside her own.
const WEAVERS: u32 = 64_244;

const ASK: &str = r#"curl -sS --max-time 60 -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}' https://api.openai.com/v1/chat/completions"#;

/// Somebody without privileges who may call sudo, in the world's mount namespace only.
struct Caller<'world> {
    world: &'world World,
    home: PathBuf,
}

impl<'world> Caller<'world> {
    /// `defaults` is a line of sudoers(5).
    fn new(world: &'world World, defaults: &str) -> Self {
        let home = world.path("home");
        std::fs::create_dir(&home).unwrap();
        chown(&home, Some(UID), Some(GID)).unwrap();
        // Her home is in it, and Weir's certificates, which her programs read.
        std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
        let user = format!("{NAME}:x:{UID}:{GID}::{}:/bin/sh\n", home.display());
        extend(world, "/etc/passwd", &user);
        extend(
            world,
            "/etc/group",
            &format!("{NAME}:x:{GID}:\nweavers:x:{WEAVERS}:{NAME}\n"),
        );
        // Without an entry here PAM takes her account for expired.
        extend(world, "/etc/shadow", &format!("{NAME}:*:19000:0:99999:7:::\n"));
        sudoers(&format!("{defaults}\n{NAME} ALL=(root) NOPASSWD: ALL\n"));
        Self { world, home }
    }

    /// `sudo weir run … -- sh SCRIPT`, as the caller.
    fn sudo_weir(&self, script: &Path) -> Command {
        let world = self.world;
        let configuration = world.write("weir.yaml", configuration::standard(world));
        let mut command = world.outside("sh");
        command
            .env("USER", NAME)
            .env("HOME", &self.home)
            .current_dir(&self.home)
            // In the world's cgroup, all of it ends with the world, and what is left there is seen.
            .args(["-c", r#"echo $$ >"$0" && exec "$@""#])
            .arg(world.control_group().path().join("cgroup.procs"))
            .arg("setpriv")
            .arg(format!("--reuid={UID}"))
            .arg(format!("--regid={GID}"))
            .args(["--init-groups", "--", "sudo"])
            .arg(binaries::built("weir"))
            .args(["run", "-f"])
            .arg(configuration)
            .arg("--state-dir")
            .arg(world.path("state"))
            .arg("--access-log")
            .arg(world.path("access.log"))
            .args(["--", "sh"])
            .arg(script);
        command
    }
}

/// Shows a file of the system with more lines at its end.
fn extend(world: &World, file: &str, lines: &str) {
    let before = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let store = world.path(&file.replace('/', "-"));
    namespace::replace_file(file, &format!("{before}{lines}"), &store);
}

/// Shows a directory of rules of the test's own. Which rules the machine has must not matter, and none of them may change.
fn sudoers(rules: &str) {
    const DIRECTORY: &str = "/etc/sudoers.d";
    mount(
        Some("tmpfs"),
        DIRECTORY,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )
    .unwrap_or_else(|error| {
        panic!("cannot mount over {DIRECTORY}: {error}. Debian's package is sudo; `cargo xtask setup` installs it")
    });
    let file = Path::new(DIRECTORY).join("weir-tests");
    std::fs::write(&file, rules).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).unwrap();
}

#[test]
fn the_command_runs_as_who_called_sudo() {
    let world = World::new();
    let caller = Caller::new(&world, "");
    let script =
        format!("id -u; id -g; id -G; echo $HOME $USER $LOGNAME $SHELL; touch ~/made; {ASK} >/dev/null");
    let script = world.write("script", script);
    let output = caller.sudo_weir(&script).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let home = caller.home.display();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{UID}\n{GID}\n{GID} {WEAVERS}\n{home} {NAME} {NAME} /bin/sh\n"),
        "{stderr}"
    );
    let made = std::fs::metadata(caller.home.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (UID, GID));
    let exchanges = log::read(&world.path("access.log"));
    let [exchange] = exchanges.as_slice() else {
        panic!("one exchange expected: {exchanges:?}\n{stderr}")
    };
    exchange.assert(&json!({"k8s.service_account.name": NAME, "http.response.status_code": 200}));
    leftovers::assert_nothing(world.control_group());
}

/// Says of each interrupt who sent it. Waits for signals, where a handler or a shell's trap could miss one that comes just before it reads on.
const COUNTER: &str = "
from signal import SIG_BLOCK, SIGINT, SIGQUIT, pthread_sigmask, sigwaitinfo
pthread_sigmask(SIG_BLOCK, {SIGINT, SIGQUIT})
print('ready.', flush=True)
count = 0
while (signal := sigwaitinfo({SIGINT, SIGQUIT})).si_signo == SIGINT:
    count += 1
    sender = f'process {signal.si_pid}' if signal.si_code <= 0 else 'the terminal'
    print(f'interrupt {count} from {sender}.', flush=True)
print(f'{count} in all.', flush=True)
raise SystemExit(7)
";

/// Presses Ctrl-C at a terminal, again and again, then Ctrl-\. Two signals that come at once are one to whoever gets them: only of many
/// that come twice are some sure to be counted twice.
fn ctrl_c(defaults: &str) {
    const PRESSED: usize = 50;
    let world = World::new();
    let caller = Caller::new(&world, defaults);
    let counter = world.write("counter.py", COUNTER);
    let script = format!("{ASK} >/dev/null\nexec python3 {}\n", counter.display());
    let script = world.write("script", script);
    let line = shell_line(&caller.sudo_weir(&script));
    // script(1) is the terminal: what it reads is typed. It is ended if nothing comes any more, and its output with it.
    let mut terminal = world
        .outside("timeout")
        .arg(PATIENCE.as_secs().to_string())
        .args(["script", "-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = terminal.stdin.take().unwrap();
    let mut screen = BufReader::new(terminal.stdout.take().unwrap());
    let mut shown = String::new();
    let mut until = |wanted: &str| {
        while !shown.contains(wanted) {
            let read = screen.read_line(&mut shown).unwrap();
            assert!(read > 0, "it ended without {wanted}:\n{shown}");
        }
        shown.clone()
    };
    until("ready.");
    for number in 1..=PRESSED {
        keyboard.write_all(b"\x03").unwrap();
        until(&format!("interrupt {number} from the terminal."));
    }
    keyboard.write_all(b"\x1c").unwrap();
    until(&format!("{PRESSED} in all."));
    let all = until("gpt-4o-mini");
    let status = terminal.wait().unwrap();
    assert_eq!(status.code(), Some(7), "{all}");
    leftovers::assert_nothing(world.control_group());
}

/// A command as a shell takes it, with no shell left in between: Ctrl-C would reach that one too. No word of it has a single quote.
fn shell_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.fold("exec".to_owned(), |line, word| {
        format!("{line} '{}'", word.to_str().unwrap())
    })
}

/// As Debian has it: sudo gives the command a terminal of its own and passes on what is typed.
#[test]
fn ctrl_c_reaches_the_command_once_through_sudos_own_terminal() {
    ctrl_c("Defaults use_pty");
}

/// As older versions have it: the kernel sends the signal to sudo, Weir and the command alike.
#[test]
fn ctrl_c_reaches_the_command_once_at_the_callers_terminal() {
    ctrl_c("Defaults !use_pty");
}

//! What `weir run` is to its user: exit status, signals, terminal, table, logs, metrics, and nothing left behind.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;
use weir_tests::world::leftovers::KernelObjects;
use weir_tests::world::run::METRICS;
use weir_tests::world::wait::PATIENCE;
use weir_tests::world::{KEY, World, cgroup, leftovers};

const ASK: &str = r#"curl -sS --max-time 60 -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}' https://api.openai.com/v1/chat/completions"#;

#[test]
fn the_commands_exit_status_is_weirs() {
    let world = World::new();
    for code in [0, 1, 42, 255] {
        world
            .weir()
            .run(&["sh", "-c", &format!("exit {code}")])
            .assert_exit(code);
    }
    let finished = world.weir().run(&["no-such-program"]).assert_exit(127);
    assert!(finished.stderr.contains("no-such-program"), "{}", finished.stderr);
    let plain = world.write("not-executable", "");
    let finished = world.weir().run(&[plain.to_str().unwrap()]).assert_exit(126);
    assert!(finished.stderr.contains("permission"), "{}", finished.stderr);
    world
        .weir()
        .option("--no-such-option")
        .run(&["true"])
        .assert_exit(125);
}

#[test]
fn a_command_that_a_signal_kills_ends_with_128_and_its_number() {
    let world = World::new();
    world
        .weir()
        .run(&["sh", "-c", "kill -TERM $$"])
        .assert_exit(128 + 15);
    world
        .weir()
        .run(&["sh", "-c", "kill -KILL $$"])
        .assert_exit(128 + 9);
}

#[test]
fn signals_reach_the_command() {
    let world = World::new();
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
    ] {
        let script = format!("sleep 600 & trap 'echo got {name}; kill $!; exit 7' {name}; echo ready; wait");
        let mut running = world.weir().spawn(&["bash", "-c", &script]);
        running.wait_for_stdout("ready");
        running.signal(signal);
        running.wait_for_stdout(&format!("got {name}"));
        running.wait().assert_exit(7);
    }
}

/// Looks again and again, for what nothing announces.
fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "never {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_command_starts_with_no_signal_blocked() {
    let world = World::new();
    let finished = world
        .weir()
        .run(&["grep", "SigBlk", "/proc/self/status"])
        .assert_exit(0);
    assert_eq!(finished.stdout, "SigBlk:\t0000000000000000\n");
}

#[test]
fn a_signal_ends_weir_while_it_waits_to_start() {
    let world = World::new();
    world.weir().run(&["true"]).assert_exit(0);
    let lock = File::open(world.path("state/lock")).unwrap();
    lock.lock().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut running = world.weir().spawn(&["true"]);
        let process = format!(" {} ", running.process());
        // proc_locks(5): an arrow stands before who waits.
        wait_until("does Weir wait for the lock", || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks
                .lines()
                .any(|line| line.contains("->") && line.contains(&process))
        });
        running.signal(signal);
        assert_eq!(running.wait().status.signal(), Some(signal as i32));
    }
    drop(lock);
    world.weir().run(&["true"]).assert_exit(0);
}

#[test]
fn a_signal_ends_weir_while_it_waits_for_the_access_logs_reader() {
    let world = World::new();
    let path = world.path("log.fifo");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut log = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(&path)
        .unwrap();
    while log.write(&[b'\n'; 4096]).is_ok() {} // full
    let mut weir = world
        .outside(weir_tests::world::binaries::built("weir"))
        .arg("run")
        .arg("--state-dir")
        .arg(world.path("state"))
        .arg("--access-log")
        .arg(&path)
        .args(["--", "sh", "-c", &format!("{ASK}; ls /run/weir/runs >runs")])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Removing the run's record is the last that it does before it writes out the log.
    let runs = world.path("runs");
    wait_until("does the command end", || {
        std::fs::read_to_string(&runs).is_ok_and(|runs| runs.contains("weir-run-"))
    });
    wait_until("does the run end", || {
        let mut records = std::fs::read_dir("/run/weir/runs").unwrap().flatten();
        records.all(|entry| entry.file_name() == ".lock")
    });
    assert_eq!(weir.try_wait().unwrap(), None, "it waits for the log's reader");
    let process = Pid::from_raw(weir.id().try_into().unwrap());
    nix::sys::signal::kill(process, Signal::SIGTERM).unwrap();
    let mut status = None;
    let deadline = Instant::now() + PATIENCE;
    while status.is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
        status = weir.try_wait().unwrap();
    }
    let _ = weir.kill();
    assert_eq!(
        status.and_then(|status| status.signal()),
        Some(Signal::SIGTERM as i32)
    );
}

#[test]
fn standard_input_and_output_are_the_commands_own() {
    let world = World::new();
    let mut running = world.weir().spawn(&["cat"]);
    running.write_line("through and through");
    running.wait_for_stdout("through and through");
    let finished = running.finish().assert_exit(0);
    assert_eq!(finished.stdout, "through and through\n");
}

#[test]
fn a_terminal_is_the_commands_own() {
    let world = World::new();
    // script(1) gives Weir a terminal; the command must be in its foreground, or reading from it would stop it.
    let weir = weir_tests::world::binaries::built("weir");
    let line = format!(
        "{} run --state-dir {} -- sh -c 'test -t 0 && test -t 1 && read word </dev/tty && echo \"read $word\"'",
        weir.display(),
        world.path("state").display()
    );
    let mut child = world
        .outside("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"water\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("read water"), "{text}");
}

#[test]
fn the_programs_environment_holds_no_key() {
    let world = World::new();
    let finished = world.weir().run(&["env"]).assert_exit(0);
    assert!(!finished.stdout.contains(KEY), "{}", finished.stdout);
    for variable in [
        "SSL_CERT_FILE",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
    ] {
        assert!(
            finished.stdout.contains(&format!("\n{variable}=")) || finished.stdout.starts_with(variable),
            "{variable} in {}",
            finished.stdout
        );
    }
    // What the user has set stays.
    let finished = world
        .weir()
        .variable("OPENAI_API_KEY", "my-own")
        .run(&["sh", "-c", "echo $OPENAI_API_KEY"])
        .assert_exit(0);
    assert_eq!(finished.stdout, "my-own\n");
}

#[test]
fn a_placeholder_never_leaves() {
    let world = World::new();
    let finished = world
        .weir()
        .run(&[
            "sh",
            "-c",
            &format!("{ASK} -H \"Authorization: Bearer $OPENAI_API_KEY\""),
        ])
        .assert_exit(0);
    finished
        .only_exchange()
        .assert(&json!({"http.response.status_code": 200}));
    let record = world.provider().all().pop().unwrap();
    let carried: Vec<_> = record
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        .collect();
    assert_eq!(carried.len(), 1);
    assert_eq!(
        record.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
}

#[test]
fn the_private_key_of_the_local_root_is_its_owners_only() {
    let world = World::new();
    world.weir().run(&["true"]).assert_exit(0);
    let mut secret = 0;
    for entry in std::fs::read_dir(world.path("state")).unwrap().flatten() {
        let content = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if content.contains("PRIVATE KEY") {
            secret += 1;
            assert_eq!(
                entry.metadata().unwrap().permissions().mode() & 0o077,
                0,
                "{}",
                entry.path().display()
            );
        }
    }
    assert_eq!(secret, 1);
}

#[test]
fn metrics_are_served_while_it_runs() {
    let world = World::new();
    let mut running = world.weir().metrics().spawn(&["sh"]);
    running.write_line(ASK);
    running.wait_for_exchanges(1);
    let metrics = running.scrape();
    for wanted in [
        "weir_tokens_total{",
        "weir_cost_usd_total",
        "weir_exchanges_total{",
        "weir_connections_total{",
        "weir_connections_active",
        "gen_ai_client_token_usage_bucket{",
        "gen_ai_client_operation_duration_seconds_bucket{",
    ] {
        assert!(metrics.contains(wanted), "no {wanted} at {METRICS}:\n{metrics}");
    }
    assert!(!metrics.contains(KEY));
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn the_access_log_holds_no_body_and_no_key() {
    let world = World::new();
    let finished = world.weir().run(&["sh", "-c", ASK]).assert_exit(0);
    let line = finished.only_exchange().to_string();
    assert!(
        !line.contains(KEY) && !line.contains("heard") && !line.contains("\"hi\""),
        "{line}"
    );
    for field in [
        "time",
        "weir.duration_s",
        "weir.time_to_first_chunk_s",
        "k8s.service_account.name",
    ] {
        assert!(line.contains(&format!("\"{field}\"")), "{field} in {line}");
    }
}

#[test]
fn zero_configuration_passes_the_callers_own_key_and_reports() {
    let world = World::new();
    let command = format!("{ASK} -H 'Authorization: Bearer {KEY}'");
    let finished = world.bare_weir().run(&["sh", "-c", &command]).assert_exit(0);
    finished.only_exchange().assert(&json!({
        "http.response.status_code": 200,
        "gen_ai.request.model": "gpt-4o-mini",
        "weir.usage": "read",
        "weir.outcome": "completed",
    }));
    let record = world.provider().all().pop().unwrap();
    assert_eq!(
        record.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(
        record.header("host").or(record.header(":authority")),
        Some("api.openai.com")
    );
}

#[test]
fn several_runs_stand_side_by_side() {
    let world = World::new();
    let mut first = world.weir().spawn(&["sh"]);
    let mut second = world.bare_weir().spawn(&["sh"]);
    first.write_line(ASK);
    second.write_line(&format!("{ASK} -H 'Authorization: Bearer {KEY}'"));
    first.wait_for_exchanges(1);
    second.wait_for_exchanges(1);
    second.write_line("exit 3");
    second.wait().assert_exit(3);
    first.write_line(ASK);
    first.wait_for_exchanges(2);
    first.finish().assert_exit(0);
}

#[test]
fn an_unprivileged_caller_is_told_what_is_missing() {
    let world = World::new();
    let weir = weir_tests::world::binaries::built("weir");
    let copy = world.path("weir");
    std::fs::copy(weir, &copy).unwrap();
    for directory in [world.path(""), copy.clone()] {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = world
        .outside("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--inh-caps=-all",
            "--bounding-set=-all",
            "--",
        ])
        .arg(&copy)
        .args(["run", "--state-dir", "/tmp/weir-nobody", "--", "true"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(
        text.contains("root") && text.lines().count() == 1,
        "one line that says what is missing: {text}"
    );
}

#[test]
fn killed_with_open_the_command_gets_sigterm_and_the_next_run_sweeps_up() {
    let world = World::new();
    let mut running = world.weir().spawn(&[
        "sh",
        "-c",
        "trap 'echo terminated >&2; exit 0' TERM; echo ready; while :; do sleep 1; done",
    ]);
    running.wait_for_stdout("ready");
    running.signal(Signal::SIGKILL);
    running.wait_for_stderr("terminated");
    running.wait();
    let left = leftovers::cgroups(world.control_group());
    assert!(left.len() <= 1, "at most an empty cgroup: {left:?}");
    for path in left {
        assert!(cgroup::wait_until_empty(&path), "{:?}", cgroup::processes(&path));
    }
    world.weir().run(&["true"]).assert_exit(0);
}

#[test]
fn what_runs_on_of_a_killed_run_is_told_of() {
    let world = World::new();
    let mut running = world.weir().spawn(&[
        "sh",
        "-c",
        "sleep 600 </dev/null >/dev/null 2>&1 & echo ready; wait",
    ]);
    running.wait_for_stdout("ready");
    running.signal(Signal::SIGKILL);
    running.wait();
    let left = leftovers::cgroups(world.control_group()).pop().unwrap();
    let mut next = world.weir().spawn(&["true"]);
    let finished = next.wait().assert_exit(0);
    let told = format!("still run, no longer captured; {}/cgroup.procs", left.display());
    assert!(finished.stderr.contains(&told), "{told} in {}", finished.stderr);
}

#[test]
fn cleaning_up_that_fails_costs_neither_the_exit_status_nor_the_table() {
    let world = World::new();
    // A folder where the run's record was: neither this run nor the next one's sweep can remove it as they remove files.
    let spoil = "for record in /run/weir/runs/weir-run-*; do rm $record && mkdir $record; done";
    let mut running = world
        .weir()
        .spawn(&["sh", "-c", &format!("{ASK}; {spoil}; exit 42")]);
    let finished = running.wait().assert_exit(42);
    let stderr = finished.stderr;
    assert!(
        stderr.contains("warning: this run leaves something behind"),
        "{stderr}"
    );
    assert!(stderr.contains("\ngpt-4o-mini"), "{stderr}");

    let mut next = world.weir().spawn(&["sh", "-c", "exit 7"]);
    let stderr = next.wait().assert_exit(7).stderr;
    assert!(
        stderr.contains("warning: what an earlier run left could not be removed"),
        "{stderr}"
    );
}

/// Sockets that listen in the world's network.
fn listeners() -> usize {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .map(|path| std::fs::read_to_string(path).unwrap());
    // proc_net_tcp(5): the fourth field is the state, 0A is LISTEN.
    tables
        .iter()
        .flat_map(|table| table.lines())
        .filter(|line| line.split_whitespace().nth(3) == Some("0A"))
        .count()
}

#[test]
fn nothing_is_left_in_the_kernel_however_it_ended() {
    let world = World::new();
    let before = listeners();
    for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
        let mut running = world.weir().spawn(&["cat"]);
        running.write_line("ready");
        running.wait_for_stdout("ready");
        let held = KernelObjects::held_by(running.process());
        assert!(!held.is_empty(), "Weir has programs in the kernel while it runs");
        assert!(listeners() > before);
        if let Some(signal) = signal {
            running.signal(signal);
        }
        running.wait();
        held.assert_gone();
        assert_eq!(listeners(), before);
    }
    world.weir().run(&["true"]).assert_exit(0);
}

/// The README's own file, with what it dials where it dials it.
#[test]
fn the_example_works_as_it_stands_and_its_key_stays_with_weir() {
    let world = World::new();
    let example = include_str!("../../examples/openai.yaml");
    let finished = world
        .bare_weir()
        .configuration(example)
        .variable("OPENAI_API_KEY", KEY)
        .run(&["sh", "-c", &format!("echo $OPENAI_API_KEY; {ASK}")])
        .assert_exit(0);
    assert!(!finished.stdout.contains(KEY), "{}", finished.stdout);
    assert!(
        finished.stdout.starts_with("weir-placeholder"),
        "{}",
        finished.stdout
    );
    assert!(
        finished.stdout.contains("The mock heard: hi"),
        "{}",
        finished.stdout
    );
    finished
        .only_exchange()
        .assert(&json!({"weir.outcome": "completed", "weir.usage": "read"}));
}

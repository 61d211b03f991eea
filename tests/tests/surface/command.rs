//! The command is the user's own: its exit status, standard streams and terminal.

use weir_tests::world::World;

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
fn standard_input_and_output_are_the_commands_own() {
    let world = World::new();
    let mut running = world.weir().spawn(&["cat"]);
    running.write_line("through and through");
    running.wait_for_stdout("through and through");
    let finished = running.finish().assert_exit(0);
    assert_eq!(finished.stdout, "through and through\n");
}

#[test]
fn the_limits_of_open_files_are_the_commands_own() {
    let world = World::new();
    let finished = world
        .weir()
        .open_files(300)
        .run(&["sh", "-c", "ulimit -Sn; ulimit -Hn"])
        .assert_exit(0);
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    assert_eq!(finished.stdout, format!("300\n{hard}\n"));
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

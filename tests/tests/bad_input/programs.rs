//! Bad input gets a clear error or a clean close, memory stays bounded, and nothing panics (the fixture looks for that in every run).

use serde_json::json;
use weir_tests::world::binaries::built;
use weir_tests::world::run::Running;
use weir_tests::world::{FREE, ORIGINAL, World, servers};

/// What one connection may cost at most, whatever it sends; buffers of TLS, HTTP and the socket are well below.
const BOUND: u64 = 32 << 20;

const CHAT: &str = "https://api.openai.com/v1/chat/completions";

fn probe() -> String {
    built("weir-probe").to_str().unwrap().to_owned()
}

/// Whether Weir still serves.
fn alive(running: &mut Running<'_>) {
    running.write_line("curl -sS -o /dev/null -w 'alive %{http_code}\\n' https://api.openai.com/v1/models");
    running.wait_for_stdout("alive 200");
}

/// Sends `input` (as printf(1) has it) to the address, and gives what the probe says in the end.
fn send(input: &str, address: &str, more: &str, end: &[&str]) {
    let world = World::new();
    let _reports = servers::start(FREE, 443, servers::sink);
    let mut running = world.weir().spawn(&["sh"]);
    running.write_line(&format!(
        "printf '{input}' | {} raw {address} {more}; echo done",
        probe()
    ));
    let output = running.wait_for_stdout("done\n");
    assert!(end.iter().any(|end| output.contains(end)), "{output}");
    alive(&mut running);
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn a_truncated_hello_is_passed_on_and_closed() {
    // The first bytes of a hello that announces 512, and no more.
    send(
        r"\026\003\001\002\000\001\000\001\374\003\003",
        &format!("{FREE}:443"),
        "--half-close",
        &["11 "],
    );
}

#[test]
fn a_hello_with_nonsense_inside_is_closed_or_relayed() {
    send(
        r"\026\003\001\000\006\001\000\000\002\377\377",
        &format!("{FREE}:443"),
        "--half-close",
        &["11 ", "[closed]"],
    );
}

#[test]
fn headers_without_end_are_refused() {
    let world = World::new();
    let mut running = world.weir().spawn(&["sh"]);
    alive(&mut running);
    let before = running.peak_resident_bytes();
    let head = "GET /v1/models HTTP/1.1\\r\\nHost: api.openai.com\\r\\n";
    running.write_line(&format!(
        "printf '{head}' | {} raw {ORIGINAL}:80 --repeat 'X-Again: and again\\r\\n'; echo done",
        probe()
    ));
    let output = running.wait_for_stdout("done\n");
    assert!(
        output.contains(" 431 ") || output.contains("sending ended"),
        "{output}"
    );
    // The kernel's own figure is an estimate, and may be a little less than it was.
    let grown = running.peak_resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes more");
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn a_body_of_32_mib_streams_in_bounded_memory() {
    let world = World::new();
    let mut running = world.weir().spawn(&["sh"]);
    alive(&mut running);
    let before = running.peak_resident_bytes();
    let prompt = "weir ".repeat((32 << 20) / 5);
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]}).to_string();
    let length = body.len() as u64;
    let file = world.write("body", body);
    for version in ["--http1.1", "--http2"] {
        running.write_line(&format!(
            "curl -sS {version} -o /dev/null -w 'large {version} %{{http_code}}\\n' --data-binary @{} {CHAT}",
            file.display()
        ));
        let output = running.wait_for_stdout(&format!("large {version} "));
        assert!(output.contains(&format!("large {version} ")), "{output}");
    }
    let records = world
        .provider()
        .wait_until(|all| all.iter().filter(|record| record.body_length == length).count() == 2);
    assert!(
        records.is_some(),
        "{:?}",
        world
            .provider()
            .all()
            .iter()
            .map(|r| r.body_length)
            .collect::<Vec<_>>()
    );
    // The kernel's own figure is an estimate, and may be a little less than it was.
    let grown = running.peak_resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes more");
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn broken_chunking_of_a_request_is_refused() {
    let head =
        r"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: chunked\r\n\r\n";
    send(
        &format!(r"{head}5\r\nhello\r\nnot a size\r\n"),
        &format!("{ORIGINAL}:80"),
        "",
        &["HTTP/1.1 400", "[closed]"],
    );
}

#[test]
fn two_lengths_that_contradict_are_refused() {
    let head = r"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello";
    send(head, &format!("{ORIGINAL}:80"), "", &["HTTP/1.1 400", "[closed]"]);
}

#[test]
fn a_stream_without_end_costs_no_memory() {
    let world = World::new();
    let mut running = world.weir().spawn(&["sh"]);
    alive(&mut running);
    let before = running.peak_resident_bytes();
    for model in ["mock-endless", "mock-gzip-endless"] {
        let body = json!({"model": model, "stream": true, "messages": []}).to_string();
        running.write_line(&format!(
            "curl -sSN -d '{body}' {CHAT} 2>/dev/null | head -c 100000000 | wc -c"
        ));
    }
    running.wait_for_stdout("100000000\n");
    running.wait_for_exchanges(2);
    // The kernel's own figure is an estimate, and may be a little less than it was.
    let grown = running.peak_resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes more");
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn an_answer_that_unpacks_to_much_costs_no_memory() {
    let world = World::new();
    let mut running = world.weir().spawn(&["sh"]);
    alive(&mut running);
    let before = running.peak_resident_bytes();
    let body = json!({"model": "mock-gzip-large-20000000", "messages": []}).to_string();
    running.write_line(&format!(
        "curl -sSf -o /dev/null -d '{body}' {CHAT}; echo unpacked"
    ));
    running.wait_for_stdout("unpacked");
    running.wait_for_exchanges(2);
    // The kernel's own figure is an estimate, and may be a little less than it was.
    let grown = running.peak_resident_bytes().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes more");
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn after_an_upgrade_bytes_pass_as_they_are_and_garbage_ends_cleanly() {
    let world = World::new();
    let mut running = world.weir().spawn(&["bash"]);
    let probe = probe();
    for (query, wanted) in [("", "water"), ("?garbage", "GARBAGE")] {
        let head = format!(
            r"GET /v1/realtime{query} HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        );
        running.write_line(&format!(
            r"{probe} raw {ORIGINAL}:80 < <(printf '{head}\377\376water') & client=$!"
        ));
        let output = running.wait_for_stdout(wanted);
        assert!(output.contains("HTTP/1.1 101 "), "{output}");
        running.write_line("kill $client");
    }
    running.wait_for_exchanges(2);
    alive(&mut running);
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn what_is_neither_tls_nor_http_is_relayed() {
    let world = World::new();
    let _reports = servers::start(FREE, 80, servers::echo);
    let mut running = world.weir().spawn(&["sh"]);
    running.write_line(&format!(
        "printf 'SSH-2.0-water\\r\\n' | {} raw {FREE}:80 --half-close",
        probe()
    ));
    running.wait_for_stdout("SSH-2.0-water");
    running.wait_for_stdout("[closed]");
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

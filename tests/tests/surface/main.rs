//! What `weir run` is to its user: exit status, signals, terminal, table, logs, metrics, and nothing left behind.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod command;
mod ending;
mod keys;
mod privileges;
mod reports;
mod signals;

use std::time::{Duration, Instant};

use weir_tests::world::wait::PATIENCE;

const ASK: &str = r#"curl -sS --max-time 60 -d '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}' https://api.openai.com/v1/chat/completions"#;

/// Looks again and again, for what nothing announces.
fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "never {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

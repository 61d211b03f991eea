//! Bad input gets a clear error or a clean close, memory stays bounded, and nothing panics (the fixture looks for that in every run).
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod answers;
mod crowds;
mod programs;
mod requests;

use weir_tests::captured::Dialer;
use weir_tests::captured::tls::{Greeting, TlsStream};
use weir_tests::captured::wire::Wire;
use weir_tests::world::World;

/// What providers' names resolve to.
const OPENAI: &str = "203.0.113.20:443";

/// The most that Weir's process may have had resident, whatever it was sent. A debug build at rest has some 30 MiB.
const MOST_RESIDENT: u64 = 160 << 20;

/// A connection to api.openai.com, terminated by Weir.
fn openai(world: &World, dialer: &Dialer<'_>) -> Wire<TlsStream> {
    Greeting::to("api.openai.com")
        .on(world, dialer.connect(OPENAI))
        .unwrap()
}

/// Ends a run that has been through much: it still serves, never held more than it may, and did not panic (finish looks for that).
fn finish(world: &World, dialer: Dialer<'_>, path: &str) {
    let mut wire = openai(world, &dialer);
    let request = format!("GET {path} HTTP/1.1\r\nHost: api.openai.com\r\nConnection: close\r\n\r\n");
    assert_eq!(wire.exchange(request).unwrap().head.status(), 200);
    drop(wire);
    let peak = dialer.running().peak_resident_bytes();
    assert!(peak < MOST_RESIDENT, "{peak} bytes resident");
    dialer.finish();
}

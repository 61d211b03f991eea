//! What the mock saw: one record a request, kept for assertions and written as JSON lines.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How far a body is kept; all of it is hashed and counted.
const KEPT_BODY: usize = 4 << 20;

/// How the answer to a request ended, as the mock saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Still being read or answered.
    Open,
    /// The whole answer was written.
    Completed,
    /// The client went away first; `sent` says how far the answer's body had come.
    ClientGone,
    /// The mock itself broke it off, because the model's name asked for it.
    BrokenOff,
}

/// One request as it arrived, and what became of its answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Counts from 0 in the order of arrival.
    pub id: usize,
    /// Which connection it came by, counted from 0.
    pub connection: usize,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The server name that the client's hello asked for.
    pub server_name: Option<String>,
    /// Where the connection came from.
    pub client: SocketAddr,
    /// The request's method.
    pub method: String,
    /// Path and query, as sent.
    pub path: String,
    /// Name and value in the order and (HTTP/1) the case received; in HTTP/2 the authority comes first, as `:authority`.
    pub headers: Vec<(String, String)>,
    /// Whether the body came chunked (HTTP/1).
    pub chunked: bool,
    /// Bytes of the body.
    pub body_length: u64,
    /// SHA-256 of the body in hexadecimal.
    pub body_sha256: String,
    /// The first 4 MiB of the body, in base64.
    pub body: String,
    /// Whether the client went away before its body was complete.
    pub body_cut: bool,
    /// The status answered; 0 while there is none.
    pub status: u16,
    /// Bytes of the answer's body written so far.
    pub sent: u64,
    /// How it ended.
    pub ending: Ending,
}

impl Record {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body's bytes, as far as they were kept.
    pub fn body_bytes(&self) -> Vec<u8> {
        base64::engine::general_purpose::STANDARD
            .decode(&self.body)
            .unwrap_or_default()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body_bytes()).unwrap_or_default()
    }
}

/// A body while it arrives: hashed, counted, and kept up to a limit.
#[derive(Default)]
pub struct BodyTally {
    hash: Sha256,
    /// Bytes so far.
    pub length: u64,
    /// What is kept of it.
    pub kept: Vec<u8>,
}

impl BodyTally {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        let room = KEPT_BODY.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// SHA-256 of what came so far, in hexadecimal.
    pub fn sha256(&self) -> String {
        hexadecimal(&self.hash.clone().finalize())
    }
}

/// Bytes as lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All records of one mock; clones share them.
#[derive(Clone, Default)]
pub struct Records {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: Vec<Record>,
    connections: usize,
    log: Option<std::fs::File>,
}

impl Records {
    /// Writes each record to `file` as a line of JSON once it has ended.
    pub fn log_to(&self, file: std::fs::File) {
        self.lock().log = Some(file);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn connection(&self) -> usize {
        let mut state = self.lock();
        state.connections += 1;
        self.shared.changed.notify_all();
        state.connections - 1
    }

    pub(crate) fn begin(&self, mut record: Record) -> usize {
        let mut state = self.lock();
        record.id = state.records.len();
        state.records.push(record);
        self.shared.changed.notify_all();
        state.records.len() - 1
    }

    pub(crate) fn update(&self, id: usize, change: impl FnOnce(&mut Record)) {
        let mut state = self.lock();
        if let Some(record) = state.records.get_mut(id) {
            change(record);
        }
        self.shared.changed.notify_all();
    }

    pub(crate) fn body(&self, id: usize, tally: &BodyTally, cut: bool) {
        self.update(id, |record| {
            record.body_length = tally.length;
            record.body_sha256 = tally.sha256();
            record.body = base64::engine::general_purpose::STANDARD.encode(&tally.kept);
            record.body_cut = cut;
        });
    }

    pub(crate) fn end(&self, id: usize, ending: Ending) {
        let mut state = self.lock();
        let State { records, log, .. } = &mut *state;
        if let Some(record) = records.get_mut(id)
            && record.ending == Ending::Open
        {
            record.ending = ending;
            if let (Some(file), Ok(line)) = (log, serde_json::to_string(record)) {
                // A full disk must not take the provider down in the middle of a test; the test misses the line then.
                let _ = writeln!(file, "{line}");
            }
        }
        self.shared.changed.notify_all();
    }

    /// All records so far.
    pub fn all(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// How many connections were accepted (for TLS: whose handshake was done).
    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    /// Waits until `wanted` holds of the records; `None` if it does not within a minute.
    pub fn wait_until(&self, wanted: impl Fn(&[Record]) -> bool) -> Option<Vec<Record>> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut state = self.lock();
        loop {
            if wanted(&state.records) {
                return Some(state.records.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .map(|(guard, _)| guard)
                .unwrap_or_else(|poisoned| poisoned.into_inner().0);
        }
    }
}

//! What a program prints, while it prints it.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use super::wait::PATIENCE;

/// What a pipe brought so far, read by a thread of its own.
pub(super) struct Stream {
    shared: Arc<(Mutex<Buffer>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    ended: bool,
}

impl Stream {
    pub(super) fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::new((Mutex::new(Buffer::default()), Condvar::new()));
        let writer = shared.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 16384];
            loop {
                let length = pipe.read(&mut piece).unwrap_or(0);
                let mut buffer = writer.0.lock().unwrap_or_else(PoisonError::into_inner);
                buffer
                    .bytes
                    .extend_from_slice(piece.get(..length).unwrap_or_default());
                buffer.ended = length == 0;
                writer.1.notify_all();
                if length == 0 {
                    break;
                }
            }
        });
        Self {
            shared,
            reader: Some(reader),
        }
    }

    pub(super) fn text(&self) -> String {
        let buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&buffer.bytes).into_owned()
    }

    pub(super) fn wait_for(&self, wanted: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let text = String::from_utf8_lossy(&buffer.bytes);
            if text.contains(wanted) {
                return Some(text.into_owned());
            }
            if buffer.ended {
                return None;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            buffer = self
                .shared
                .1
                .wait_timeout(buffer, left)
                .map(|(guard, _)| guard)
                .unwrap_or_else(|poisoned| poisoned.into_inner().0);
        }
    }

    /// All of it; a daemon that the command left behind may hold the pipe open, so its end is only awaited for a while.
    pub(super) fn finish(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !buffer.ended {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break;
            };
            buffer = self
                .shared
                .1
                .wait_timeout(buffer, left)
                .map(|(guard, _)| guard)
                .unwrap_or_else(|poisoned| poisoned.into_inner().0);
        }
        let ended = buffer.ended;
        let text = String::from_utf8_lossy(&buffer.bytes).into_owned();
        drop(buffer);
        if let (true, Some(reader)) = (ended, self.reader.take()) {
            let _ = reader.join();
        }
        text
    }
}

//! Bad input gets a clear error or a clean close, memory stays bounded, and nothing panics (the fixture looks for that in every run).
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod programs;

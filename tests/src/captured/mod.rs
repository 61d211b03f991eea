//! Captured connections under the test's own hand.
//!
//! A [`dialer::Dialer`] runs under `weir run` and dials for the test: the kernel captures its connect(2), and the connected socket comes
//! to the test over a Unix socket. What is then said on it, and when, the test decides byte by byte, as it does for the server at the
//! other end ([`provider`]): both sides wait for each other, and nothing has to be slept for.

pub mod configuration;
pub mod dialer;
pub mod http2;
pub mod provider;
pub mod signal;
pub mod tls;
pub mod wire;

pub use dialer::Dialer;
pub use signal::Signal;
pub use wire::{Message, Wire};

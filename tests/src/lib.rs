//! End-to-end fixtures and the mock provider.
//!
//! A test makes a [`world::World`]: network and mount namespaces of its own, provider addresses on its loopback device, names in its own
//! `/etc/hosts`, and a [`mock`] provider behind them. It then runs the real `weir run` in it, with real clients, and asserts what came out.

// A test that cannot set up its world has to stop there and say why: a panic is how libtest is told.
#![allow(clippy::unwrap_used)]

pub mod captured;
pub mod certificates;
pub mod cluster;
pub mod mock;
pub mod noise;
pub mod pages;
pub mod search;
pub mod world;

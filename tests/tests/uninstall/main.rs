//! The end of Weir in a cluster: what `docs/uninstall.md` says, block by block.
//!
//! It uninstalls the Weir of the suite's cluster, so it is a program of its own, which cargo runs after those that use it; at its end Weir is
//! installed again.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod document;
mod left;
mod release;

//! The end of Weir in a cluster, and its beginning: what `docs/uninstall.md` and `docs/install.md` say, block by block.
//!
//! Before it, as the last that is done with what all other tests have left: a search for keys that were told.
//!
//! It uninstalls the Weir of the suite's cluster, so it is a program of its own, which cargo runs after those that use it; at its end Weir is
//! installed again.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod install;
mod left;
mod release;
mod secrets;

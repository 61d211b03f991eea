//! The whole chain on a real cluster: Weir installed from the charts, a namespace labelled, applications unchanged.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod chain;
mod held;
mod let_go;
mod observe;
mod pages;
mod reach;

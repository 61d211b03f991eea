//! Capture on the real kernel: real programs, real cgroups, a network namespace for each test.
//!
//! Needs root. Clients are this very binary, started again inside the cgroup (see client.rs).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod agent;
mod agent_lost;
mod await_capture;
mod client;
mod command;
mod connects;
mod controller;
mod doctor;
mod explain;
mod handover;
mod left_alone;
mod load;
mod node;
mod pod;
mod provider;
mod quic;
mod runs;
mod scene;
mod support;

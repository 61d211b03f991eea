//! The controller as agents, pods and kubectl meet it: in a real cluster, installed from the chart, with a role that is really checked.
#![allow(clippy::unwrap_used)] // a test's failure is a panic

mod agent;
mod attempts;
mod chart;
mod chart_common;
mod given;
mod objects;
mod webhook;

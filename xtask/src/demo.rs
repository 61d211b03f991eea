//! `cargo xtask demo`.

use crate::step::Outcome;

#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(_arguments: &Arguments) -> Outcome {
    Ok(())
}

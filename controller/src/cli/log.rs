//! What the controller has to say, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable that says how much is told, as in `WEIR_LOG=debug`.
const VARIABLE: &str = "WEIR_LOG";

/// What is told where nothing else is asked for.
const DEFAULT: &str = "weir_controller=info";

/// Starts logging: a level for Weir's own lines, or directives as tracing-subscriber has them.
pub(super) fn start() {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let filter = filter(&wanted);
    let understood = filter.is_some();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new(DEFAULT)))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    if !understood {
        tracing::warn!("{VARIABLE}={wanted} is no level: use error, warn, info, debug or trace");
    }
}

fn filter(wanted: &str) -> Option<EnvFilter> {
    match wanted {
        "" => Some(EnvFilter::new(DEFAULT)),
        directives if directives.contains('=') => EnvFilter::try_new(directives).ok(),
        level => level
            .parse::<LevelFilter>()
            .ok()
            .map(|level| EnvFilter::new(format!("weir_controller={level}"))),
    }
}

//! What Weir itself has to say: a line each on stderr, between the lines of the command that it runs.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

/// The variable that says how much is told, as in `WEIR_LOG=debug`.
const VARIABLE: &str = "WEIR_LOG";

/// Starts logging: a level for Weir's own lines (a library's mean nothing to users), or directives as tracing-subscriber has them.
pub(super) fn start() {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let filter = filter(&wanted);
    let understood = filter.is_some();
    // An error means that logging has been started before, which is just as well.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|| EnvFilter::new("weir_agent=info")))
        .with_writer(std::io::stderr)
        .event_format(Line)
        .try_init();
    if !understood {
        tracing::warn!("{VARIABLE}={wanted} is no level: use error, warn, info, debug or trace");
    }
}

fn filter(wanted: &str) -> Option<EnvFilter> {
    match wanted {
        "" => Some(EnvFilter::new("weir_agent=info")),
        directives if directives.contains('=') => EnvFilter::try_new(directives).ok(),
        level => level
            .parse::<LevelFilter>()
            .ok()
            .map(|level| EnvFilter::new(format!("weir_agent={level}"))),
    }
}

/// `weir: warning: what happened (host=api.openai.com)`.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        write!(writer, "weir: {level}{}", fields.message)?;
        if !fields.others.is_empty() {
            write!(writer, " ({})", fields.others.join(", "))?;
        }
        writeln!(writer)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.others.push(format!("{name}={value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.others.push(format!("{name}={value}")),
        }
    }
}

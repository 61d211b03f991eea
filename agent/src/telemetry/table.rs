//! The table that `weir run` prints at its end.

use std::collections::HashMap;

use parking_lot::Mutex;
use weir_ai::UsageReading;

use super::connections::Summary;
use super::record::{ExchangeRecord, Outcome};

mod render;

/// Names kept apart; callers make them up.
const ROWS: usize = 1000;
/// What exchanges beyond the bound are summed up under.
const OTHER: &str = "(other)";
/// Characters of a name that are shown.
const NAME_LENGTH: usize = 60;

/// Sums by model.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Mutex<HashMap<String, Row>>,
}

/// One model's sums.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Row {
    requests: u64,
    errors: u64,
    /// Exchanges whose usage is known.
    read: u64,
    /// Exchanges whose usage could not be read.
    unread: u64,
    /// Of `read`: those whose model has no price.
    unpriced: u64,
    input: u64,
    cached: u64,
    output: u64,
    nano_usd: u64,
}

impl Row {
    fn of(record: &ExchangeRecord) -> Self {
        let failed = record.status.is_some_and(|status| status.as_u16() >= 400);
        let mut row = Self {
            requests: 1,
            errors: u64::from(failed || record.outcome != Outcome::Completed),
            nano_usd: record.cost.map_or(0, |cost| cost.0),
            ..Self::default()
        };
        match &record.usage {
            UsageReading::Read(usage) => {
                row.read = 1;
                row.unpriced = u64::from(record.cost.is_none());
                row.input = usage.input;
                row.cached = usage.cache_read;
                row.output = usage.output;
            }
            UsageReading::Unread => row.unread = 1,
            UsageReading::None => {}
        }
        row
    }

    fn add(&mut self, other: &Self) {
        for (sum, value) in [
            (&mut self.requests, other.requests),
            (&mut self.errors, other.errors),
            (&mut self.read, other.read),
            (&mut self.unread, other.unread),
            (&mut self.unpriced, other.unpriced),
            (&mut self.input, other.input),
            (&mut self.cached, other.cached),
            (&mut self.output, other.output),
            (&mut self.nano_usd, other.nano_usd),
        ] {
            *sum = sum.saturating_add(value);
        }
    }
}

impl Table {
    pub(super) fn settle(&self, record: &ExchangeRecord) {
        let row = Row::of(record);
        let mut rows = self.rows.lock();
        let model = record
            .request_model
            .as_deref()
            .or(record.response_model.as_deref());
        if let Some(known) = model.and_then(|model| rows.get_mut(model)) {
            known.add(&row);
            return;
        }
        let name = model.map_or_else(|| without_model(record), printable);
        let name = if rows.len() < ROWS || rows.contains_key(&name) {
            name
        } else {
            OTHER.to_owned()
        };
        rows.entry(name).or_default().add(&row);
    }

    pub(super) fn render(&self, connections: &Summary) -> String {
        let rows = self.rows.lock().clone();
        render::render(rows, connections)
    }
}

/// A model's name as a terminal may show it: a caller made it up, and it goes to the user's screen.
fn printable(name: &str) -> String {
    let mut printable: String = name
        .chars()
        .take(NAME_LENGTH)
        .map(|character| if character.is_control() { '?' } else { character })
        .collect();
    if name.chars().nth(NAME_LENGTH).is_some() {
        printable.push('…');
    }
    printable
}

/// The name of exchanges that are about no model: what their path asks for, as in `(models)` for `/v1/models/x`.
fn without_model(record: &ExchangeRecord) -> String {
    let mut segments = record.path.split('/').filter(|segment| !segment.is_empty());
    let first = segments.clone().next();
    let after_version = segments
        .by_ref()
        .skip_while(|segment| !is_version(segment))
        .nth(1);
    let name = after_version.or(first).or(record.operation).unwrap_or("/");
    format!("({})", printable(name))
}

fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .is_some_and(|number| number.starts_with(|character: char| character.is_ascii_digit()))
}

#[cfg(test)]
mod tests;

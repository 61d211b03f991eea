//! The table at the end.

use std::fmt;

use crate::rows::{Round, Row, Unit};

/// Lines as they come.
#[derive(Default)]
pub(crate) struct Table(Vec<[String; 6]>);

impl Table {
    /// Adds a row's medians, and the ratios of its rounds with their spread.
    pub(crate) fn add(&mut self, row: &Row, rounds: &[Round]) {
        let of = |value: fn(&Round) -> f64| spread(rounds.iter().map(value));
        let (bare, weir, ratio) = (
            of(|round| round.bare).1,
            of(|round| round.weir).1,
            of(|round| round.weir / round.bare),
        );
        let unit = match row.unit {
            Unit::Processor | Unit::RelayProcessor | Unit::Elapsed => "µs",
            Unit::Throughput => "MiB/s",
            Unit::Memory => "KiB",
        };
        let more = |value: fn(&Round, f64) -> f64| {
            let differences = rounds
                .iter()
                .filter_map(|round| Some(value(round, round.direct?)));
            let (least, median, most) = spread(differences);
            format!("{median:+.1} ({least:+.1} to {most:+.1})")
        };
        let added = match row.unit {
            Unit::Elapsed => format!(
                "{}; bare {}",
                more(|round, direct| round.weir - direct),
                more(|round, direct| round.bare - direct)
            ),
            _ => String::new(),
        };
        let ratio = format!("{:.2} ({:.2}–{:.2})", ratio.1, ratio.0, ratio.2);
        self.0.push([
            row.name.to_owned(),
            format!("{bare:.2} {unit}"),
            format!("{weir:.2} {unit}"),
            ratio,
            row.budget.to_owned(),
            added,
        ]);
    }
}

/// Least, median, most.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(&least), Some(&median), Some(&most)) => (least, median, most),
        _ => (f64::NAN, f64::NAN, f64::NAN),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            "work",
            "bare",
            "weir",
            "weir / bare (least–most)",
            "budget",
            "more than direct, µs",
        ]
        .map(str::to_owned);
        let lines: Vec<&[String; 6]> = std::iter::once(&heads).chain(&self.0).collect();
        let width = |column: usize| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths = [0, 1, 2, 3, 4, 5].map(width);
        for line in lines {
            for (cell, width) in line.iter().zip(widths) {
                write!(formatter, "{cell:width$}  ")?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

//! The table, a line as soon as its row is measured.

use std::io::{self, Write};

use crate::rows::{Round, Row, Unit};

/// The heads of the columns, and how wide they are: a line is printed before those after it are known.
const COLUMNS: [(&str, usize); 6] = [
    ("work", 30),
    ("bare", 16),
    ("weir", 16),
    ("weir / bare (least–most)", 26),
    ("budget", 28),
    ("more than direct, µs", 0),
];

/// Prints the heads of the columns.
pub(crate) fn begin() -> io::Result<()> {
    print(COLUMNS.map(|(head, _)| head.to_owned()))
}

/// Prints a row's medians, and the ratios of its rounds with their spread.
pub(crate) fn row(row: &Row, rounds: &[Round]) -> io::Result<()> {
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
    print([
        row.name.to_owned(),
        format!("{bare:.2} {unit}"),
        format!("{weir:.2} {unit}"),
        ratio,
        row.budget.to_owned(),
        added,
    ])
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

fn print(cells: [String; 6]) -> io::Result<()> {
    let mut line = String::new();
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        line += &format!("{cell:width$}  ");
    }
    writeln!(io::stdout(), "{}", line.trim_end())
}

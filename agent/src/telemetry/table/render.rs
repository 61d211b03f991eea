//! The table as text.

use std::collections::HashMap;
use std::fmt::Write;

use super::{OTHER, Row};
use crate::telemetry::connections::Summary;

/// Models shown on a line of their own, the costliest and busiest first.
const SHOWN: usize = 50;
/// Hosts named in the footnote.
const SHOWN_HOSTS: usize = 5;

const HEAD: [&str; 7] = ["model", "requests", "errors", "input", "cached", "output", "cost"];

pub(super) fn render(rows: HashMap<String, Row>, connections: &Summary) -> String {
    let mut text = String::new();
    let mut total = Row::default();
    rows.values().for_each(|row| total.add(row));
    if rows.is_empty() {
        text.push_str("No request to an AI provider was seen.\n");
    } else {
        write_table(&mut text, &select(rows), &total);
    }
    for note in notes(&total, connections) {
        text.push_str(&note);
        text.push('\n');
    }
    text
}

/// The rows to show, in order; those that are too many are summed up in the last.
fn select(rows: HashMap<String, Row>) -> Vec<(String, Row)> {
    let mut rows: Vec<(String, Row)> = rows.into_iter().collect();
    // What is about models comes first, then by what it cost; the name settles ties, so that the order is always the same.
    rows.sort_by(|(left_name, left), (right_name, right)| {
        let rank = |name: &str, row: &Row| {
            let order = (row.nano_usd, row.input.saturating_add(row.output), row.requests);
            (name == OTHER, name.starts_with('('), std::cmp::Reverse(order))
        };
        rank(left_name, left)
            .cmp(&rank(right_name, right))
            .then_with(|| left_name.cmp(right_name))
    });
    if rows.len() > SHOWN {
        let mut other = Row::default();
        rows.drain(SHOWN..).for_each(|(_, row)| other.add(&row));
        rows.push((OTHER.to_owned(), other));
    }
    rows
}

fn write_table(text: &mut String, rows: &[(String, Row)], total: &Row) {
    let decimals = decimals(rows.iter().map(|(_, row)| row.nano_usd).chain([total.nano_usd]));
    let mut lines: Vec<[String; 7]> = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(|(name, row)| cells(name, row, decimals)));
    if rows.len() > 1 {
        lines.push(cells("total", total, decimals));
    }
    let mut widths = [0; 7];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for line in &lines {
        let _ = write!(text, "{:<width$}", line[0], width = widths[0]);
        for (cell, width) in line.iter().zip(widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
}

fn cells(name: &str, row: &Row, decimals: u32) -> [String; 7] {
    let tokens = |count| {
        if row.read > 0 {
            thousands(count)
        } else {
            "-".to_owned()
        }
    };
    let cost = match row {
        Row { read: 0, .. } => "-".to_owned(),
        row if row.unpriced == row.read => "unpriced".to_owned(),
        row => dollars(row.nano_usd, decimals),
    };
    [
        name.to_owned(),
        thousands(row.requests),
        thousands(row.errors),
        tokens(row.input),
        tokens(row.cached),
        tokens(row.output),
        cost,
    ]
}

/// What the figures leave out, and what they do not cover.
fn notes(total: &Row, connections: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    if total.unread > 0 {
        notes.push(format!(
            "The usage of {} could not be read; tokens and cost above lack it.",
            count(total.unread, "request", "requests")
        ));
    }
    if total.unpriced > 0 && total.unpriced < total.read {
        notes.push(format!(
            "{} went to models without a known price; the total cost lacks {}.",
            count(total.unpriced, "request", "requests"),
            if total.unpriced == 1 { "it" } else { "them" }
        ));
    }
    if connections.relayed > 0 {
        notes.push(format!(
            "{} passed through untouched{}.",
            count(connections.relayed, "connection", "connections"),
            hosts(&connections.relayed_hosts)
        ));
    }
    if !connections.uncovered.is_empty() {
        notes.push(format!(
            "No backend covers these hosts of AI services, so their calls are not counted: {}.",
            uncovered(&connections.uncovered)
        ));
    }
    if connections.refused > 0 {
        let verb = if connections.refused == 1 { "was" } else { "were" };
        notes.push(format!(
            "{} {verb} refused.",
            count(connections.refused, "connection", "connections")
        ));
    }
    if connections.passed > 0 {
        notes.push(format!(
            "{} went past Weir, which did not get to run in time, or which is not in the network namespace that they came from.",
            count(connections.passed, "connection", "connections")
        ));
    }
    notes
}

fn hosts(hosts: &[String]) -> String {
    if hosts.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = hosts
        .iter()
        .take(SHOWN_HOSTS)
        .map(|host| super::printable(host))
        .collect();
    let more = if hosts.len() > SHOWN_HOSTS { ", …" } else { "" };
    format!(" ({}{more})", shown.join(", "))
}

fn uncovered(hosts: &[(String, u64)]) -> String {
    let shown: Vec<String> = hosts
        .iter()
        .take(SHOWN_HOSTS)
        .map(|(host, connections)| {
            let connections = count(*connections, "connection", "connections");
            format!("{} ({connections})", super::printable(host))
        })
        .collect();
    let more = if hosts.len() > SHOWN_HOSTS { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn count(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(count), if count == 1 { one } else { many })
}

/// 1234567 → `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Decimals for a column of amounts, so that they stand under each other: enough to show four digits of the largest and
/// two of the smallest, without zeros that all of them end in; cents at least.
fn decimals(nano_usd: impl Iterator<Item = u64> + Clone) -> u32 {
    let amounts = nano_usd.filter(|amount| *amount > 0);
    let (Some(smallest), Some(largest)) = (amounts.clone().min(), amounts.clone().max()) else {
        return 2;
    };
    let showing = |digits: u32, amount: u64| (8 + digits).saturating_sub(amount.ilog10());
    let mut decimals = showing(2, smallest).max(showing(4, largest)).clamp(2, 9);
    while decimals > 2
        && amounts
            .clone()
            .all(|amount| round(amount, decimals).is_multiple_of(10))
    {
        decimals -= 1;
    }
    decimals
}

/// The amount in units of the last decimal, half a unit rounded up.
fn round(nano_usd: u64, decimals: u32) -> u64 {
    let unit = 10_u64.pow(9 - decimals);
    nano_usd / unit + u64::from(nano_usd % unit >= unit.div_ceil(2))
}

fn dollars(nano_usd: u64, decimals: u32) -> String {
    let rounded = round(nano_usd, decimals);
    let scale = 10_u64.pow(decimals);
    let (whole, fraction) = (rounded / scale, rounded % scale);
    format!(
        "${}.{fraction:0width$}",
        thousands(whole),
        width = decimals as usize
    )
}

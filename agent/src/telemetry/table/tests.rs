use http::StatusCode;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use weir_ai::{NanoUsd, Usage, UsageReading};

use super::{ROWS, Table};
use crate::telemetry::connections::Summary;
use crate::telemetry::record::{ExchangeRecord, Outcome};
use crate::telemetry::tests::{denied, exchange, list_of_models};

fn table(records: &[ExchangeRecord]) -> String {
    table_and(records, &Summary::default())
}

fn table_and(records: &[ExchangeRecord], connections: &Summary) -> String {
    let table = Table::default();
    records.iter().for_each(|record| table.settle(record));
    table.render(connections)
}

fn costing(model: &str, input: u64, nano_usd: u64) -> ExchangeRecord {
    ExchangeRecord {
        usage: UsageReading::Read(Usage {
            input,
            output: input / 10,
            ..Usage::default()
        }),
        cost: Some(NanoUsd(nano_usd)),
        ..exchange(model)
    }
}

fn unpriced(model: &str) -> ExchangeRecord {
    ExchangeRecord {
        cost: None,
        ..exchange(model)
    }
}

fn unread(model: &str) -> ExchangeRecord {
    ExchangeRecord {
        usage: UsageReading::Unread,
        cost: None,
        ..exchange(model)
    }
}

#[test]
fn nothing_seen() {
    assert_eq!(table(&[]), "No request to an AI provider was seen.\n");
}

#[test]
fn one_model_needs_no_total() {
    assert_eq!(
        table(&[costing("gpt-4o-mini", 12, 1_234_000)]),
        "\
model        requests  errors  input  cached  output       cost
gpt-4o-mini         1       0     12       0       1  $0.001234
"
    );
}

#[test]
fn several_models_the_costliest_first_with_what_has_none_last() {
    let mut records = vec![list_of_models(), unpriced("our-own-model"), denied("gpt-4o-mini")];
    records.extend(std::iter::repeat_n(
        costing("gpt-4o-mini", 1_234_567, 18_500_000),
        3,
    ));
    records.push(costing("claude-opus-4-1", 1000, 2_250_000_000));
    assert_eq!(
        table(&records),
        "\
model            requests  errors      input  cached   output      cost
claude-opus-4-1         1       0      1,000       0      100    $2.250
gpt-4o-mini             4       1  3,703,701       0  370,368    $0.056
our-own-model           1       0      1,000     128      200  unpriced
(models)                1       0          -       -        -         -
total                   7       1  3,705,701     128  370,668    $2.306
1 request went to models without a known price; the total cost lacks it.
"
    );
}

#[test]
fn errors_are_statuses_from_400_on_and_whatever_did_not_complete() {
    let mut not_found = exchange("gpt-4o");
    not_found.status = Some(StatusCode::NOT_FOUND);
    not_found.usage = UsageReading::None;
    not_found.cost = None;
    let mut gone = exchange("gpt-4o");
    gone.outcome = Outcome::ClientGone;
    assert_eq!(
        table(&[exchange("gpt-4o"), not_found, gone, denied("gpt-4o")]),
        "\
model   requests  errors  input  cached  output        cost
gpt-4o         4       3  2,000     256     400  $0.0005208
"
    );
}

#[test]
fn a_model_without_any_usage_shows_none() {
    assert_eq!(
        table(&[denied("gpt-4o"), denied("gpt-4o")]),
        "\
model   requests  errors  input  cached  output  cost
gpt-4o         2       2      -       -       -     -
"
    );
}

#[test]
fn what_the_figures_lack_is_said_below_them() {
    let connections = Summary {
        relayed: 1234,
        refused: 2,
        passed: 1,
        relayed_hosts: ["a.io", "b.io", "c.io", "d.io", "e.io", "f.io"]
            .map(str::to_owned)
            .to_vec(),
        ..Summary::default()
    };
    assert_eq!(
        table_and(
            &[exchange("gpt-4o"), unread("gpt-4o"), unread("gpt-4o")],
            &connections
        ),
        "\
model   requests  errors  input  cached  output        cost
gpt-4o         3       0  1,000     128     200  $0.0002604
The usage of 2 requests could not be read; tokens and cost above lack it.
1,234 connections passed through untouched (a.io, b.io, c.io, d.io, e.io, …).
2 connections were refused.
1 connection went past Weir, which did not get to run in time, or which is not in the network namespace that they came from.
"
    );
}

#[test]
fn what_is_about_no_model_goes_by_its_path() {
    for (path, name) in [
        ("/v1/models", "(models)"),
        ("/v1/models/gpt-4o", "(models)"),
        ("/openai/v1/models", "(models)"),
        ("/api/v1/credits", "(credits)"),
        ("/v1beta/files/x", "(files)"),
        ("/v1", "(v1)"),
        ("/health", "(health)"),
        ("/", "(/)"),
        ("", "(/)"),
    ] {
        let record = ExchangeRecord {
            path: path.to_owned(),
            ..list_of_models()
        };
        let table = table(&[record]);
        let row = table.lines().nth(1).expect("a row");
        assert_eq!(row.split_whitespace().next(), Some(name), "{path}");
    }
}

#[test]
fn a_name_from_a_caller_cannot_move_the_cursor() {
    let long = "x".repeat(100);
    let table = table(&[denied("a\x1b[2J\nb"), denied(&long), denied(&long)]);
    assert!(table.contains("a?[2J?b "), "{table}");
    assert!(table.contains(&format!("{}…", "x".repeat(60))), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");
}

#[test]
fn rows_are_bounded_and_none_is_lost() {
    let records: Vec<_> = (0..ROWS + 500)
        .map(|index| denied(&format!("model-{index:04}")))
        .collect();
    let table = table(&records);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + 50 + 2, "head, rows, other, total");
    assert!(lines[51].starts_with("(other) "), "{}", lines[51]);
    assert_eq!(lines[51].split_whitespace().nth(1), Some("1,450"));
    assert_eq!(lines[52].split_whitespace().nth(1), Some("1,500"));
}

#[test]
fn small_amounts_beside_large_ones_can_be_read() {
    assert_eq!(
        table(&[
            costing("gpt-4o-mini", 4521, 1_221_150),
            costing("text-embedding-3-small", 894, 17_880)
        ]),
        "\
model                   requests  errors  input  cached  output       cost
gpt-4o-mini                    1       0  4,521       0     452  $0.001221
text-embedding-3-small         1       0    894       0      89  $0.000018
total                          2       0  5,415       0     541  $0.001239
"
    );
}

#[test]
fn amounts_show_what_matters_of_them() {
    for (nano_usd, shown) in [
        (1, "$0.000000001"),
        (1_234_000, "$0.001234"),
        (1_234_567, "$0.001235"),
        (45_000, "$0.000045"),
        (500_000_000, "$0.50"),
        (12_345_678_900, "$12.35"),
        (1_234_567_000_000_000, "$1,234,567.00"),
        (0, "$0.00"),
        (u64::MAX, "$18,446,744,073.71"),
    ] {
        let table = table(&[costing("m", 1, nano_usd)]);
        let row = table.lines().nth(1).expect("a row");
        assert_eq!(row.split_whitespace().last(), Some(shown));
    }
}

proptest! {
    #[test]
    fn columns_stand_under_each_other(
        amounts in proptest::collection::vec((any::<u32>(), any::<u64>()), 1..20),
    ) {
        let records: Vec<_> = amounts
            .iter()
            .enumerate()
            .map(|(index, (input, nano_usd))| costing(&format!("model-{index}"), u64::from(*input), *nano_usd))
            .collect();
        let table = table(&records);
        let widths: Vec<usize> = table.lines().map(|line| line.chars().count()).collect();
        prop_assert!(widths.iter().all(|width| *width == widths[0]), "{}", table);
        let sum: u64 = amounts.iter().map(|(input, _)| u64::from(*input)).sum();
        let total = table.lines().last().expect("a row").split_whitespace().nth(3).expect("input").replace(',', "");
        prop_assert_eq!(total, sum.to_string());
    }
}

#[test]
fn hosts_of_ai_services_that_no_backend_covers_are_named() {
    let summary = Summary {
        relayed: 3,
        relayed_hosts: vec!["api.cohere.com".to_owned()],
        uncovered: vec![("api.ai21.com".to_owned(), 1), ("api.cohere.com".to_owned(), 2)],
        ..Summary::default()
    };
    let table = Table::default().render(&summary);
    assert!(
        table.ends_with(
            "3 connections passed through untouched (api.cohere.com).\nNo backend covers these hosts of AI services, so their \
             calls are not counted: api.ai21.com (1 connection), api.cohere.com (2 connections).\n"
        ),
        "{table}"
    );
}

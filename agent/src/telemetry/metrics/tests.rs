use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use weir_ai::{NanoUsd, Usage, UsageReading};

use super::{DURATION_BUCKETS, FIRST_TOKEN_BUCKETS, Metrics, SERIES, TOKEN_BUCKETS};
use crate::telemetry::connections::Connections;
use crate::telemetry::dials::DialCounts;
use crate::telemetry::record::{ExchangeRecord, Outcome, Workload};
use crate::telemetry::tests::{denied, exchange, list_of_models};

fn metrics() -> Metrics {
    Metrics::new(Arc::new(Connections::default()))
}

/// Samples by name and labels, as they stand in the text.
fn samples(metrics: &Metrics) -> HashMap<String, f64> {
    metrics
        .render()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

const LABELS: &str = "gen_ai_provider_name=\"openai\",gen_ai_operation_name=\"chat\",\
    gen_ai_request_model=\"gpt-4o\",gen_ai_response_model=\"gpt-4o-2024-07-18\",k8s_namespace_name=\"default\",\
    k8s_service_account_name=\"ada\",weir_backend=\"default/openai\"";

#[test]
fn every_metric_has_its_name_its_labels_its_help_and_its_type() {
    let metrics = metrics();
    metrics.settle(&exchange("gpt-4o"));
    let samples = samples(&metrics);
    for (name, own, value) in [
        (
            "weir_exchanges_total",
            ",outcome=\"completed\",http_response_status_code=\"200\"",
            1.0,
        ),
        ("weir_tokens_total", ",type=\"input\"", 1000.0),
        ("weir_tokens_total", ",type=\"output\"", 200.0),
        ("weir_tokens_total", ",type=\"cache_read\"", 128.0),
        ("weir_tokens_total", ",type=\"reasoning\"", 64.0),
        ("weir_cost_usd_total", "", 0.000_260_4),
        (
            "gen_ai_client_token_usage_sum",
            ",gen_ai_token_type=\"input\"",
            1000.0,
        ),
        (
            "gen_ai_client_token_usage_count",
            ",gen_ai_token_type=\"output\"",
            1.0,
        ),
        ("gen_ai_client_operation_duration_seconds_sum", "", 1.234_567),
        ("gen_ai_server_time_to_first_token_seconds_sum", "", 0.31),
    ] {
        let name = format!("{name}{{{LABELS}{own}}}");
        assert_eq!(samples.get(&name), Some(&value), "{name}\n{samples:#?}");
    }
    assert!(
        !samples
            .keys()
            .any(|name| name.contains("audio") || name.contains("pod"))
    );

    let text = metrics.render();
    assert!(!text.contains("weir_capture_"), "nothing is captured");
    for (name, metric_type) in [
        ("weir_exchanges", "counter"),
        ("weir_tokens", "counter"),
        ("weir_cost_usd", "counter"),
        ("weir_connections", "counter"),
        ("weir_connections_active", "gauge"),
        ("gen_ai_client_token_usage", "histogram"),
        ("gen_ai_client_operation_duration_seconds", "histogram"),
        ("gen_ai_server_time_to_first_token_seconds", "histogram"),
    ] {
        assert!(text.contains(&format!("# TYPE {name} {metric_type}\n")), "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn what_the_kernel_counts_is_reported_while_somebody_counts() {
    let connections = Arc::new(Connections::default());
    let metrics = Metrics::new(Arc::clone(&connections));
    let counts = DialCounts {
        captured: 7,
        passed: 2,
        refused: 1,
        datagrams_refused: 4,
    };
    connections.dials().count_by(Some(Arc::new(move || Some(counts))));
    let samples = samples(&metrics);
    for (name, value) in [
        ("weir_capture_connections_total{outcome=\"captured\"}", 7.0),
        ("weir_capture_connections_total{outcome=\"passed\"}", 2.0),
        ("weir_capture_connections_total{outcome=\"refused\"}", 1.0),
        ("weir_capture_datagrams_refused_total", 4.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}\n{samples:#?}");
    }
    let text = metrics.render();
    for name in ["weir_capture_connections", "weir_capture_datagrams_refused"] {
        assert!(text.contains(&format!("# TYPE {name} counter\n")), "{text}");
        assert!(text.contains(&format!("# HELP {name} ")), "{text}");
    }
    assert_eq!(connections.summary().passed, 2);

    connections.dials().count_by(None);
    assert!(
        !metrics.render().contains("weir_capture_"),
        "another agent counts"
    );
}

#[test]
fn buckets_are_those_of_opentelemetry() {
    assert!(
        TOKEN_BUCKETS
            .iter()
            .enumerate()
            .all(|(power, bound)| *bound == 4_f64.powi(power as i32))
    );
    for (power, bound) in DURATION_BUCKETS.iter().enumerate() {
        assert!((bound - 0.01 * 2_f64.powi(power as i32)).abs() < 1e-9);
    }
    assert!(FIRST_TOKEN_BUCKETS.is_sorted());

    let metrics = metrics();
    for input in [1, 4, 5] {
        metrics.settle(&ExchangeRecord {
            usage: UsageReading::Read(Usage {
                input,
                ..Usage::default()
            }),
            ..exchange("gpt-4o")
        });
    }
    let samples = samples(&metrics);
    for (bound, count) in [
        ("1.0", 1.0),
        ("4.0", 2.0),
        ("16.0", 3.0),
        ("67108864.0", 3.0),
        ("+Inf", 3.0),
    ] {
        let bucket = samples.iter().find(|(name, _)| {
            name.starts_with("gen_ai_client_token_usage_bucket")
                && name.contains("gen_ai_token_type=\"input\"")
                && name.contains(&format!("le=\"{bound}\""))
        });
        assert_eq!(bucket.map(|(_, count)| *count), Some(count), "{bound}");
    }
}

#[test]
fn cost_keeps_its_nano_usd_beside_a_large_sum() {
    let metrics = metrics();
    let costing = |nano_usd| ExchangeRecord {
        cost: Some(NanoUsd(nano_usd)),
        ..exchange("gpt-4o")
    };
    metrics.settle(&costing(1_000_000_000_000_000));
    for _ in 0..1000 {
        metrics.settle(&costing(1));
    }
    assert_eq!(
        samples(&metrics)[&format!("weir_cost_usd_total{{{LABELS}}}")],
        1_000_000.000_001
    );
}

#[test]
fn an_unpriced_model_has_no_cost_rather_than_none_at_all() {
    let metrics = metrics();
    metrics.settle(&ExchangeRecord {
        cost: None,
        ..exchange("gpt-4o")
    });
    assert!(!metrics.render().contains("weir_cost_usd_total{"));
}

#[test]
fn what_has_no_model_has_no_model_labels_and_no_operation() {
    let metrics = metrics();
    metrics.settle(&list_of_models());
    let text = metrics.render();
    assert!(text.contains(
        "weir_exchanges_total{gen_ai_provider_name=\"openai\",k8s_namespace_name=\"default\",\
         k8s_service_account_name=\"ada\",weir_backend=\"default/openai\",outcome=\"completed\",\
         http_response_status_code=\"200\"} 1\n"
    ));
    for absent in [
        "weir_tokens_total{",
        "duration_seconds_count",
        "first_token_seconds_count",
    ] {
        assert!(!text.contains(absent), "{absent}");
    }
}

#[test]
fn a_client_that_left_before_a_status_has_none() {
    let metrics = metrics();
    metrics.settle(&ExchangeRecord {
        status: None,
        outcome: Outcome::ClientGone,
        ..exchange("gpt-4o")
    });
    assert!(metrics.render().contains("outcome=\"client_gone\"} 1\n"));
}

#[test]
fn models_that_were_only_ever_refused_are_other() {
    let metrics = metrics();
    for index in 0..2000 {
        metrics.settle(&denied(&format!("invented-{index}")));
        metrics.settle(&ExchangeRecord {
            status: Some(StatusCode::NOT_FOUND),
            response_model: None,
            ..exchange(&format!("no-such-{index}"))
        });
    }
    assert_eq!(metrics.exchanges.series.read().len(), 1);
    assert!(metrics.render().contains("gen_ai_request_model=\"other\""));
    metrics.settle(&exchange("gpt-4o"));
    metrics.settle(&denied("gpt-4o"));
    let text = metrics.render();
    assert!(
        text.contains("gen_ai_request_model=\"gpt-4o\",k8s_namespace_name"),
        "its denials are its own: {text}"
    );
}

#[test]
fn series_are_bounded_whatever_the_models() {
    let metrics = metrics();
    // 500 models that a provider took, from many service accounts: each pair is a label set.
    for account in 0..30 {
        let workload = Arc::new(Workload {
            uid: None,
            namespace: "default".to_owned(),
            pod: None,
            service_account: format!("account-{account}"),
        });
        for model in 0..500 {
            metrics.settle(&ExchangeRecord {
                workload: Arc::clone(&workload),
                response_model: None,
                ..exchange(&format!("model-{model}"))
            });
        }
    }
    let count = metrics.exchanges.series.read().len();
    assert!(
        count <= SERIES + 30,
        "{count}: accounts are not a caller's to invent, models are"
    );
    let exchanges: f64 = samples(&metrics)
        .iter()
        .filter(|(name, _)| name.starts_with("weir_exchanges_total"))
        .map(|(_, count)| count)
        .sum();
    assert_eq!(exchanges, 15_000.0, "none is lost");
}

#[test]
fn labels_are_escaped() {
    let metrics = metrics();
    metrics.settle(&exchange("a\"b\\c\nd"));
    assert!(metrics.render().contains(r#"gen_ai_request_model="a\"b\\c\nd""#));
}

#[test]
fn an_answer_in_one_piece_has_no_time_to_first_token() {
    let metrics = metrics();
    metrics.settle(&ExchangeRecord {
        stream: false,
        duration: Duration::from_secs(1),
        ..exchange("gpt-4o")
    });
    let text = metrics.render();
    assert!(!text.contains("gen_ai_server_time_to_first_token_seconds_count"));
    assert!(text.contains("gen_ai_client_operation_duration_seconds_count"));
}

#[test]
fn ai_services_that_no_backend_covers_have_a_series_an_entry_of_the_list() {
    let connections = Arc::new(Connections::default());
    let metrics = Metrics::new(Arc::clone(&connections));
    let workload = &exchange("gpt-4o").workload;
    for region in 0..100 {
        let host = format!("bedrock-runtime.region-{region}.amazonaws.com");
        let entry = weir_ai::known_ai_host(&host).expect("it is known");
        connections.uncovered().connection(workload, &host, entry);
    }
    let samples = samples(&metrics);
    let series = "weir_uncovered_connections_total{k8s_namespace_name=\"default\",k8s_service_account_name=\"ada\",\
        host=\"bedrock-runtime.*.amazonaws.com\"}";
    assert_eq!(samples.get(series), Some(&100.0), "{samples:?}");
}

//! Records for the tests of this room, and the whole of it at once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use weir_ai::{NanoUsd, Provider, Usage, UsageReading};

use super::record::{ConnectionKind, ExchangeRecord, Outcome, Workload};
use super::{AccessLog, Telemetry};

/// A chat completion that went well.
pub(super) fn exchange(model: &str) -> ExchangeRecord {
    ExchangeRecord {
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
        workload: Arc::new(Workload {
            uid: None,
            namespace: "default".to_owned(),
            pod: None,
            service_account: "ada".to_owned(),
        }),
        backend: "default/openai".into(),
        provider: Provider::OpenAi,
        server_address: "api.openai.com".into(),
        method: Method::POST,
        path: "/v1/chat/completions".to_owned(),
        status: Some(StatusCode::OK),
        operation: Some("chat"),
        request_model: Some(model.to_owned()),
        response_model: Some(format!("{model}-2024-07-18")),
        usage: UsageReading::Read(Usage {
            input: 1000,
            output: 200,
            cache_read: 128,
            reasoning: 64,
            ..Usage::default()
        }),
        cost: Some(NanoUsd(260_400)),
        stream: true,
        outcome: Outcome::Completed,
        error_code: None,
        duration: Duration::from_micros(1_234_567),
        time_to_first_chunk: Some(Duration::from_millis(310)),
    }
}

/// `GET /v1/models`.
pub(super) fn list_of_models() -> ExchangeRecord {
    ExchangeRecord {
        method: Method::GET,
        path: "/v1/models".to_owned(),
        operation: None,
        request_model: None,
        response_model: None,
        usage: UsageReading::None,
        cost: None,
        stream: false,
        ..exchange("")
    }
}

/// What Weir refused.
pub(crate) fn denied(model: &str) -> ExchangeRecord {
    ExchangeRecord {
        status: Some(StatusCode::UNAUTHORIZED),
        response_model: None,
        usage: UsageReading::None,
        cost: None,
        stream: false,
        outcome: Outcome::Denied,
        error_code: Some("weir_no_credential"),
        time_to_first_chunk: None,
        ..exchange(model)
    }
}

#[test]
fn a_settled_exchange_is_in_the_log_the_metrics_and_the_table() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("access.log");
    let telemetry = Telemetry::new(Some(AccessLog::open(&path).expect("a log")));
    telemetry.clone().settle(&exchange("gpt-4o-mini"));
    drop(telemetry.connection(ConnectionKind::Terminated));
    let open = telemetry.connection(ConnectionKind::Relayed);
    telemetry.relayed_to("pypi.org");
    telemetry.close().expect("all written");

    let log = std::fs::read_to_string(path).expect("it is there");
    assert!(log.contains(r#""gen_ai.request.model":"gpt-4o-mini""#), "{log}");
    let metrics = telemetry.render_metrics();
    assert!(metrics.contains("weir_connections_active 1\n"), "{metrics}");
    assert!(
        metrics.contains("weir_connections_total{kind=\"terminated\"} 1\n"),
        "{metrics}"
    );
    drop(open);
    assert!(telemetry.render_metrics().contains("weir_connections_active 0\n"));
    assert_eq!(
        telemetry.table(),
        "\
model        requests  errors  input  cached  output        cost
gpt-4o-mini         1       0  1,000     128     200  $0.0002604
1 connection passed through untouched (pypi.org).
"
    );
}

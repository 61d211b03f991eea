//! What Weir reports: metrics, access log, with and without a configuration.

use serde_json::json;
use weir_tests::world::run::METRICS;
use weir_tests::world::{KEY, World};

use super::ASK;

#[test]
fn metrics_are_served_while_it_runs() {
    let world = World::new();
    let mut running = world.weir().metrics().spawn(&["sh"]);
    running.write_line(ASK);
    running.wait_for_exchanges(1);
    let metrics = running.scrape();
    for wanted in [
        "weir_tokens_total{",
        "weir_cost_usd_total",
        "weir_exchanges_total{",
        "weir_connections_total{",
        "weir_connections_active",
        "gen_ai_client_token_usage_bucket{",
        "gen_ai_client_operation_duration_seconds_bucket{",
    ] {
        assert!(metrics.contains(wanted), "no {wanted} at {METRICS}:\n{metrics}");
    }
    assert!(!metrics.contains(KEY));
    running.write_line("exit 0");
    running.finish().assert_exit(0);
}

#[test]
fn the_access_log_holds_no_body_and_no_key() {
    let world = World::new();
    let finished = world.weir().run(&["sh", "-c", ASK]).assert_exit(0);
    let line = finished.only_exchange().to_string();
    assert!(
        !line.contains(KEY) && !line.contains("heard") && !line.contains("\"hi\""),
        "{line}"
    );
    for field in [
        "time",
        "weir.duration_s",
        "weir.time_to_first_chunk_s",
        "k8s.service_account.name",
    ] {
        assert!(line.contains(&format!("\"{field}\"")), "{field} in {line}");
    }
}

#[test]
fn zero_configuration_passes_the_callers_own_key_and_reports() {
    let world = World::new();
    let command = format!("{ASK} -H 'Authorization: Bearer {KEY}'");
    let finished = world.bare_weir().run(&["sh", "-c", &command]).assert_exit(0);
    finished.only_exchange().assert(&json!({
        "http.response.status_code": 200,
        "gen_ai.request.model": "gpt-4o-mini",
        "weir.usage": "read",
        "weir.outcome": "completed",
    }));
    let record = world.provider().all().pop().unwrap();
    assert_eq!(
        record.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(
        record.header("host").or(record.header(":authority")),
        Some("api.openai.com")
    );
}

#[test]
fn several_runs_stand_side_by_side() {
    let world = World::new();
    let mut first = world.weir().spawn(&["sh"]);
    let mut second = world.bare_weir().spawn(&["sh"]);
    first.write_line(ASK);
    second.write_line(&format!("{ASK} -H 'Authorization: Bearer {KEY}'"));
    first.wait_for_exchanges(1);
    second.wait_for_exchanges(1);
    second.write_line("exit 3");
    second.wait().assert_exit(3);
    first.write_line(ASK);
    first.wait_for_exchanges(2);
    first.finish().assert_exit(0);
}

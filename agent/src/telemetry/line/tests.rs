use std::time::Duration;

use http::Method;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use serde_json::Value;
use weir_ai::{NanoUsd, Usage, UsageReading};

use super::{STRING_LENGTH, write};
use crate::telemetry::record::{ExchangeRecord, Outcome, Workload};
use crate::telemetry::tests::{denied, exchange, list_of_models};

fn line(record: &ExchangeRecord) -> String {
    let mut line = Vec::new();
    write(record, &mut line);
    String::from_utf8(line).expect("JSON is UTF-8")
}

#[test]
fn an_exchange_has_every_field() {
    let mut record = exchange("gpt-4o-mini");
    record.workload = Workload {
        uid: None,
        namespace: "shop".to_owned(),
        pod: Some("cart-0".to_owned()),
        service_account: "cart".to_owned(),
    }
    .into();
    record.outcome = Outcome::Truncated;
    record.error_code = Some("weir_upstream_truncated");
    assert_eq!(
        line(&record),
        concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","k8s.namespace.name":"shop","k8s.pod.name":"cart-0","#,
            r#""k8s.service_account.name":"cart","weir.backend":"default/openai","server.address":"api.openai.com","#,
            r#""http.request.method":"POST","url.path":"/v1/chat/completions","http.response.status_code":200,"#,
            r#""gen_ai.provider.name":"openai","gen_ai.operation.name":"chat","gen_ai.request.model":"gpt-4o-mini","#,
            r#""gen_ai.response.model":"gpt-4o-mini-2024-07-18","gen_ai.usage.input_tokens":1000,"#,
            r#""gen_ai.usage.output_tokens":200,"gen_ai.usage.cache_read.input_tokens":128,"#,
            r#""gen_ai.usage.cache_creation.input_tokens":0,"gen_ai.usage.reasoning.output_tokens":64,"#,
            r#""weir.usage":"read","weir.cost_usd":0.0002604,"weir.stream":true,"weir.outcome":"truncated","#,
            r#""weir.error.code":"weir_upstream_truncated","weir.duration_s":1.234567,"#,
            r#""weir.time_to_first_chunk_s":0.31}"#,
            "\n"
        )
    );
}

#[test]
fn absent_fields_are_left_out() {
    assert_eq!(
        line(&list_of_models()),
        concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","k8s.namespace.name":"default","k8s.service_account.name":"ada","#,
            r#""weir.backend":"default/openai","server.address":"api.openai.com","http.request.method":"GET","#,
            r#""url.path":"/v1/models","http.response.status_code":200,"gen_ai.provider.name":"openai","#,
            r#""weir.usage":"none","weir.stream":false,"weir.outcome":"completed","weir.duration_s":1.234567,"#,
            r#""weir.time_to_first_chunk_s":0.31}"#,
            "\n"
        )
    );
    let gone = line(&ExchangeRecord {
        status: None,
        usage: UsageReading::Unread,
        outcome: Outcome::ClientGone,
        ..denied("gpt-4o")
    });
    assert!(
        !gone.contains("status_code") && gone.contains(r#""weir.usage":"unread""#),
        "{gone}"
    );
}

#[test]
fn cost_is_exact() {
    for (nano_usd, text) in [
        (0, "0"),
        (1, "0.000000001"),
        (100, "0.0000001"),
        (1_500_000_000, "1.5"),
        (42_000_000_000, "42"),
        (u64::MAX, "18446744073.709551615"),
    ] {
        let record = ExchangeRecord {
            cost: Some(NanoUsd(nano_usd)),
            ..exchange("gpt-4o")
        };
        assert!(
            line(&record).contains(&format!("\"weir.cost_usd\":{text},")),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn whatever_a_caller_sends_a_line_is_one_object_of_bounded_length(
        path in any::<String>(),
        model in "(?s).{0,2000}",
        usage in any::<[u64; 5]>(),
        nano_usd in any::<u64>(),
        micros in any::<u32>(),
    ) {
        let record = ExchangeRecord {
            path: path.clone(),
            method: Method::from_bytes(b"X-INVENTED").expect("a token"),
            request_model: Some(model.clone()),
            response_model: Some(model.clone()),
            usage: UsageReading::Read(Usage {
                input: usage[0],
                output: usage[1],
                cache_read: usage[2],
                cache_creation: usage[3],
                reasoning: usage[4],
                ..Usage::default()
            }),
            cost: Some(NanoUsd(nano_usd)),
            duration: Duration::from_micros(micros.into()),
            ..exchange("")
        };
        let line = line(&record);
        prop_assert!(line.ends_with("\n"));
        prop_assert_eq!(line.matches('\n').count(), 1);
        // At most six bytes of JSON for one of a string.
        prop_assert!(line.len() < 3 * 6 * STRING_LENGTH + 2000);

        let value: Value = serde_json::from_str(&line).expect("JSON");
        let cut = |text: &str| text[..text.floor_char_boundary(STRING_LENGTH)].to_owned();
        prop_assert_eq!(&value["url.path"], &Value::from(cut(&path)));
        prop_assert_eq!(&value["gen_ai.request.model"], &Value::from(cut(&model)));
        prop_assert_eq!(&value["gen_ai.usage.cache_creation.input_tokens"], &Value::from(usage[3]));
        prop_assert_eq!(value["weir.duration_s"].as_f64(), Some(f64::from(micros) / 1e6));
        // As it stands there: as a binary number it would be a rounded one.
        let after = line.split("\"weir.cost_usd\":").nth(1).expect("a cost");
        let cost = after.split(',').next().expect("a number");
        let (whole, fraction) = cost.split_once('.').unwrap_or((cost, ""));
        let nanos = format!("{whole}{fraction:0<9}");
        prop_assert_eq!(nanos.parse::<u64>(), Ok(nano_usd));
    }
}

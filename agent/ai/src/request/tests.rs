use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::{Value, json};

use super::{RequestScan, Splice};
use crate::Endpoint;
use crate::json::Kind;
use crate::testing::{json_text, pieces, space};

fn scan(endpoint: Endpoint, parts: &[&[u8]]) -> RequestScan {
    let mut scan = RequestScan::new(endpoint);
    for part in parts {
        scan.push(part);
    }
    scan
}

/// Whether the client itself asked for usage in the stream.
fn asked_for_usage(scan: &RequestScan) -> bool {
    let options = scan.members.options.as_ref();
    options
        .and_then(|options| options.include_usage.as_ref())
        .is_some_and(|(kind, _)| *kind == Kind::True)
}

fn spliced(body: &str) -> Option<String> {
    let Splice { range, insert } = scan(Endpoint::ChatCompletions, &[body.as_bytes()]).usage_splice()?;
    let insert = std::str::from_utf8(&insert).expect("text");
    Some(format!(
        "{}{insert}{}",
        &body[..range.start as usize],
        &body[range.end as usize..]
    ))
}

#[test]
fn a_model_named_twice_is_told() {
    for (body, several) in [
        (r#"{}"#, false),
        (r#"{"model":"a","metadata":{"model":"b"}}"#, false),
        (r#"{"model":"a","model":"b"}"#, true),
        (r#"{"model":"a","model":"a"}"#, true),
        (r#"{"model":7,"mod\u0065l":"b"}"#, true),
        (r#"{"model":"a","stream":true,"Model":"b"}"#, true),
        (r#"{"model":"a","models":["b"]}"#, true),
        (r#"{"models":["b"],"model":"a"}"#, true),
        (r#"{"model":"a","models":null}"#, false),
    ] {
        let read = scan(Endpoint::ChatCompletions, &[body.as_bytes()]);
        assert_eq!(read.facts().several_models, several, "{body}");
    }
}

#[test]
fn facts_of_a_request() {
    let body =
        br#"{"model":"gpt-4o","messages":[{"role":"user","content":"\"model\":\"x\""}],"stream":false}"#;
    let read = scan(Endpoint::ChatCompletions, &[body]);
    assert_eq!(read.facts().model, Some("gpt-4o"));
    assert_eq!(read.facts().stream, Some(false));
    assert!(read.facts().complete);
    // known before the body has ended
    let read = scan(Endpoint::Messages, &[&body[..20]]);
    assert_eq!(read.facts().model, Some("gpt-4o"));
    assert!(!read.facts().complete);
    // as the provider's parser takes it
    assert_eq!(
        scan(Endpoint::Embeddings, &[br#"{"model":"a","model":"b\u00e9"}"#])
            .facts()
            .model,
        Some("bé")
    );
    assert_eq!(
        scan(Endpoint::Embeddings, &[br#"{"model":"a","model":7}"#])
            .facts()
            .model,
        None
    );
    // as a lenient one takes it
    assert_eq!(
        scan(Endpoint::Embeddings, &[br#"{"MODEL":"a"}"#]).facts().model,
        Some("a")
    );
    assert_eq!(scan(Endpoint::Other, &[body]).facts().model, None);
    for broken in [
        "",
        "model=gpt",
        "[{\"model\":\"a\"}]",
        "{\"model\"",
        "\u{feff}{\"model\":\"a\"}",
    ] {
        assert_eq!(
            scan(Endpoint::Responses, &[broken.as_bytes()]).facts().model,
            None
        );
    }
}

#[test]
fn each_form_of_stream_options() {
    for (body, expected) in [
        (
            r#"{"stream":true}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            "{ \"stream\" : true\n} \n",
            "{ \"stream\" : true\n,\"stream_options\":{\"include_usage\":true}} \n",
        ),
        (
            r#"{"stream_options": null,"stream":true}"#,
            r#"{"stream_options": {"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{ },"stream":true}"#,
            r#"{"stream_options":{ "include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_obfuscation":false }}"#,
            r#"{"stream":true,"stream_options":{"include_obfuscation":false ,"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":null}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        // the last of a repeated key holds
        (
            r#"{"stream":true,"stream_options":{"include_usage":true},"stream_options":null}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true},"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream":true,"stream_options":{"include_usage":true},"stream_options":{}}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true},"stream_options":{"include_usage":true}}"#,
        ),
    ] {
        assert_eq!(spliced(body).as_deref(), Some(expected), "{body}");
        assert!(!asked_for_usage(&scan(
            Endpoint::ChatCompletions,
            &[body.as_bytes()]
        )));
    }
}

#[test]
fn where_nothing_is_added() {
    for body in [
        "",
        "{}",
        r#"{"stream":false}"#,
        r#"{"stream":"true"}"#,
        r#"{"stream":true,"stream":false}"#,
        r#"{"stream":true"#,
        r#"{"stream":true}}"#,
        r#"{"stream":true} x"#,
        r#"[{"stream":true}]"#,
        r#"{"stream":true,}"#,
        r#"{"stream":true,"stream_options":[]}"#,
        r#"{"stream":true,"stream_options":{"include_usage":"yes"}}"#,
        r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
    ] {
        assert_eq!(spliced(body), None, "{body}");
    }
    let body: &[u8] = br#"{"stream":true}"#;
    assert!(scan(Endpoint::Completions, &[body]).usage_splice().is_some());
    for endpoint in [
        Endpoint::Responses,
        Endpoint::Messages,
        Endpoint::Embeddings,
        Endpoint::Other,
    ] {
        assert_eq!(scan(endpoint, &[body]).usage_splice(), None);
    }
    let asked = scan(
        Endpoint::Completions,
        &[br#"{"stream":true,"stream_options":{"include_usage":true}}"#],
    );
    assert!(asked_for_usage(&asked));
}

fn options_text() -> impl Strategy<Value = String> {
    let usage = prop::sample::select(vec!["true", "false", "null"]);
    prop_oneof![
        Just("null".to_owned()),
        space().prop_map(|space| format!("{{{space}}}")),
        (space(), usage, space())
            .prop_map(|(a, usage, b)| format!("{{{a}\"include_usage\"{b}:{a}{usage}{b}}}")),
        (space(), json_text()).prop_map(|(a, value)| format!("{{\"x\":{value}{a}}}")),
        (json_text(), space()).prop_map(|(value, a)| format!("{{\"include_usage\":false,\"x\":{value}{a}}}")),
    ]
}

fn body_text() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        (space(), json_text()).prop_map(|(a, value)| format!("{a}\"messages\"{a}:{value}")),
        (space(), options_text()).prop_map(|(a, value)| format!("{a}\"stream_options\"{a}:{a}{value}{a}")),
        Just(r#""str\u0065am":true"#.to_owned()),
        Just(r#""model" : "gpt-4o""#.to_owned()),
    ];
    (
        space(),
        prop::collection::vec(member, 0..5),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(a, mut members, index)| {
            members.insert(
                index.index(members.len() + 1),
                format!("{a}\"stream\"{a}:{a}true{a}"),
            );
            format!("{a}{{{}{a}}}{a}", members.join(","))
        })
}

proptest! {
    #[test]
    fn a_splice_changes_one_thing(body in body_text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let whole = scan(Endpoint::ChatCompletions, &[body.as_bytes()]);
        let split = scan(Endpoint::ChatCompletions, &pieces(body.as_bytes(), &cuts));
        prop_assert_eq!(whole.facts(), split.facts());
        prop_assert_eq!(whole.usage_splice(), split.usage_splice());

        let mut value: Value = serde_json::from_str(&body).expect("generated");
        let asked = value["stream_options"]["include_usage"] == json!(true);
        prop_assert_eq!(asked_for_usage(&whole), asked);
        match spliced(&body) {
            None => prop_assert!(asked),
            Some(text) => {
                prop_assert!(!asked);
                if value["stream_options"].is_null() {
                    value["stream_options"] = json!({});
                }
                value["stream_options"]["include_usage"] = json!(true);
                prop_assert_eq!(serde_json::from_str::<Value>(&text).expect("still JSON"), value);
            }
        }
    }

    #[test]
    fn no_bytes_are_too_odd(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6)) {
        let whole = parts.concat();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let split = scan(Endpoint::ChatCompletions, &parts);
        let whole = scan(Endpoint::ChatCompletions, &[&whole]);
        prop_assert_eq!(split.facts(), whole.facts());
    }

    #[test]
    fn any_json_may_be_a_body(body in json_text(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let whole = scan(Endpoint::ChatCompletions, &[body.as_bytes()]);
        let split = scan(Endpoint::ChatCompletions, &pieces(body.as_bytes(), &cuts));
        prop_assert_eq!(whole.facts(), split.facts());
        let value: Value = serde_json::from_str(&body).expect("generated");
        prop_assert_eq!(whole.facts().model, value.get("model").and_then(Value::as_str));
        prop_assert_eq!(whole.facts().stream, value.get("stream").and_then(Value::as_bool));
    }
}

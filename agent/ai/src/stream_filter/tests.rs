use bytes::Bytes;
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{EVENT_LIMIT, UsageEventFilter};
use crate::testing::{json_text, pieces, space, stream_text};

const CHUNK: &str = r#"{"id":"1","choices":[{"index":0,"delta":{"content":"Hi"}}]}"#;
const WITH_NULL: &str = r#"{"id":"1","choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}"#;
const USAGE: &str = r#"{"id":"1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12}}"#;

fn filter(parts: &[&[u8]]) -> Vec<u8> {
    let mut filter = UsageEventFilter::new();
    let mut passed = Vec::new();
    for part in parts {
        filter.push(Bytes::copy_from_slice(part), &mut |bytes| {
            passed.extend_from_slice(&bytes)
        });
    }
    filter.finish(&mut |bytes| passed.extend_from_slice(&bytes));
    passed
}

/// Whole, and in small pieces.
fn filter_all(stream: &str) -> String {
    let whole = filter(&[stream.as_bytes()]);
    for size in [1, 2, 5, 50] {
        assert_eq!(filter(&stream.as_bytes().chunks(size).collect::<Vec<_>>()), whole);
    }
    String::from_utf8(whole).expect("text")
}

#[test]
fn one_event_is_taken_out() {
    let stream = format!("data: {CHUNK}\n\n: ping\n\ndata: {USAGE}\n\ndata: [DONE]\n\n");
    let without = format!("data: {CHUNK}\n\n: ping\n\ndata: [DONE]\n\n");
    for end in ["\n", "\r\n", "\r"] {
        assert_eq!(filter_all(&stream.replace('\n', end)), without.replace('\n', end));
    }
    assert_eq!(filter_all(&format!("data:{USAGE}\n\n")), "");
    assert_eq!(filter_all(&format!("data: {USAGE}\n")), "");
    assert_eq!(
        filter_all("data: {\"choices\":[],\ndata: \"usage\":{}}\n\ndata: x"),
        "data: x"
    );
}

#[test]
fn a_usage_of_null_is_cut_out() {
    let stream = format!(
        "data: {CHUNK}\n\ndata: {WITH_NULL}\n\ndata:{WITH_NULL}\n\n: ping\n\ndata: {USAGE}\n\ndata: {WITH_NULL}\n\ndata: [DONE]\n\n"
    );
    let without = format!(
        "data: {CHUNK}\n\ndata: {CHUNK}\n\ndata:{CHUNK}\n\n: ping\n\ndata: {CHUNK}\n\ndata: [DONE]\n\n"
    );
    for end in ["\n", "\r\n", "\r"] {
        assert_eq!(filter_all(&stream.replace('\n', end)), without.replace('\n', end));
    }
    assert_eq!(
        filter_all(&format!("data: {WITH_NULL}")),
        format!("data: {CHUNK}")
    );
    for (data, expected) in [
        (r#"{"choices":[],"usage":null}"#, r#"{"choices":[]}"#),
        (
            r#"{"choices":[] , "usage" : null , "obfuscation":"x"}"#,
            r#"{"choices":[]  , "obfuscation":"x"}"#,
        ),
        (
            r#"{"a":{"b":1,"usage":null},"usage":null}"#,
            r#"{"a":{"b":1,"usage":null}}"#,
        ),
        (
            r#"{"a":"\",\"usage\":null","usage":null}"#,
            r#"{"a":"\",\"usage\":null"}"#,
        ),
    ] {
        assert_eq!(
            filter_all(&format!("data: {data}\n\n")),
            format!("data: {expected}\n\n")
        );
    }
}

#[test]
fn all_else_stays() {
    for data in [
        CHUNK,
        r#"{"usage":null}"#,
        r#"{"usage":null,"choices":[]}"#,
        r#"{"x":1,"usage":null"#,
        r#"{"x":1,"usage":null}}"#,
        r#"{"x":{"y":1,"usage":null}}"#,
        r#"{"x":"a,\"usage\":null"}"#,
        r#"[1,"usage",null]"#,
        r#"{"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[],"prompt_filter_results":[{}]}"#,
        r#"{"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[],"usage":{},"error":{"message":"no"}}"#,
        r#"{"choices":[],"usage":{}"#,
        r#"{"choices":[],"usage":{}}}"#,
        r#"{"x":{"choices":[],"usage":{}}}"#,
        "[DONE]",
    ] {
        for stream in [
            format!("data: {data}\n\n"),
            format!("event: x\r\ndata:{data}\r\n\r\n"),
            format!("data: {data}"),
        ] {
            assert_eq!(filter_all(&stream), stream);
        }
    }
}

#[test]
fn whole_events_pass_at_once_and_uncopied() {
    let mut filter = UsageEventFilter::new();
    let events = Bytes::from(format!("data: {CHUNK}\n\ndata: {CHUNK}\n\n"));
    let mut passed = Vec::new();
    filter.push(events.clone(), &mut |bytes| passed.push(bytes));
    assert_eq!(passed, std::slice::from_ref(&events));
    assert_eq!(passed[0].as_ptr(), events.as_ptr());
    // only the part of an event waits
    passed.clear();
    let cut = Bytes::from(format!("data: {CHUNK}\n\ndata: {{\"cho"));
    filter.push(cut.clone(), &mut |bytes| passed.push(bytes));
    assert_eq!(passed, [cut.slice(..cut.len() - 11)]);
    assert_eq!(passed[0].as_ptr(), cut.as_ptr());
}

/// It is there so that the client does not give up waiting for what comes next.
#[test]
fn a_comment_does_not_wait_for_an_empty_line() {
    for pieces in [
        &[": ping\n"][..],
        &["data: x\r\r", ": pi", "ng\r", "\n", ":\r\n"],
        &["data: x\n\n: ping\n"],
    ] {
        let mut filter = UsageEventFilter::new();
        let mut passed = Vec::new();
        for piece in pieces {
            filter.push(Bytes::from_static(piece.as_bytes()), &mut |bytes| {
                passed.extend_from_slice(&bytes)
            });
        }
        assert_eq!(String::from_utf8_lossy(&passed), pieces.concat());
    }
    // The event that it stands before is taken out all the same, and what was cut out of one is.
    assert_eq!(
        filter_all(&format!(
            ": ping\r\ndata: {WITH_NULL}\r\n\r\n: ping\r\ndata: {USAGE}\r\n\r\n"
        )),
        format!(": ping\r\ndata: {CHUNK}\r\n\r\n: ping\r\n")
    );
}

#[test]
fn a_long_event_passes() {
    for (padding, stripped) in [(EVENT_LIMIT / 2, true), (EVENT_LIMIT, false)] {
        let event = format!(
            "data: {{\"choices\":[],\"usage\":{{}},\"x\":\"{}\"}}\n\n",
            "x".repeat(padding)
        );
        let stream = format!("{event}data: {USAGE}\n\ndata: [DONE]\n\n");
        let expected = if stripped { String::new() } else { event } + "data: [DONE]\n\n";
        for size in [1000, 100_000, stream.len()] {
            assert!(filter(&stream.as_bytes().chunks(size).collect::<Vec<_>>()) == expected.as_bytes());
        }
    }
    // and does not wait for its end
    let mut filter = UsageEventFilter::new();
    let mut passed = 0;
    for _ in 0..100 {
        filter.push(Bytes::from(vec![b'x'; 10_000]), &mut |bytes| {
            passed += bytes.len()
        });
        assert!(filter.held.len() <= EVENT_LIMIT);
    }
    assert_eq!(passed, 1_000_000);
}

proptest! {
    #[test]
    fn any_split_passes_the_same(stream in prop_oneof![stream_text(), prop::collection::vec(any::<u8>(), 0..100)], cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let whole = filter(&[&stream]);
        prop_assert!(whole.len() <= stream.len());
        prop_assert_eq!(&whole, &filter(&pieces(&stream, &cuts)));
        prop_assert_eq!(&whole, &filter(&stream.chunks(1).collect::<Vec<_>>()));
    }

    #[test]
    fn a_cut_leaves_all_else_of_the_object(before in prop::collection::vec(json_text(), 1..4), after in prop::collection::vec(json_text(), 0..3), spaces in (space(), space(), space())) {
        let members = |values: &[String], name: &str| -> Vec<String> {
            values.iter().enumerate().map(|(number, value)| format!("\"{name}{number}\":{value}")).collect()
        };
        let usage = format!("\"usage\"{}:{}null{}", spaces.0, spaces.1, spaces.2);
        let (before, after) = (members(&before, "before"), members(&after, "after"));
        let line = |members: Vec<String>| format!("data: {{{}}}\n\n", members.join(",").replace(['\n', '\r'], " "));
        let sent = line([&before[..], &[usage], &after].concat());
        let passed = String::from_utf8(filter(&[sent.as_bytes()])).expect("text");
        let read = |event: &str| -> serde_json::Value { serde_json::from_str(&event["data: ".len()..]).expect("JSON") };
        if after.concat().contains("\"usage\"") {
            prop_assert_eq!(passed, sent, "only the last is looked at");
        } else {
            prop_assert_eq!(read(&passed), read(&line([before, after].concat())));
        }
    }
}

use bytes::Bytes;
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::{EVENT_LIMIT, UsageEventFilter};
use crate::testing::{pieces, stream_text};

const CHUNK: &str = r#"{"id":"1","choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":null}"#;
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
fn all_else_stays() {
    for data in [
        CHUNK,
        r#"{"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[],"prompt_filter_results":[{}]}"#,
        r#"{"choices":[],"usage":null}"#,
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
}

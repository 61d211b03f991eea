//! What property tests share: documents to scan and ways to cut them up.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::sample::Index;

/// `bytes` cut at some places.
pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut from = 0;
    cuts.into_iter()
        .map(|to| &bytes[std::mem::replace(&mut from, to)..to])
        .collect()
}

/// A JSON string with its quotes, often one of the keys that matter.
fn string_text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec![
            "model", "usage", "response", "message", "options", "include", "choices", "stream", "stream_options", "include_usage",
            "error", "type", "prompt_tokens", "x_groq",
        ])
        .prop_map(|name| format!("\"{name}\"")),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).expect("a string")),
        1 => Just(r#""\u0075sage \\\" {[""#.to_owned()),
    ]
}

/// Whitespace between tokens.
pub(crate) fn space() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "[ \t\r\n]{0,3}"]
}

/// A JSON document with odd whitespace, repeated keys, escapes.
pub(crate) fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        (0u32..1000).prop_map(|number| number.to_string()),
        (-1e9f64..1e9).prop_map(|number| format!("{number:e}")),
        string_text(),
    ];
    let value = leaf.prop_recursive(5, 40, 6, |inner| {
        let element = (space(), inner.clone(), space())
            .prop_map(|(before, value, after)| before + &value + &after)
            .boxed();
        let member = (space(), string_text(), space(), element.clone())
            .prop_map(|(before, key, after, value)| format!("{before}{key}{after}:{value}"));
        prop_oneof![
            (space(), prop::collection::vec(element, 0..6)).prop_map(|(space, elements)| {
                match elements.is_empty() {
                    true => format!("[{space}]"),
                    false => format!("[{}]", elements.join(",")),
                }
            }),
            (space(), prop::collection::vec(member, 0..6)).prop_map(|(space, members)| {
                match members.is_empty() {
                    true => format!("{{{space}}}"),
                    false => format!("{{{}}}", members.join(",")),
                }
            }),
        ]
    });
    (space(), value, space()).prop_map(|(before, value, after)| before + &value + &after)
}

/// The data of an event as providers send it, or nearly.
fn event_data() -> impl Strategy<Value = String> {
    let usage = prop_oneof![
        Just("null".to_owned()),
        (0u32..99, 0u32..99).prop_map(|(input, output)| format!(
            r#"{{"prompt_tokens":{input},"completion_tokens":{output},"input_tokens":{input},"output_tokens":{output}}}"#
        )),
        json_text(),
    ];
    let choices = prop::sample::select(vec![
        "[]",
        "[ ]",
        "[{\"delta\":{\"content\":\"\\\"usage\\\":1\"}}]",
        "null",
    ]);
    let kind = prop::sample::select(vec![
        "response.output_text.delta",
        "response.created",
        "response.completed",
        "response.failed",
        "message_start",
        "message_delta",
        "message_stop",
        "error",
    ]);
    prop_oneof![
        4 => (choices, usage.clone(), space())
            .prop_map(|(choices, usage, a)| format!(r#"{{"model":"m"{a},"choices":{choices}{a},"usage"{a}:{a}{usage}}}"#)),
        4 => (kind, usage.clone(), prop::sample::select(vec!["response", "message", "x_groq", "delta"]))
            .prop_map(|(kind, usage, within)| format!(r#"{{"type":"{kind}","{within}":{{"model":"n","usage":{usage}}}}}"#)),
        2 => usage.prop_map(|usage| format!(r#"{{"usage":{usage},"error":null}}"#)),
        1 => Just(r#"{"choices":[],"error":{"code":502,"message":"gone"}}"#.to_owned()),
        1 => Just("[DONE]".to_owned()),
        1 => json_text(),
        1 => "[ -~]{0,20}",
    ]
    // within a stream a line end would end the data
    .prop_map(|data| data.replace(['\n', '\r'], " "))
}

/// A stream of events with every kind of line and line end, sometimes cut short.
pub(crate) fn stream_text() -> impl Strategy<Value = Vec<u8>> {
    let end = || prop_oneof![3 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r")];
    let line = prop_oneof![
        6 => event_data().prop_map(|data| format!("data: {data}")),
        2 => event_data().prop_map(|data| format!("data:{data}")),
        1 => Just("data".to_owned()),
        1 => Just(": keep-alive".to_owned()),
        1 => Just("event: message_stop".to_owned()),
        1 => "[ -~]{0,12}",
    ];
    let lines = prop::collection::vec((line, end(), prop_oneof![4 => end(), 1 => Just("")]), 0..8);
    (
        prop_oneof![4 => Just(""), 1 => Just("\u{feff}")],
        lines,
        0usize..12,
    )
        .prop_map(|(mark, lines, cut)| {
            let mut stream = mark.to_owned();
            for (line, end, blank) in lines {
                stream.extend([line.as_str(), end, blank]);
            }
            let mut bytes = stream.into_bytes();
            bytes.truncate(bytes.len() - if cut < 6 { cut.min(bytes.len()) } else { 0 });
            bytes
        })
}

use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use serde_json::Value;

use super::{Found, JsonScan, Kind, Path};
use crate::testing::{json_text, pieces};

const PATHS: &[Path] = &[
    Path {
        keys: &["model"],
        capture: true,
    },
    Path {
        keys: &["usage"],
        capture: true,
    },
    Path {
        keys: &["response", "usage"],
        capture: true,
    },
    Path {
        keys: &["options"],
        capture: false,
    },
    Path {
        keys: &["options", "include"],
        capture: true,
    },
    Path {
        keys: &["choices"],
        capture: false,
    },
];

type Seen = (usize, Kind, u64, u64, Option<Vec<u8>>);

fn scan(parts: &[&[u8]]) -> (Vec<Seen>, bool, bool) {
    let mut scan = JsonScan::new(PATHS).with_lenient_keys();
    let mut seen = Vec::new();
    for part in parts {
        scan.push(part, &mut |Found {
                                  path,
                                  kind,
                                  start,
                                  end,
                                  bytes,
                              }| {
            seen.push((path, kind, start, end, bytes.map(<[u8]>::to_vec)));
        });
    }
    (seen, scan.is_complete(), scan.is_broken())
}

#[test]
fn values_at_paths() {
    let text = br#" {"a":[{"model":"no"}],"model" : "gpt","choices":[ ],"options":{"include":true,"x":{}},"response":{"usage":{"n":[1,{}]}},"usage":null}"#;
    let (seen, complete, _) = scan(&[text]);
    assert!(complete);
    let found: Vec<_> = seen.iter().map(|(path, kind, ..)| (*path, *kind)).collect();
    assert_eq!(
        found,
        [
            (0, Kind::String),
            (5, Kind::Array { empty: true }),
            (4, Kind::True),
            (3, Kind::Object { empty: false }),
            (2, Kind::Object { empty: false }),
            (1, Kind::Null),
        ]
    );
    for (path, _, start, end, bytes) in seen {
        assert_eq!(bytes.is_some(), PATHS[path].capture);
        if let Some(bytes) = bytes {
            assert_eq!(&text[start as usize..end as usize], bytes);
        }
    }
}

#[test]
fn keys_are_compared_as_meant() {
    assert_eq!(scan(&[br#"{"mod\u0065l":1}"#]).0.len(), 1);
    assert_eq!(scan(&[br#"{"mod\"el":1}"#]).0.len(), 0);
    let long = format!("{{\"{}\":1,\"model\":2}}", "m".repeat(10_000));
    assert_eq!(scan(&[long.as_bytes()]).0.len(), 1);
    assert_eq!(scan(&long.as_bytes().chunks(7).collect::<Vec<_>>()).0.len(), 1);
}

#[test]
fn a_capture_is_bounded() {
    for (length, captured) in [
        (64 * 1024 - 2, true),
        (64 * 1024 - 1, false),
        (1024 * 1024, false),
    ] {
        let text = format!("{{\"model\":\"{}\"}}", "m".repeat(length));
        for size in [text.len(), 1000] {
            let (seen, complete, _) = scan(&text.as_bytes().chunks(size).collect::<Vec<_>>());
            assert!(complete);
            assert_eq!(seen[0].4.is_some(), captured, "{length} in {size}");
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let deep = |depth| [b"[".repeat(depth), b"]".repeat(depth)].concat();
    assert!(scan(&[&deep(512)]).1);
    assert!(scan(&[&deep(513)]).2);
}

#[test]
fn what_is_no_json_is_broken() {
    for text in [
        "}",
        "{]",
        "[}",
        "{,}",
        "[,]",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "[01]",
        "[1.]",
        "[-]",
        "[1e]",
        "[+1]",
        "[.5]",
        "nul ",
        "[True]",
        "{} x",
        "{}{}",
        "[1 2]",
        "{1:2}",
        "{'a':1}",
        "[\"a\"\"b\"]",
    ] {
        assert!(scan(&[text.as_bytes()]).2, "{text}");
    }
    for text in ["", " ", "{", "[1", "{\"a\":tru", "\"a"] {
        let (_, complete, broken) = scan(&[text.as_bytes()]);
        assert!(!complete && !broken, "{text}");
    }
}

/// Text that often looks like JSON and often is not.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"model\"", "\"usage\"", "\"response\"", "\"options\"", "\"include\"", "null", "true",
            "false", "0", "-1.5e3", " ", "\n", "\"\\\"\"", "\"\\u00e9\"", "\\", "\"",
        ])
        .prop_map(|token| token.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_split_finds_the_same(text in prop_oneof![json_text().prop_map(String::into_bytes), nearly_json(), prop::collection::vec(any::<u8>(), 0..200)], cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        prop_assert_eq!(scan(&[&text]), scan(&pieces(&text, &cuts)));
        prop_assert_eq!(scan(&[&text]), scan(&text.chunks(1).collect::<Vec<_>>()));
    }

    #[test]
    fn json_is_complete(text in json_text()) {
        let value: Value = serde_json::from_str(&text).expect("generated");
        let (_, complete, broken) = scan(&[text.as_bytes()]);
        prop_assert!(!broken);
        prop_assert!(complete || value.is_number());
    }

    #[test]
    fn what_is_complete_is_json(text in prop_oneof![nearly_json(), Just(Vec::new())]) {
        if scan(&[&text]).1 && text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            // save escapes within strings, which are not checked
            let plain: Vec<u8> = text.iter().map(|byte| if *byte == b'\\' { b'_' } else { *byte }).collect();
            if plain == text {
                prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok());
            }
        }
    }
}

//! Turns `prices/genai-prices.json` into a table of integers. What is odd about the data stops the build, not a request.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use serde_json::Value;

const DATA: &str = "prices/genai-prices.json";
/// The time of day that prices are taken for, where they depend on it: see prices/README.md.
const TIME: &str = "12:00";

fn main() {
    println!("cargo::rerun-if-changed={DATA}");
    println!("cargo::rerun-if-changed=build.rs");
    let data: Value = serde_json::from_str(&fs::read_to_string(DATA).expect(DATA)).expect("JSON");
    let date = text(&data["in_force_on"]);
    let mut code = String::new();
    for (provider, models) in data["providers"].as_object().expect("providers") {
        let name = provider.replace('-', "_").to_uppercase();
        writeln!(code, "static {name}: &[Model] = &[").expect("memory");
        for model in models.as_array().expect("models") {
            let prices = in_force(&model["prices"], date);
            let prices = prices.map(table).unwrap_or_default();
            writeln!(
                code,
                "Model {{ matched: {}, prices: &[{prices}] }}, // {}",
                rule(&model["match"]),
                model["id"]
            )
            .expect("memory");
        }
        writeln!(code, "];").expect("memory");
    }
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("prices.rs"), code).expect("OUT_DIR can be written");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not text: {value}"))
}

/// The prices on `date`: the last whose constraint holds, else the first.
fn in_force<'a>(prices: &'a Value, date: &str) -> Option<&'a Value> {
    let prices = prices.as_array().expect("prices");
    let holds = |price: &&Value| {
        let price = price.as_object().expect("a price");
        price.iter().all(|(key, value)| match key.as_str() {
            "prices" => true,
            "start_date" => text(value) <= date,
            "start_time" => {
                let (start, end) = (text(value), text(&price["end_time"]));
                match end < start {
                    true => TIME >= start || TIME < end,
                    false => TIME >= start && TIME < end,
                }
            }
            "end_time" => true,
            _ => panic!("unknown constraint {key}"),
        })
    };
    prices
        .iter()
        .rev()
        .find(holds)
        .or(prices.first())
        .map(|price| &price["prices"])
}

/// The rows of one model.
fn table(prices: &Value) -> String {
    let mut rows = String::new();
    for (kind, price) in prices.as_object().expect("prices") {
        let kind = match kind.as_str() {
            "input" => "Input",
            "output" => "Output",
            "cache_read" => "CacheRead",
            "cache_write" => "CacheCreation",
            "cache_write_1h" => "CacheCreation1h",
            "input_audio" => "InputAudio",
            "output_audio" => "OutputAudio",
            "output_reasoning" => "Reasoning",
            // the usage that is read does not tell these apart
            "input_image" | "output_image" | "cache_image_read" | "cache_audio_read" => continue,
            _ => panic!("unknown price {kind}"),
        };
        let (base, tiers) = match price {
            Value::Object(price) => (
                &price["base"],
                price["tiers"].as_array().expect("tiers").as_slice(),
            ),
            base => (base, [].as_slice()),
        };
        let tiers: String = tiers
            .iter()
            .map(|tier| format!("({}, {}),", tier["start"], nano(&tier["price"])))
            .collect();
        write!(
            rows,
            "Price {{ kind: Kind::{kind}, base: {}, tiers: &[{tiers}] }},",
            nano(base)
        )
        .expect("memory");
    }
    rows
}

/// USD as a decimal → nano-USD.
fn nano(price: &Value) -> u64 {
    let (whole, fraction) = text(price).split_once('.').unwrap_or((text(price), ""));
    // Some prices are the quotient of a division and have more digits than money has.
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nano: u64 = format!("{whole}{digits}")
        .parse()
        .unwrap_or_else(|_| panic!("not a price: {price}"));
    nano + u64::from(fraction.as_bytes().get(9).is_some_and(|digit| *digit >= b'5'))
}

fn rule(rule: &Value) -> String {
    let (name, value) = rule.as_object().expect("a rule").iter().next().expect("a rule");
    let word = || format!("{:?}", text(value).to_lowercase());
    match name.as_str() {
        "equals" => format!("Match::Equals({})", word()),
        "starts_with" => format!("Match::StartsWith({})", word()),
        "ends_with" => format!("Match::EndsWith({})", word()),
        "contains" => format!("Match::Contains({})", word()),
        "regex" => format!("Match::Glyphs(&[{}])", glyphs(text(value))),
        "or" | "and" => {
            let rules: Vec<String> = value.as_array().expect("rules").iter().map(self::rule).collect();
            format!(
                "Match::{}(&[{}])",
                if name == "or" { "Any" } else { "All" },
                rules.join(",")
            )
        }
        _ => panic!("unknown rule {name}"),
    }
}

/// The few regular expressions in the data all tell a name with a date behind it. They need no engine.
fn glyphs(pattern: &str) -> String {
    let unknown = || -> ! { panic!("a regular expression that build.rs does not know: {pattern}") };
    let Some(mut rest) = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')) else {
        unknown()
    };
    let mut glyphs = String::new();
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix(r"\d{") {
            let (count, after) = after.split_once('}').unwrap_or_else(|| unknown());
            for _ in 0..count.parse().unwrap_or_else(|_| unknown()) {
                glyphs.push_str("Glyph::Digit,");
            }
            rest = after;
        } else if let Some(after) = rest.strip_prefix("[-@]") {
            glyphs.push_str("Glyph::OneOf(b\"-@\"),");
            rest = after;
        } else if let Some(after) = rest.strip_prefix(r"\.") {
            glyphs.push_str("Glyph::Is(b'.'),");
            rest = after;
        } else if first.is_ascii_lowercase() || first.is_ascii_digit() || "-/_:".contains(first) {
            write!(glyphs, "Glyph::Is(b'{first}'),").expect("memory");
            rest = &rest[1..];
        } else {
            unknown();
        }
    }
    glyphs
}

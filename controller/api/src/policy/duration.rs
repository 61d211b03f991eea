//! Durations as Gateway API writes them.

use std::time::Duration;

/// A duration of GEP-2257: one to four numbers of at most five digits, each with its unit, such as `1m30s`.
///
/// # Errors
/// Why it is none, to go after the text itself. Nothing is no duration to wait: a limit of 0 is refused rather than read as "none" or "at once".
pub fn parse(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "is not a duration: write one such as `10s`, `1m30s` or `500ms`";
    let mut milliseconds: u64 = 0;
    let mut rest = text;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(FORM),
        };
        parts += 1;
        if digits == 0 || digits > 5 || parts > 4 {
            return Err(FORM);
        }
        milliseconds += number.parse::<u64>().map_err(|_| FORM)? * unit;
        rest = after;
    }
    match milliseconds {
        0 if parts == 0 => Err(FORM),
        0 => Err("is no time at all: leave the field out to wait as long as by default"),
        _ => Ok(Duration::from_millis(milliseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_gateway_api_writes_them() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1s1s1s1ms", 3_001),
            ("99999h", 359_996_400_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "10 s",
            "1d",
            "10S",
            "100000s",
            "1s1s1s1s1s",
            "0s",
            "0h0m",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

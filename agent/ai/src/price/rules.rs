//! The rules by which the price data matches the names of models. Names and words are lower-case.

/// A rule.
pub(super) enum Match {
    Equals(&'static str),
    StartsWith(&'static str),
    #[allow(
        dead_code,
        reason = "a rule of the format, which the data of today does not use"
    )]
    EndsWith(&'static str),
    Contains(&'static str),
    Any(&'static [Self]),
    #[allow(
        dead_code,
        reason = "a rule of the format, which the data of today does not use"
    )]
    All(&'static [Self]),
    /// The whole name, byte for byte.
    Glyphs(&'static [Glyph]),
}

/// What a byte must be.
pub(super) enum Glyph {
    Is(u8),
    OneOf(&'static [u8]),
    Digit,
}

impl Match {
    pub(super) fn is_match(&self, name: &str) -> bool {
        match self {
            Self::Equals(word) => name == *word,
            Self::StartsWith(word) => name.starts_with(word),
            Self::EndsWith(word) => name.ends_with(word),
            Self::Contains(word) => name.contains(word),
            Self::Any(rules) => rules.iter().any(|rule| rule.is_match(name)),
            Self::All(rules) => rules.iter().all(|rule| rule.is_match(name)),
            Self::Glyphs(glyphs) => {
                glyphs.len() == name.len()
                    && glyphs
                        .iter()
                        .zip(name.bytes())
                        .all(|(glyph, byte)| glyph.is_match(byte))
            }
        }
    }
}

impl Glyph {
    fn is_match(&self, byte: u8) -> bool {
        match self {
            Self::Is(is) => *is == byte,
            Self::OneOf(bytes) => bytes.contains(&byte),
            Self::Digit => byte.is_ascii_digit(),
        }
    }
}

/// `gpt-5.2-20251211` → `gpt-5.2-2025-12-11`, as OpenRouter writes names and the data does not; also before a `-` or
/// `:`. `None` where there is no such date.
pub(super) fn normalise_date(name: &str) -> Option<String> {
    for (at, _) in name.match_indices("-20") {
        let Some(date) = name.get(at + 1..at + 9) else {
            break;
        };
        let after = name.as_bytes().get(at + 9);
        let (Ok(month), Ok(day)) = (date[4..6].parse::<u8>(), date[6..8].parse::<u8>()) else {
            continue;
        };
        if date.bytes().all(|byte| byte.is_ascii_digit())
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && matches!(after, None | Some(b'-' | b':'))
        {
            let (year, month, day) = (&date[..4], &date[4..6], &date[6..]);
            return Some(format!(
                "{}{year}-{month}-{day}{}",
                &name[..at + 1],
                &name[at + 9..]
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Glyph, Match, normalise_date};

    #[test]
    fn each_rule() {
        const A: Match = Match::StartsWith("a");
        const Z: Match = Match::EndsWith("z");
        for (rule, yes, no) in [
            (Match::Equals("a"), "a", "ab"),
            (A, "ab", "ba"),
            (Z, "az", "za"),
            (Match::Contains("b"), "abc", "ac"),
            (Match::Any(&[A, Z]), "xz", "xy"),
            (Match::All(&[A, Z]), "a-z", "a-y"),
            (
                Match::Glyphs(&[Glyph::Is(b'a'), Glyph::OneOf(b"-@"), Glyph::Digit]),
                "a@7",
                "a@7x",
            ),
        ] {
            assert!(rule.is_match(yes) && !rule.is_match(no), "{yes} {no}");
        }
    }

    #[test]
    fn compact_dates() {
        for (name, normal) in [
            ("gpt-5.2-20251211", Some("gpt-5.2-2025-12-11")),
            (
                "openai/gpt-5.2-20251211:free",
                Some("openai/gpt-5.2-2025-12-11:free"),
            ),
            ("gpt-5.2-20251311", None),
            ("gpt-5.2-202512111", None),
            ("gpt-5.2-2025-12-11", None),
            ("gpt-20é5", None),
            ("-20", None),
        ] {
            assert_eq!(normalise_date(name).as_deref(), normal);
        }
    }
}

//! Patterns of models' names.

use std::fmt;

/// A pattern in which `*` stands for any letters, also none; all else stands for itself, in capitals or not: providers differ in whether capitals
/// matter in a model's name, and what is denied must not be had by writing it differently.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Glob(String);

impl Glob {
    /// The pattern.
    ///
    /// # Errors
    /// Why it cannot be one, to go after the pattern itself.
    pub fn new(pattern: &str) -> Result<Self, &'static str> {
        if pattern.is_empty() {
            return Err("is empty: write a model's name, or a pattern such as `gpt-4o*`");
        }
        if !pattern.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a space, or a character that is not ASCII, in it: no model is named so");
        }
        Ok(Self(pattern.to_owned()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole of `name` matches. Takes at most the product of both lengths in steps, and does not allocate.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut from) = (0, 0);
        // The last `*`, and from where on it was last tried to end: a mismatch lets it stand for one letter more. Only the last one matters.
        let mut star: Option<(usize, usize)> = None;
        while from < name.len() {
            match (pattern.get(at), star) {
                (Some(b'*'), _) => {
                    star = Some((at, from));
                    at += 1;
                }
                (Some(letter), _) if letter.eq_ignore_ascii_case(&name[from]) => {
                    at += 1;
                    from += 1;
                }
                (_, Some((star_at, ended))) => {
                    star = Some((star_at, ended + 1));
                    at = star_at + 1;
                    from = ended + 1;
                }
                (_, None) => return false,
            }
        }
        pattern[at..].iter().all(|letter| *letter == b'*')
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test it is an assertion
mod tests {
    use proptest::prelude::*;

    use super::Glob;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, matches) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "GPT-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-4o", "my-gpt-4o", false),
            ("gpt-4o*", "gpt-4o", true),
            ("gpt-4o*", "gpt-4o-mini", true),
            ("*", "", true),
            ("*", "anything/at:all", true),
            ("*mini*", "gpt-4o-mini-2024", true),
            ("a*b*c", "abbbcbc", true),
            ("a*b*c", "abbbcb", false),
            ("claude-*-4?", "claude-opus-4x", false),
            ("a.c", "abc", false),
            ("gpt-4o", "", false),
        ] {
            assert_eq!(
                Glob::new(pattern).unwrap().matches(name),
                matches,
                "{pattern} {name}"
            );
        }
        for bad in ["", "a b", "é", "a\n"] {
            assert!(Glob::new(bad).is_err(), "{bad}");
        }
    }

    /// As one would define it, and as slowly.
    fn defined(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|from| defined(rest, &name[from..])),
            ([a, pattern @ ..], [b, name @ ..]) => a.eq_ignore_ascii_case(b) && defined(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn matching_is_what_is_defined(pattern in "[abB*]{1,8}", name in "[abA]{0,10}") {
            let glob = Glob::new(&pattern).unwrap();
            prop_assert_eq!(glob.matches(&name), defined(pattern.as_bytes(), name.as_bytes()));
        }
    }
}

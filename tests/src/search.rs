//! A search of what programs say for secrets: as they are, and as base64 has them, also in the midst of something longer.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// How every private key is headed in PEM (RFC 7468 §10 and §13, and the forms before it).
const HEADING: &str = "PRIVATE KEY-----";
/// What every key of the curve P-256, of which Weir's are, has in DER, public ones too (RFC 5480 §2.1.1).
const P256: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
/// What follows in private ones (RFC 5958 §2, RFC 5915 §3): with the public key beside it, and without.
const PRIVATE: [[u8; 9]; 2] = [
    [0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20],
    [0x04, 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04, 0x20],
];
/// What is shorter is found everywhere.
const SHORTEST: usize = 8;

/// What nobody may say.
pub struct Secrets(Vec<Form>);

/// A secret in one of the ways in which it can be said.
struct Form {
    name: String,
    text: String,
}

/// Where one stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// Which it is.
    pub secret: &'a str,
    /// The line that has it.
    pub line: &'a str,
}

impl Secrets {
    /// Private keys of any owner.
    pub fn private_keys() -> Self {
        const NAME: &str = "a private key";
        let mut secrets = Self(Vec::new()).with(NAME, HEADING.as_bytes());
        for private in PRIVATE {
            let bytes = [P256.as_slice(), &private].concat();
            // As Rust's `Debug` has bytes.
            let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
            secrets = secrets
                .with(NAME, &bytes)
                .with(NAME, numbers.join(", ").as_bytes());
        }
        secrets
    }

    /// And this one.
    ///
    /// # Panics
    /// If it is so short that it could stand anywhere.
    #[must_use]
    pub fn with(mut self, name: &str, value: &[u8]) -> Self {
        assert!(value.len() >= SHORTEST, "{name} is too short to be looked for");
        let plain = std::str::from_utf8(value).ok().map(str::to_owned);
        let texts = plain.into_iter().chain(encoded(value));
        self.0.extend(texts.map(|text| Form {
            name: name.to_owned(),
            text,
        }));
        self
    }

    /// Those that a text has, each with its line. Base64 that is broken into lines is not seen.
    pub fn told_by<'a>(&'a self, text: &'a str) -> Vec<Told<'a>> {
        let forms = self.0.iter().filter(|form| text.contains(&form.text));
        forms
            .flat_map(|form| {
                let lines = text.lines().filter(|line| line.contains(&form.text));
                lines.map(|line| Told {
                    secret: &form.name,
                    line,
                })
            })
            .collect()
    }
}

/// What base64 has of it for certain, whatever stands before and after it: three bytes are four characters, so there are three ways.
fn encoded(value: &[u8]) -> impl Iterator<Item = String> {
    [STANDARD_NO_PAD, URL_SAFE_NO_PAD]
        .into_iter()
        .flat_map(move |code| {
            (0..3_usize).map(move |before| {
                let mut bytes = vec![0; before];
                bytes.extend_from_slice(value);
                let (begin, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
                code.encode(bytes)[begin..end].to_owned()
            })
        })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use rcgen::KeyPair;

    use super::Secrets;

    const KEY: &str = "sk-planted-0123456789";

    #[track_caller]
    fn is_told(secrets: &Secrets, secret: &str, line: &str) {
        let text = format!("before\n{line}\nafter\n");
        let told = secrets.told_by(&text);
        assert!(!told.is_empty(), "{line}");
        assert!(
            told.iter().all(|told| told.secret == secret && told.line == line),
            "{told:?}"
        );
    }

    #[test]
    fn a_planted_key_is_found_in_any_form() {
        let secrets = Secrets::private_keys().with("the key", KEY.as_bytes());
        is_told(&secrets, "the key", KEY);
        is_told(
            &secrets,
            "the key",
            &format!(r#"{{"authorization":"Bearer {KEY}"}}"#),
        );
        for before in ["", "a", "Bearer ", "apiKey: "] {
            let value = format!("{before}{KEY}, and more");
            is_told(&secrets, "the key", &format!("data: {}", STANDARD.encode(&value)));
            is_told(&secrets, "the key", &URL_SAFE.encode(&value));
        }
        assert_eq!(secrets.told_by("sk-planted-0123456788 is another"), []);
    }

    #[test]
    fn planted_private_keys_are_found_and_public_ones_are_not() {
        let secrets = Secrets::private_keys();
        let key = KeyPair::generate().unwrap();
        let (pem, der) = (key.serialize_pem(), key.serialize_der());
        let name = "a private key";
        is_told(&secrets, name, "-----BEGIN EC PRIVATE KEY-----");
        is_told(&secrets, name, &format!("{pem:?}"));
        is_told(&secrets, name, &STANDARD.encode(&pem));
        for before in ["", "1", "12"] {
            let bytes = [before.as_bytes(), &der].concat();
            is_told(&secrets, name, &STANDARD.encode(&bytes));
            is_told(&secrets, name, &format!("{bytes:?}"));
        }
        let certificate = rcgen::CertificateParams::new(["shop.example".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        assert_eq!(secrets.told_by(&certificate.pem()), []);
        for before in ["", "1", "12"] {
            let bytes = [before.as_bytes(), certificate.der()].concat();
            let public = format!("{} {bytes:?}", STANDARD.encode(&bytes));
            assert_eq!(secrets.told_by(&public), []);
        }
        assert_eq!(secrets.told_by(&key.public_key_pem()), []);
    }
}

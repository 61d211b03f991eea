//! The wire formats that providers speak, as far as they differ in how a caller is known and errors are told.

use http::header::{AUTHORIZATION, HeaderName, HeaderValue, InvalidHeaderValue};

/// A wire format: how errors are written and where the credential goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Dialect {
    /// OpenAI's, which most other providers follow.
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

/// Where a dialect's credential goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CredentialHeader {
    /// The header that carries it.
    pub name: HeaderName,
    /// What stands before the bare key in its value: `"Bearer "` or nothing.
    pub prefix: &'static str,
    /// Other headers in which a caller may have put a credential (or a placeholder for one): to be dropped
    /// wherever a key is injected, or the provider would see two callers.
    pub others: &'static [HeaderName],
}

impl CredentialHeader {
    /// The header's value for a bare key, marked sensitive.
    ///
    /// # Errors
    /// Where the key has a byte that no header value may have, such as a line break.
    pub fn value(&self, key: &str) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::try_from(format!("{}{key}", self.prefix))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const API_KEY: HeaderName = HeaderName::from_static("api-key");
static BESIDE_AUTHORIZATION: [HeaderName; 2] = [X_API_KEY, API_KEY];
static BESIDE_X_API_KEY: [HeaderName; 2] = [AUTHORIZATION, API_KEY];

impl Dialect {
    /// Where the credential goes.
    pub fn credential_header(self) -> CredentialHeader {
        match self {
            Self::OpenAi => CredentialHeader {
                name: AUTHORIZATION,
                prefix: "Bearer ",
                others: &BESIDE_AUTHORIZATION,
            },
            Self::Anthropic => CredentialHeader {
                name: X_API_KEY,
                prefix: "",
                others: &BESIDE_X_API_KEY,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_sensitive_and_in_one_place() {
        for (dialect, name, value) in [
            (Dialect::OpenAi, "authorization", "Bearer k"),
            (Dialect::Anthropic, "x-api-key", "k"),
        ] {
            let header = dialect.credential_header();
            assert_eq!(header.name, name);
            let written = header.value("k").expect("a plain key");
            assert_eq!(written, value);
            assert!(written.is_sensitive());
            assert!(!header.others.contains(&header.name));
            assert!(header.value("k\r\nhost: other").is_err());
        }
    }
}

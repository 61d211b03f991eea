//! A Secret's values: from text and environment to a provider's key. Keys are wrapped from the moment that they are read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use zeroize::Zeroizing;

/// Asks for an environment variable.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A value of `data`. The error is the mend, and never has the value in it.
pub(crate) fn from_base64(text: &str) -> Result<SecretSlice<u8>, String> {
    // As Kubernetes does, line breaks are ignored: `base64` without -w0 writes them.
    let text = Zeroizing::new(text.split_ascii_whitespace().collect::<String>());
    match STANDARD.decode(text.as_bytes()) {
        Ok(bytes) => Ok(bytes.into()),
        Err(_) => Err("is not base64: encode it, or write it as it is under `stringData`".to_owned()),
    }
}

/// A value of `stringData`: `${NAME}` is replaced by the environment variable, `$${` stands for `${`.
/// A variable's own text is taken as it is. All that is wrong is told, not only the first.
pub(crate) fn from_text(text: &str, environment: Environment<'_>) -> Result<SecretSlice<u8>, Vec<String>> {
    let mut value = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            value.extend_from_slice(before.as_bytes());
            value.extend_from_slice(b"${");
            rest = after;
            continue;
        }
        value.extend_from_slice(before.as_bytes());
        let length = after
            .bytes()
            .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            .count();
        let name = &after[..length];
        // What stands there instead of a name may be part of a key: it is not repeated.
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || !after[length..].starts_with('}')
        {
            problems.push(
                "`${` must be followed by a variable's name and `}`; for `${` itself write `$${`".to_owned(),
            );
            rest = after;
            continue;
        }
        match environment(name).map(Zeroizing::new) {
            None => problems.push(format!(
                "the environment variable {name} is not set: set it (`export {name}=…`; under sudo, `sudo --preserve-env={name}`)"
            )),
            Some(text) if text.is_empty() => problems.push(format!("the environment variable {name} is empty")),
            Some(text) => value.extend_from_slice(text.as_bytes()),
        }
        rest = &after[length + 1..];
    }
    value.extend_from_slice(rest.as_bytes());
    if problems.is_empty() {
        Ok(std::mem::take(&mut *value).into())
    } else {
        Err(problems)
    }
}

/// The keys of a Secret that may hold a provider's key.
pub(crate) const PROVIDER_KEYS: [&str; 2] = ["Authorization", "apiKey"];

/// A provider's key out of a Secret's value at `name`: without the trailing line break that `echo` and editors leave,
/// and, of `Authorization`, without "Bearer ". The error never has the value in it.
pub(crate) fn provider_key(name: &str, value: &SecretSlice<u8>) -> Result<SecretString, String> {
    let mut bytes = value.expose_secret();
    while let [rest @ .., b'\n' | b'\r'] = bytes {
        bytes = rest;
    }
    if name == "Authorization"
        && let Some((scheme, key)) = bytes.split_at_checked(7)
        && scheme.eq_ignore_ascii_case(b"Bearer ")
    {
        bytes = key;
    }
    let wrong = |what: &str| Err(format!("{what}: a provider's key is one word of visible ASCII"));
    match std::str::from_utf8(bytes) {
        _ if bytes.is_empty() => Err("is empty: put the provider's key there".to_owned()),
        _ if bytes.iter().any(u8::is_ascii_control) => {
            wrong("has a control character, such as a line break, in it")
        }
        _ if bytes.contains(&b' ') => wrong("has a space in it"),
        Ok(key) if key.is_ascii() => Ok(SecretString::from(key)),
        _ => wrong("has a character in it that is not ASCII"),
    }
}

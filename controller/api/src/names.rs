//! Names: of hosts, of objects, of namespaces.

use std::net::IpAddr;

/// Why a name is not one; `None` if it is.
pub(crate) type Rule = fn(&str) -> Option<String>;

/// Why `name` cannot be the name of a host, with the mend; `None` if it can. Lower case, as it is looked up so.
pub(crate) fn host(name: &str) -> Option<String> {
    if name.contains("://") || name.contains('/') {
        return Some("is a URL: write the host's name alone, such as `api.openai.com`".to_owned());
    }
    if name.contains('*') {
        return Some("has a wildcard, which is not supported: write every host".to_owned());
    }
    if name.parse::<IpAddr>().is_ok() {
        return Some("is an address: apps are recognised by the name that they dial".to_owned());
    }
    if name.contains(':') {
        return Some("has a port: write the host's name alone".to_owned());
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(format!(
            "has capital letters: write `{}`",
            name.to_ascii_lowercase()
        ));
    }
    if name.ends_with('.') {
        return Some("ends with a dot: leave that out".to_owned());
    }
    subdomain(name).or_else(|| {
        // A label that TLS and URLs take for the end of an IPv4 address; the agent counts on names that TLS takes.
        let is_numeric = rustls_pki_types::DnsName::try_from(name).is_err();
        is_numeric.then(|| "is not a DNS name: its last part is a number".to_owned())
    })
}

/// Why `name` is no DNS name (RFC 1123 subdomain: a host, the prefix of a label); `None` if it is one.
pub(crate) fn subdomain(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".to_owned());
    }
    if name.len() > 253 {
        return Some("is longer than the 253 letters of a DNS name".to_owned());
    }
    name.split('.').find_map(label)
}

/// Why `name` is not the name of an object; `None` if it can be one: a DNS name whose parts may be of any length, as the
/// API server has it.
pub(crate) fn object(name: &str) -> Option<String> {
    let is_part = |part: &str| {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && part.bytes().all(known) && !part.starts_with('-') && !part.ends_with('-')
    };
    if name.len() <= 253 && name.split('.').all(is_part) {
        return None;
    }
    Some("is not the name of an object: lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit".to_owned())
}

/// Why `name` is no DNS label (RFC 1123: the names of namespaces); `None` if it is one.
pub(crate) fn label(name: &str) -> Option<String> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() {
        Some("is not a DNS name: a part of it is empty".to_owned())
    } else if name.len() > 63 {
        Some("is not a DNS name: a part of it is longer than 63 letters".to_owned())
    } else if !name.bytes().all(known) {
        Some("is not a DNS name: it may have lower-case letters, digits and `-`".to_owned())
    } else if name.starts_with('-') || name.ends_with('-') {
        Some("is not a DNS name: no part may begin or end with `-`".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn what_is_taken_for_a_host_is_a_name_to_tls() {
        for name in ["api.openai.com", "localhost", "123.example", "a-1.b2"] {
            assert_eq!(host(name), None, "{name}");
        }
        for name in [
            "host.123",
            "1.2.3",
            "host.0x1f",
            "host.0",
            "192.0.2.1",
            "a..b",
            "under_score.example",
        ] {
            assert!(host(name).is_some(), "{name}");
        }
    }
}

//! The host part of an authority (RFC 3986 §3.2).

/// `api.openai.com:443` → `api.openai.com`; `[::1]:443` → `[::1]`.
pub(crate) fn without_port(authority: &str) -> &str {
    let authority = authority.trim();
    match authority.rsplit_once(':') {
        // A colon inside the brackets of an IPv6 address is no port's.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !is_open_bracket(host) => {
            host
        }
        _ => authority,
    }
}

fn is_open_bracket(host: &str) -> bool {
    host.starts_with('[') && !host.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::without_port;

    #[test]
    fn the_port_goes_and_the_host_stays() {
        for (authority, host) in [
            ("api.openai.com", "api.openai.com"),
            ("api.openai.com:443", "api.openai.com"),
            ("api.openai.com:", "api.openai.com"),
            ("[2001:db8::1]:443", "[2001:db8::1]"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("", ""),
        ] {
            assert_eq!(without_port(authority), host);
        }
    }
}

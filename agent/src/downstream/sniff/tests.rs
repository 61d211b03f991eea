use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;

use super::{MOST_SNIFFED_BYTES, Sniffer, Verdict};

fn client_hello(server_name: &'static str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(server_name).expect("a test names a valid host");
    let mut client =
        rustls::ClientConnection::new(Arc::new(config), name).expect("the configuration is whole");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a vector takes any bytes");
    hello
}

/// The same handshake message in records of at most `size` bytes.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let message = &hello[5..];
    message
        .chunks(size)
        .flat_map(|chunk| {
            let length = u16::try_from(chunk.len())
                .expect("a record holds at most 16 KiB")
                .to_be_bytes();
            [&[0x16, 3, 1, length[0], length[1]], chunk].concat()
        })
        .collect()
}

fn server_name(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Tls(accepted) => accepted.client_hello().server_name().map(str::to_owned),
        _ => None,
    }
}

/// Gives the bytes piece by piece, as they would come off a socket, until there is a verdict.
fn sniff_in_pieces(bytes: &[u8], ends: impl IntoIterator<Item = usize>) -> Verdict {
    let mut sniffer = Sniffer::new();
    for end in ends.into_iter().chain([bytes.len()]) {
        match sniffer.verdict(&bytes[..end.min(bytes.len())]) {
            Verdict::More => {}
            verdict => return verdict,
        }
    }
    Verdict::More
}

#[test]
fn a_hello_byte_by_byte_names_its_host() {
    let hello = client_hello("api.openai.com");
    let verdict = sniff_in_pieces(&hello, 1..hello.len());
    assert_eq!(server_name(&verdict).as_deref(), Some("api.openai.com"));
}

#[test]
fn a_hello_over_many_records_names_its_host() {
    let hello = in_records(&client_hello("api.openai.com"), 7);
    assert_eq!(
        server_name(&sniff_in_pieces(&hello, [])).as_deref(),
        Some("api.openai.com")
    );
}

#[test]
fn an_endless_hello_is_nobodys() {
    // A handshake message that claims 16 MiB, in full records.
    let mut bytes = vec![0x16, 3, 1, 0x40, 0x00, 1, 0xff, 0xff, 0xff];
    bytes.resize(5 + 0x4000, 0);
    while bytes.len() < MOST_SNIFFED_BYTES {
        bytes.extend([0x16, 3, 1, 0x40, 0x00]);
        bytes.extend([0; 0x4000]);
    }
    assert!(matches!(
        sniff_in_pieces(&bytes, (1..).step_by(4096).take(64)),
        Verdict::Other
    ));
}

#[test]
fn a_plaintext_request_names_its_host() {
    let verdict = sniff_in_pieces(
        b"POST /v1/x HTTP/1.1\r\nA: b\r\nhOST: API.openai.com:80\r\n\r\nbody",
        1..30,
    );
    assert!(matches!(verdict, Verdict::PlaintextHttp { host: Some(host) } if host == "api.openai.com"));
}

#[test]
fn what_is_said_to_a_proxy_is_nobodys() {
    for head in [
        "CONNECT api.openai.com:443 HTTP/1.1\r\nHost: api.openai.com:443\r\n\r\n",
        "GET http://api.openai.com/v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
    ] {
        assert!(
            matches!(sniff_in_pieces(head.as_bytes(), []), Verdict::Other),
            "{head}"
        );
    }
}

#[test]
fn other_protocols_are_nobodys() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\t/",
    ] {
        assert!(
            matches!(sniff_in_pieces(bytes, 1..bytes.len()), Verdict::Other),
            "{bytes:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_split_of_a_hello_changes_the_verdict(ends in proptest::collection::btree_set(1_usize..2000, 0..12), record in 1_usize..600) {
        let hello = in_records(&client_hello("api.openai.com"), record);
        let verdict = sniff_in_pieces(&hello, ends);
        prop_assert_eq!(server_name(&verdict), Some("api.openai.com".to_owned()));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048), tls: bool) {
        let mut bytes = bytes;
        if tls { bytes.splice(0..0, [0x16, 3, 1]); }
        sniff_in_pieces(&bytes, (1..bytes.len()).step_by(97));
    }
}

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::{DecodeError, Decoder};
use crate::testing::pieces;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory")
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: 5,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &bytes[..], &mut encoded, &parameters).expect("memory");
    encoded
}

fn decode(encoding: &str, parts: &[&[u8]]) -> (Vec<u8>, Result<(), DecodeError>) {
    let mut decoder = Decoder::new(encoding).expect("a known coding");
    let mut decoded = Vec::new();
    let mut result = Ok(());
    for part in parts {
        result = result.and(decoder.push(part, &mut |window| {
            assert!(window.len() <= super::WINDOW || encoding == "identity");
            decoded.extend_from_slice(window);
        }));
    }
    (decoded, result)
}

fn encodings(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("identity", text.to_vec()),
        ("gzip", gzip(text)),
        ("X-Gzip", gzip(text)),
        ("gzip", [gzip(text), gzip(b"")].concat()),
        ("gzip", [gzip(text), vec![0; 100]].concat()),
        ("deflate", zlib(text)),
        ("deflate", raw(text)),
        ("br", brotli(text)),
        ("zstd", zstd(text)),
        ("zstd", [zstd(text), zstd(b"")].concat()),
        ("gzip, br", brotli(&gzip(text))),
        ("identity,zstd , gzip", gzip(&zstd(text))),
    ]
}

#[test]
fn several_members_are_one_body() {
    let text: Vec<u8> = (0..100_000u32).flat_map(|number| number.to_le_bytes()).collect();
    let (front, back) = text.split_at(123_457);
    for (encoding, encoded) in [
        ("gzip", [gzip(front), gzip(back)].concat()),
        ("zstd", [zstd(front), zstd(back)].concat()),
    ] {
        for size in [1, 1000, encoded.len()] {
            let parts: Vec<&[u8]> = encoded.chunks(size).collect();
            assert!(
                decode(encoding, &parts) == (text.clone(), Ok(())),
                "{encoding} by {size}"
            );
        }
    }
}

#[test]
fn a_gzip_header_may_have_every_field() {
    let plain = gzip(b"text");
    let mut encoded = plain[..10].to_vec();
    encoded[3] = 0b1_1110;
    encoded.extend_from_slice(b"\x03\x00xyz");
    encoded.extend_from_slice(b"name\0comment\0");
    encoded.extend_from_slice(&[0, 0]);
    encoded.extend_from_slice(&plain[10..]);
    let bytes: Vec<&[u8]> = encoded.chunks(1).collect();
    assert_eq!(decode("gzip", &bytes), (b"text".to_vec(), Ok(())));
}

#[test]
fn unknown_and_too_many_codings() {
    for encoding in ["compress", "gzip, lzma", "br;q=1", "gzip,gzip,gzip,gzip"] {
        assert_eq!(Decoder::new(encoding).err(), Some(DecodeError::Unsupported));
    }
    assert!(Decoder::new("").is_ok_and(|decoder| decoder.is_identity()));
}

#[test]
fn an_error_stays() {
    let mut encoded = gzip(b"text");
    let last = encoded.len() - 5;
    encoded[last] ^= 1;
    let mut decoder = Decoder::new("gzip").expect("known");
    let invalid = Err(DecodeError::Invalid("gzip"));
    assert_eq!(decoder.push(&encoded, &mut |_| {}), invalid);
    assert_eq!(decoder.push(b"", &mut |_| {}), invalid);
}

#[test]
fn a_bomb_comes_in_small_pieces() {
    let zeros = vec![0u8; 64 * 1024 * 1024];
    for (encoding, encoded) in [
        ("gzip, gzip", gzip(&gzip(&zeros))),
        ("zstd", zstd(&zeros)),
        ("br", brotli(&zeros)),
        ("deflate", raw(&zeros)),
    ] {
        let mut decoder = Decoder::new(encoding).expect("known");
        let mut length = 0;
        let mut output = [0; 1000];
        let mut input = encoded.as_slice();
        // the reader sets the pace
        while length < 100_000 {
            length += decoder.read(&mut input, &mut output).expect("valid");
        }
        decoder
            .push(input, &mut |window| {
                assert!(window.len() <= super::WINDOW);
                length += window.len();
            })
            .expect("valid");
        assert_eq!(length, zeros.len(), "{encoding}");
    }
}

proptest! {
    #[test]
    fn any_split_decodes(text in prop::collection::vec(any::<u8>(), 0..3000), repeat in 1usize..20, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let text = text.repeat(repeat);
        for (encoding, encoded) in encodings(&text) {
            let (decoded, result) = decode(encoding, &pieces(&encoded, &cuts));
            prop_assert_eq!(result, Ok(()), "{}", encoding);
            prop_assert!(decoded == text, "{}", encoding);
        }
    }

    #[test]
    fn what_is_cut_short_is_decoded_as_far_as_it_goes(text in prop::collection::vec(any::<u8>(), 1..300), cut in any::<prop::sample::Index>()) {
        for (encoding, encoded) in encodings(&text) {
            let (decoded, result) = decode(encoding, &[&encoded[..cut.index(encoded.len())]]);
            prop_assert_eq!(result, Ok(()), "{}", encoding);
            prop_assert!(text.starts_with(&decoded), "{}", encoding);
        }
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300), flip in any::<prop::sample::Index>(), with in any::<u8>()) {
        for encoding in ["gzip", "deflate", "br", "zstd", "gzip,br"] {
            let _ = decode(encoding, &[&bytes]);
        }
        for (encoding, mut encoded) in encodings(&bytes) {
            let at = flip.index(encoded.len().max(1));
            if let Some(byte) = encoded.get_mut(at) {
                *byte ^= with;
            }
            // what is damaged may be found out sooner or later as the pieces fall, but never by a panic
            let _ = decode(encoding, &[&encoded]);
            let _ = decode(encoding, &encoded.chunks(3).collect::<Vec<_>>());
        }
    }
}

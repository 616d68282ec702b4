//! Bodies in every coding, however they arrive, cut, malformed or mislabelled.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use super::*;

/// A body in a coding, fed in pieces of that size.
fn decoded(coding: Coding, body: &[u8], piece: usize) -> io::Result<Vec<u8>> {
    let (mut decoder, mut out) = (BodyDecoder::new(coding), Vec::new());
    let mut drain = |decoder: &mut BodyDecoder| loop {
        let slice = decoder.decode()?;
        if slice.is_empty() {
            return Ok::<_, io::Error>(());
        }
        assert!(slice.len() <= SLICE.max(piece));
        out.extend_from_slice(&slice);
    };
    for piece in body.chunks(piece) {
        decoder.push(Bytes::copy_from_slice(piece));
        drain(&mut decoder)?;
    }
    loop {
        let slice = decoder.end()?;
        if slice.is_empty() {
            return Ok(out);
        }
        out.extend_from_slice(&slice);
    }
}

/// A text that compresses to much less, and is longer than a slice.
fn text() -> Vec<u8> {
    (0..4000u32)
        .flat_map(|n| (n / 7).to_string().into_bytes())
        .collect()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    let mut out = vec![0; zstd_safe::compress_bound(text.len())];
    let length = zstd_safe::compress(&mut out[..], text, 3).unwrap();
    out.truncate(length);
    out
}

/// `{"a":"xxx…"}`, a thousand times `x`, by another implementation.
const BROTLI: &[u8] = &[
    0x1b, 0xef, 0x03, 0xf8, 0x8d, 0xd4, 0x62, 0xcd, 0x19, 0xee, 0xd4, 0x22, 0x61, 0x78, 0x7b, 0x4b,
    0xa7, 0xaf, 0x24, 0xa9, 0x2d, 0x10, 0x38, 0xf4, 0x85, 0x11,
];

#[test]
fn every_coding_is_decoded_however_it_arrives() {
    let text = text();
    for (coding, body) in [
        (Coding::Gzip, gzip(&text)),
        (Coding::Deflate, zlib(&text)),
        (Coding::Deflate, deflate(&text)),
        (Coding::Zstd, zstd(&text)),
    ] {
        for piece in [1, 2, 3, 7, 100, body.len()] {
            assert_eq!(decoded(coding, &body, piece).unwrap(), text, "{coding:?}");
        }
        for end in [1, 7, body.len() / 2, body.len() - 1] {
            let cut = decoded(coding, &body[..end], 100);
            // Too little of a body to know its coding by is read as it is.
            assert!(cut.is_err() || end == 1, "{coding:?} to {end}");
        }
    }
}

#[test]
fn brotli_of_another_implementation_is_decoded() {
    for piece in [1, 3, BROTLI.len()] {
        let text = decoded(Coding::Brotli, BROTLI, piece).unwrap();
        assert_eq!(
            text,
            format!("{{\"a\":\"{}\"}}", "x".repeat(1000)).into_bytes()
        );
    }
    assert!(decoded(Coding::Brotli, &BROTLI[..BROTLI.len() - 1], 3).is_err());
}

#[test]
fn gzip_may_have_members_a_long_header_and_padding() {
    let (one, two) = (gzip(b"one, "), gzip(b"two"));
    let mut header = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x03\0abcname\0comment\0\x01\x02".to_vec();
    header.extend_from_slice(&one[10..]);
    for (body, expected) in [
        ([&one[..], &two].concat(), "one, two"),
        ([&one[..], &[0; 20]].concat(), "one, "),
        ([&header[..], &two].concat(), "one, two"),
        (gzip(b""), ""),
    ] {
        for piece in [1, 5, body.len()] {
            assert_eq!(
                decoded(Coding::Gzip, &body, piece).unwrap(),
                expected.as_bytes()
            );
        }
    }
}

#[test]
fn malformed_bodies_are_errors() {
    let mut wrong_sum = gzip(b"some text");
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 1;
    let endless_name = [b"\x1f\x8b\x08\x08\0\0\0\0\0\0", &[b'x'; 40_000][..]].concat();
    for (coding, body) in [
        (Coding::Gzip, wrong_sum),
        (Coding::Gzip, endless_name),
        (Coding::Deflate, b"\x78\x9c\xff\xff\xff\xff\xff".to_vec()),
        (Coding::Brotli, vec![0xff; 64]),
        (
            Coding::Zstd,
            [b"\x28\xb5\x2f\xfd", &[0xff; 64][..]].concat(),
        ),
    ] {
        assert!(decoded(coding, &body, 11).is_err(), "{coding:?}");
    }
}

#[test]
fn a_body_that_is_plain_in_spite_of_its_label_is_read_as_it_is() {
    for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
        for text in ["data: {}\n\n", "{\"a\":1}", "event: x\n"] {
            assert_eq!(
                decoded(coding, text.as_bytes(), 2).unwrap(),
                text.as_bytes()
            );
        }
        assert_eq!(decoded(coding, b"", 1).unwrap(), b"");
    }
}

#[test]
fn zstd_frames_that_follow_one_another_are_one_body() {
    let framed = |text: &[u8]| {
        let mut context = zstd_safe::CCtx::create();
        let checksum = zstd_safe::CParameter::ChecksumFlag(true);
        context.set_parameter(checksum).unwrap();
        let mut out = vec![0; zstd_safe::compress_bound(text.len())];
        let length = context.compress2(&mut out[..], text).unwrap();
        out.truncate(length);
        out
    };
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
    let body = [
        framed(b"one "),
        skippable.to_vec(),
        framed(b"two "),
        framed(b"three"),
    ]
    .concat();
    for piece in 1..=body.len() {
        let whole = decoded(Coding::Zstd, &body, piece).unwrap();
        assert_eq!(whole, b"one two three", "in pieces of {piece}");
    }
}

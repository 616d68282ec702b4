//! Tests of body framing: chunks, lengths, faults.

#![expect(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::{ChunkedReader, Framing};

/// Reads these bytes, cut into pieces of those lengths, in turn: the body, how many bytes
/// were the answer's, and whether it ended.
fn decode(
    mut framing: Framing,
    bytes: &[u8],
    pieces: &[usize],
) -> Result<(Vec<u8>, usize, bool), String> {
    let (mut body, mut used, mut at) = (Vec::new(), 0, 0);
    for length in pieces.iter().cycle() {
        let mut piece = bytes[at..(at + length).min(bytes.len())].to_vec();
        if piece.is_empty() || framing.is_ended() {
            break;
        }
        let decoded = framing
            .decode(&mut piece)
            .map_err(|broken| broken.to_string())?;
        at += decoded.used;
        body.extend_from_slice(&piece[decoded.body]);
        used += decoded.used;
    }
    Ok((body, used, framing.is_ended()))
}

fn chunked(bytes: &[u8], pieces: &[usize]) -> Result<(Vec<u8>, usize, bool), String> {
    decode(Framing::Chunked(ChunkedReader::default()), bytes, pieces)
}

#[test]
fn chunks_in_pieces_of_any_length() {
    let wire =
        b"5\r\nhello\r\n1 ; a = \"b\\\"\" ;c=d\r\n \r\n0005\r\nworld\r\nA;x\r\n0123456789\r\n\
                 00\r\nx: y\r\nz: 1\r\n\r\nHTTP/1.1";
    for length in 1..=wire.len() {
        let (body, used, ended) = chunked(wire, &[length]).unwrap();
        assert_eq!(
            (body.as_slice(), used, ended),
            (&b"hello world0123456789"[..], wire.len() - 8, true),
            "{length}"
        );
    }
}

#[test]
fn what_two_readers_might_read_differently_is_an_error() {
    let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(5000));
    let trailers = format!("0\r\nx: {}\r\n\r\n", "y".repeat(17_000));
    let many_trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(101));
    for hostile in [
        "\r\nhello",                // no size
        ";x\r\nhello",              // only an extension
        " 5\r\nhello\r\n0\r\n\r\n", // white space
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n", // signs
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n", // bare line feeds
        "5\r\nhello\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "0\r\n\n",
        "0\r\nx: y\n\r\n",
        "0\n\n",
        "5\rXhello\r\n0\r\n\r\n", // bare carriage returns
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "0\r\nx: y\rz\r\n\r\n",
        "0\r\n\rx",
        "5\r\nhello!\r\n0\r\n\r\n",   // longer than it says
        "5\r\nhell\r\n0\r\n\r\n",     // shorter
        "10000000000000000\r\nx",     // 2^64
        "00000000000000005\r\nhello", // 17 digits
        "5;\r\nhello\r\n0\r\n\r\n",   // extensions
        "5;a \r\nhello\r\n0\r\n\r\n",
        "5;a=\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\"c\r\nhello\r\n0\r\n\r\n",
        "5;a\0\r\nhello\r\n0\r\n\r\n",
        "0\r\nx : y\r\n\r\n", // trailers
        "0\r\n: y\r\n\r\n",
        "0\r\nx\r\n\r\n",
        "0\r\nx: y\r\n z\r\n\r\n",
        "0\r\nx: \0\r\n\r\n",
        "0\r\nx: \x7f\r\n\r\n",
        "0\r\nGET / HTTP/1.1\r\n\r\n",
        &long,
        &trailers,
        &many_trailers,
    ] {
        for pieces in [[1], [3], [hostile.len()]] {
            let read = chunked(hostile.as_bytes(), &pieces);
            assert!(
                read.is_err(),
                "{:?}: {read:?}",
                &hostile[..hostile.len().min(40)]
            );
        }
    }
}

#[test]
fn a_size_of_64_bits_is_no_end() {
    let (body, _, ended) = chunked(b"FFFFFFFFFFFFFFFF\r\nabc", &[4]).unwrap();
    assert_eq!((body.as_slice(), ended), (&b"abc"[..], false));
}

#[test]
fn a_body_that_is_cut_has_not_ended() {
    let wire = b"5\r\nhello\r\n0\r\nx: y\r\n\r\n";
    for length in 0..wire.len() {
        let mut framing = Framing::Chunked(ChunkedReader::default());
        framing.decode(&mut wire[..length].to_vec()).unwrap();
        assert!(!framing.allows_close(), "{length}");
    }
    assert!(!Framing::Length(1).allows_close());
    assert!(Framing::Length(0).allows_close());
    assert!(Framing::Close.allows_close());
}

#[test]
fn what_came_before_a_fault_is_given_out_and_nothing_after_it() {
    let mut framing = Framing::Chunked(ChunkedReader::default());
    let mut wire = *b"5\r\nhello\r\n1\r\n!\r\nnone\r\n5\r\nworld\r\n0\r\n\r\n";
    let decoded = framing.decode(&mut wire).unwrap();
    assert_eq!(&wire[decoded.body.clone()], b"hello!");
    for _ in 0..2 {
        let rest = &mut wire[decoded.used..];
        assert!(
            framing.decode(rest).is_err()
                && framing.decode(b"0\r\n\r\n".to_vec().as_mut()).is_err()
        );
        assert!(!framing.is_ended() && !framing.allows_close());
    }
}

#[test]
fn lengths() {
    assert_eq!(
        decode(Framing::Length(5), b"hello, world", &[3]),
        Ok((b"hello".to_vec(), 5, true))
    );
    assert_eq!(
        decode(Framing::Length(9), b"hello", &[2]),
        Ok((b"hello".to_vec(), 5, false))
    );
    assert_eq!(
        decode(Framing::Length(u64::MAX), b"hello", &[5]),
        Ok((b"hello".to_vec(), 5, false))
    );
    assert_eq!(
        decode(Framing::Close, b"hello", &[2]),
        Ok((b"hello".to_vec(), 5, false))
    );
}

proptest! {
    #[test]
    fn what_was_put_into_chunks_comes_out(
        chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..300), "( ?; ?[a-z]{1,9}( ?= ?(\"[ -~&&[^\"\\\\]]{0,9}\"|[!-~&&[^()<>@,;:\\\\\"/?={}\\[\\]]]{1,9}))?)?", any::<bool>()), 0..20),
        trailers in prop::collection::vec("[a-z]{1,9}: [ -~]{0,20}", 0..4),
        after in prop::collection::vec(any::<u8>(), 0..20),
        pieces in prop::collection::vec(1_usize..400, 1..10),
    ) {
        let (mut wire, mut said) = (Vec::new(), Vec::new());
        for (data, extension, upper) in &chunks {
            let size = if *upper { format!("{:X}", data.len()) } else { format!("{:03x}", data.len()) };
            wire.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            wire.extend_from_slice(data);
            wire.extend_from_slice(b"\r\n");
            said.extend_from_slice(data);
        }
        wire.extend_from_slice(b"0\r\n");
        for trailer in &trailers {
            wire.extend_from_slice(format!("{trailer}\r\n").as_bytes());
        }
        wire.extend_from_slice(b"\r\n");
        let length = wire.len();
        wire.extend_from_slice(&after);
        prop_assert_eq!(chunked(&wire, &pieces), Ok((said, length, true)));
    }

    #[test]
    fn cuts_change_nothing(wire in "([0-9a-fA-F]{1,2}|\r|\n|\r\n|;|a|0\r\n\r\n|[ -~]|1\r\nx\r\n){0,40}", pieces in prop::collection::vec(1_usize..9, 1..10)) {
        prop_assert_eq!(chunked(wire.as_bytes(), &pieces), chunked(wire.as_bytes(), &[wire.len().max(1)]));
    }
}

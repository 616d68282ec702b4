//! HeadParser: what they say of the body, and what is no head.

use proptest::prelude::*;

use crate::client::head::{HeadParser, MAX_HEAD_BYTES, ResponseHead};
use crate::{ChunkedReader, Framing};

/// The head of these bytes in pieces of that length, and what came after it.
fn read(bytes: &[u8], piece: usize) -> Result<Option<(ResponseHead, Vec<u8>)>, String> {
    let mut heads = HeadParser::default();
    let mut pieces = bytes.chunks(piece);
    while let Some(piece) = pieces.next() {
        if let Some(head) = heads.push(piece).map_err(|error| error.to_string())? {
            let rest = [&*heads.rest(), &pieces.collect::<Vec<_>>().concat()].concat();
            return Ok(Some((head, rest)));
        }
    }
    Ok(None)
}

fn of(lines: &str) -> Result<ResponseHead, String> {
    let text = format!("{}\r\n\r\n", lines.replace('\n', "\r\n"));
    read(text.as_bytes(), text.len()).map(|head| head.expect("a whole head").0)
}

#[test]
fn heads_in_pieces_of_any_length() {
    let connection = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:2 \r\n\
        Content-Length: 3\r\n\r\nabc\r\n\r\n";
    for piece in 1..=connection.len() {
        let (head, rest) = read(connection, piece).unwrap().expect("a whole head");
        assert_eq!(head.response.status(), 200);
        let values: Vec<_> = head.response.headers().get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"], "{piece}");
        assert_eq!(
            (head.framing, head.reusable, rest.as_slice()),
            (Framing::Length(3), true, &b"abc\r\n\r\n"[..])
        );
    }
}

#[test]
fn a_head_of_bare_line_feeds_ends_too() {
    let (head, rest) = read(b"HTTP/1.1 200 OK\ncontent-length: 1\n\nx", 1)
        .unwrap()
        .expect("a whole head");
    assert_eq!(
        (head.framing, rest.as_slice()),
        (Framing::Length(1), &b"x"[..])
    );
}

#[test]
fn how_bodies_end() {
    let chunked = Framing::Chunked(ChunkedReader::default());
    for (lines, framing, keep) in [
        (
            "HTTP/1.1 200 OK\ncontent-length: 5",
            Framing::Length(5),
            true,
        ),
        (
            "HTTP/1.1 200 OK\ncontent-length: 5, 5\ncontent-length: 05",
            Framing::Length(5),
            true,
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 18446744073709551615",
            Framing::Length(u64::MAX),
            true,
        ),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: Chunked",
            chunked.clone(),
            true,
        ),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\nconnection: keep-alive",
            chunked.clone(),
            true,
        ),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\nconnection: x, Close",
            chunked.clone(),
            false,
        ),
        (
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\nconnection: x\nconnection: close",
            chunked,
            false,
        ),
        ("HTTP/1.1 200 OK", Framing::Close, false),
        ("HTTP/1.0 200 OK", Framing::Close, false),
        (
            "HTTP/1.0 200 OK\ncontent-length: 5",
            Framing::Length(5),
            false,
        ),
        ("HTTP/1.1 204 No Content", Framing::Length(0), true),
        (
            "HTTP/1.1 204 No Content\ncontent-length: 5",
            Framing::Length(0),
            true,
        ),
        (
            "HTTP/1.1 304 Not Modified\ncontent-length: 5",
            Framing::Length(0),
            true,
        ),
        ("HTTP/1.1 413", Framing::Close, false),
    ] {
        let head = of(lines).unwrap();
        assert_eq!((head.framing, head.reusable), (framing, keep), "{lines}");
    }
}

#[test]
fn what_is_no_head() {
    let many = format!("HTTP/1.1 200 OK{}", "\na: b".repeat(101));
    for hostile in [
        "HTTP/1.1 200 OK\ncontent-length: 5\ntransfer-encoding: chunked",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ncontent-length: 5",
        "HTTP/1.1 200 OK\ncontent-length: 5\ncontent-length: 6",
        "HTTP/1.1 200 OK\ncontent-length: 5, 6",
        "HTTP/1.1 200 OK\ncontent-length: 5,",
        "HTTP/1.1 200 OK\ncontent-length:",
        "HTTP/1.1 200 OK\ncontent-length: -1",
        "HTTP/1.1 200 OK\ncontent-length: +1",
        "HTTP/1.1 200 OK\ncontent-length: 0x1",
        "HTTP/1.1 200 OK\ncontent-length: 1 1",
        "HTTP/1.1 200 OK\ncontent-length: 18446744073709551616",
        "HTTP/1.1 200 OK\ntransfer-encoding: gzip, chunked",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked, chunked",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ntransfer-encoding: identity",
        "HTTP/1.1 200 OK\ntransfer-encoding: xchunked",
        "HTTP/1.1 200 OK\ntransfer-encoding: \"chunked\"",
        "HTTP/1.1 200 OK\ntransfer-encoding:",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked;q=1",
        "HTTP/1.0 200 OK\ntransfer-encoding: chunked",
        "HTTP/1.1 200 OK\ncontent-length : 5",
        "HTTP/1.1 200 OK\n content-length: 5",
        "HTTP/1.1 200 OK\nx: a\n b",
        "HTTP/1.1 200 OK\nx: a\rb",
        "HTTP/1.1 200 OK\nx: a\0b",
        "HTTP/1.1 200 OK\nno colon",
        "HTTP/1.1 200 OK\n: no name",
        "HTTP/1.1 101 Switching Protocols\nupgrade: x",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        "\nHTTP/1.1 200 OK",
        "<html>",
        &many,
    ] {
        let text = format!("{}\r\n\r\n", hostile.replace('\n', "\r\n"));
        for piece in [1, 7, text.len()] {
            let read = read(text.as_bytes(), piece);
            assert!(read.is_err(), "{hostile:?}: {read:?}");
        }
    }
}

#[test]
fn heads_have_a_bound() {
    let fits = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
        "y".repeat(MAX_HEAD_BYTES - 24)
    );
    assert_eq!(fits.len(), MAX_HEAD_BYTES);
    assert!(read(fits.as_bytes(), 1000).unwrap().is_some());
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(MAX_HEAD_BYTES));
    assert!(read(endless.as_bytes(), 1).is_err());
    let whole = fits.replace("y\r", "yy\r");
    assert!(read(whole.as_bytes(), whole.len()).is_err());
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(2000);
    assert!(read(interim.as_bytes(), 100).is_err());
    assert!(read(interim.as_bytes(), interim.len()).is_err());
}

proptest! {
    #[test]
    fn pieces_change_nothing(
        connection in "(HTTP/1\\.1 200 OK\r\n|HTTP/1\\.1 100 \r\n\r\n|a: b\r\n|content-length: 5\r\n|\r\n|\n|\r|[ -~]){0,12}",
        piece in 1_usize..20,
    ) {
        let say = |read: Result<Option<(ResponseHead, Vec<u8>)>, String>| {
            read.map(|head| head.map(|(head, rest)| (format!("{head:?}"), rest))).map_err(drop)
        };
        let (whole, pieces) = (say(read(connection.as_bytes(), connection.len().max(1))), say(read(connection.as_bytes(), piece)));
        prop_assert_eq!(whole, pieces);
    }
}

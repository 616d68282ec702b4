//! Reader and writer against each other and against the wording of the standard, one byte at a
//! time.

#![expect(clippy::unwrap_used, reason = "tests")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

/// The standard's algorithm, as slowly and plainly as it is worded there: the judge of the fast
/// one.
fn by_the_book(bytes: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(bytes)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), String::new());
    for line in text.split('\n') {
        if line.is_empty() {
            if !data.is_empty() {
                data.pop();
                events.push((std::mem::take(&mut name), std::mem::take(&mut data)));
            }
            name.clear();
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut name),
            "data" => {
                data.push_str(value);
                data.push('\n');
            }
            _ => {}
        }
    }
    events
}

fn read(
    chunks: impl IntoIterator<Item = Vec<u8>>,
    limit: usize,
) -> Result<Vec<(String, String)>, EventTooLarge> {
    let mut reader = FrameSplitter::new(limit);
    let mut events = Vec::new();
    let mut take = |run: &[u8]| {
        for frame in frames(run) {
            if let Some(data) = frame.data {
                let name = String::from_utf8_lossy(frame.event.unwrap_or_default()).into_owned();
                events.push((name, String::from_utf8_lossy(&data).into_owned()));
            }
        }
    };
    for chunk in chunks {
        take(&reader.push(Bytes::from(chunk))?);
    }
    take(&reader.finish());
    Ok(events)
}

fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut rest = bytes;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let n = (*sizes.next().unwrap()).min(rest.len());
        chunks.push(rest[..n].to_vec());
        rest = &rest[n..];
    }
    chunks
}

const CORPUS: &[&[u8]] = &[
    b"data: a\n\ndata: b\n\n",
    b"data: a\r\n\r\ndata: b\r\n\r\n",
    b"data: a\r\rdata: b\r\r",
    b"data:a\ndata: b\n\n: comment\n\nevent: x\ndata:  c\n\n",
    b"\n\ndata: a\n\r\ndata: b\r\n\ndata: c\n\n",
    b"data\n\ndata: z\n\n",
    "data: \u{4f60}\u{597d} \u{1f600}\n\n".as_bytes(),
];

#[test]
fn every_cut_of_every_stream_reads_the_same() {
    for stream in CORPUS {
        let book: Vec<_> = by_the_book(stream)
            .into_iter()
            .filter(|(_, d)| !d.is_empty())
            .collect();
        for size in 1..=stream.len() {
            let got = read(cut(stream, &[size]), 1024).unwrap();
            let got: Vec<_> = got.into_iter().filter(|(_, d)| !d.is_empty()).collect();
            assert_eq!(
                got,
                book,
                "{:?} in pieces of {size}",
                String::from_utf8_lossy(stream)
            );
        }
    }
}

#[test]
fn a_byte_order_mark_is_skipped_however_it_is_cut() {
    let stream = b"\xEF\xBB\xBFdata: a\n\n";
    for size in 1..=stream.len() {
        assert_eq!(
            read(cut(stream, &[size]), 99).unwrap(),
            [(String::new(), "a".into())]
        );
    }
}

#[test]
fn a_last_event_without_its_blank_line_is_not_lost() {
    assert_eq!(
        read([b"data: [DONE]".to_vec()], 99).unwrap(),
        [(String::new(), "[DONE]".into())]
    );
    assert_eq!(
        read([b"data: [DONE]\n".to_vec()], 99).unwrap(),
        [(String::new(), "[DONE]".into())]
    );
}

#[test]
fn whole_chunks_are_passed_on_without_a_copy() {
    let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\n");
    let run = FrameSplitter::new(99).push(chunk.clone()).unwrap();
    assert_eq!(run.as_ptr(), chunk.as_ptr());
    assert_eq!(run.len(), chunk.len());
}

#[test]
fn an_endless_line_is_refused_at_the_cap() {
    let endless = std::iter::repeat_n(vec![b'x'; 100], 100);
    assert_eq!(read(endless, 1000), Err(EventTooLarge { limit: 1000 }));
}

#[test]
fn an_error_field_and_a_comment_are_seen() {
    let run = b"error: {\"code\":500}\n\n: hello\n\n";
    let frames: Vec<_> = frames(run).collect();
    assert_eq!(frames[0].error, Some(&b"{\"code\":500}"[..]));
    assert!(frames[1].comment && frames[1].data.is_none());
    assert_eq!(frames[1].range, 21..30);
}

proptest! {
    #[test]
    fn any_bytes_in_any_cut_read_as_the_standard_says(
        stream in "(data: ?[a-c\u{e9}\u{1f600} ]{0,4}|event: [xy]|: c|id: 1|[a-c:]{0,3}|)((\r\n|\n|\r)(data: ?[a-c ]{0,4}|event: [xy]|: c||)){0,20}",
        sizes in prop::collection::vec(1usize..9, 1..9),
    ) {
        let mut stream = stream.into_bytes();
        stream.extend_from_slice(b"\n\n");
        let book: Vec<_> = by_the_book(&stream).into_iter().filter(|(_, d)| !d.is_empty()).collect();
        let got: Vec<_> = read(cut(&stream, &sizes), 4096).unwrap().into_iter().filter(|(_, d)| !d.is_empty()).collect();
        prop_assert_eq!(got, book);
    }

    #[test]
    fn what_is_written_is_read_back(texts in prop::collection::vec("\\PC{0,12}|[a\r\n :]{0,8}", 1..12), sizes in prop::collection::vec(1usize..40, 1..9)) {
        let mut wire = BytesMut::new();
        for text in &texts {
            write_frame(&mut wire, None, text.as_bytes());
        }
        let want: Vec<_> = texts.iter().map(|t| (String::new(), t.replace("\r\n", "\n").replace('\r', "\n"))).collect();
        prop_assert_eq!(read(cut(&wire, &sizes), 1 << 20).unwrap(), want);
    }

    #[test]
    fn nothing_panics(stream in prop::collection::vec(any::<u8>(), 0..200), sizes in prop::collection::vec(1usize..50, 1..5)) {
        let _ = read(cut(&stream, &sizes), 64);
    }
}

#[test]
fn data_that_is_written_in_pieces_is_what_it_is_at_once() {
    let long = "word ".repeat(3000);
    for text in [
        "",
        " a",
        "a",
        "a\nb",
        "a\r\n b\r\rc",
        "\n",
        "\r\n\r\n",
        "\n\n\n",
        &long,
        &long.replace(' ', "\r\n"),
    ] {
        let mut at_once = BytesMut::new();
        write_frame(&mut at_once, None, text.as_bytes());
        for most in [1, 2, 7, 4096, usize::MAX] {
            let mut data = DataWriter::new([Bytes::copy_from_slice(text.as_bytes())]);
            let mut whole = String::new();
            loop {
                let mut piece = BytesMut::new();
                let ended = data.write_up_to(&mut piece, most);
                assert!(
                    most == usize::MAX || piece.len() < most + 4096,
                    "{}",
                    piece.len()
                );
                whole.push_str(std::str::from_utf8(&piece).unwrap());
                if ended {
                    break;
                }
            }
            let read = |text: &str| {
                frames(text.as_bytes())
                    .next()
                    .unwrap()
                    .data
                    .map(|data| data.into_owned())
            };
            assert_eq!(
                read(&whole),
                read(std::str::from_utf8(&at_once).unwrap()),
                "{most}"
            );
            assert!(
                whole.ends_with("\n\n") && whole.matches("\n\n").count() == 1,
                "{whole:?}"
            );
        }
    }
    let mut out = BytesMut::new();
    let mut data = DataWriter::base64(Bytes::from(vec![7; 10_000]));
    while {
        let most = out.len() + 100;
        !data.write_up_to(&mut out, most)
    } {}
    let expected = STANDARD.encode(vec![7; 10_000]);
    assert_eq!(out, format!("data:{expected}\n\n"));
}

//! Compressed bodies, as an upstream that flushes each piece makes them.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

/// Codings by the label that names them; `deflate` comes in two.
pub(crate) const CODINGS: [&str; 5] = ["gzip", "deflate", "deflate-raw", "br", "zstd"];

/// Returns the pieces in that coding, each of them flushed, and its end.
pub(crate) fn compress(coding: &str, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    match coding {
        "gzip" => flushed(
            GzEncoder::new(Vec::new(), Compression::default()),
            pieces,
            |e| e.get_mut(),
        ),
        "deflate" => flushed(
            ZlibEncoder::new(Vec::new(), Compression::default()),
            pieces,
            |e| e.get_mut(),
        ),
        "deflate-raw" => flushed(
            DeflateEncoder::new(Vec::new(), Compression::default()),
            pieces,
            |e| e.get_mut(),
        ),
        "br" => stored_brotli(pieces),
        "zstd" => zstd(pieces),
        other => panic!("no coding is called {other}"),
    }
}

/// Returns a text in that coding, whole.
pub(crate) fn compress_whole(coding: &str, text: &[u8]) -> Vec<u8> {
    compress(coding, &[text]).concat()
}

fn flushed<E: FinishInPlace>(
    mut encoder: E,
    pieces: &[&[u8]],
    out: impl Fn(&mut E) -> &mut Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut compressed = Vec::new();
    for piece in pieces {
        encoder.write_all(piece).expect("memory");
        encoder.flush().expect("memory");
        compressed.push(std::mem::take(out(&mut encoder)));
    }
    encoder.finish_in_place();
    compressed.push(std::mem::take(out(&mut encoder)));
    compressed
}

/// An encoder that can end its stream in place.
pub(crate) trait FinishInPlace: Write {
    fn finish_in_place(&mut self);
}

macro_rules! finishes {
    ($($encoder:ident),*) => {$(
        impl FinishInPlace for $encoder<Vec<u8>> {
            fn finish_in_place(&mut self) {
                self.try_finish().expect("memory");
            }
        }
    )*};
}

finishes!(GzEncoder, ZlibEncoder, DeflateEncoder);

/// Brotli whose blocks are stored (RFC 7932, section 9.2), each of at most 64 KiB.
fn stored_brotli(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut compressed = Vec::new();
    let mut is_first = true;
    for piece in pieces {
        let mut out = Vec::new();
        for block in piece.chunks(1 << 16) {
            // ISLAST 0, MNIBBLES 00 for 4, MLEN - 1, ISUNCOMPRESSED 1; before the first, WBITS 0.
            let bits = (block.len() as u32 - 1) << 3 | 1 << 19;
            let bits = bits << u32::from(std::mem::take(&mut is_first));
            out.extend_from_slice(&bits.to_le_bytes()[..3]);
            out.extend_from_slice(block);
        }
        compressed.push(out);
    }
    // ISLAST 1, ISLASTEMPTY 1.
    compressed.push(vec![3]);
    compressed
}

fn zstd(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut context = zstd_safe::CCtx::create();
    let mut compressed = Vec::new();
    for piece in pieces {
        let mut out = vec![0; piece.len() + 1024];
        let mut to = zstd_safe::OutBuffer::around(&mut out[..]);
        let mut from = zstd_safe::InBuffer::around(piece);
        while from.pos() < piece.len() {
            context.compress_stream(&mut to, &mut from).expect("room");
        }
        assert_eq!(context.flush_stream(&mut to).expect("room"), 0);
        let length = to.pos();
        compressed.push(out[..length].to_vec());
    }
    let mut out = vec![0; 1024];
    let mut to = zstd_safe::OutBuffer::around(&mut out[..]);
    assert_eq!(context.end_stream(&mut to).expect("room"), 0);
    let length = to.pos();
    compressed.push(out[..length].to_vec());
    compressed
}

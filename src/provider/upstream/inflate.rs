//! Decoders of compressed bodies, each in bounded steps: a step decodes at most one buffer.
//!
//! The bytes decide where they can: a body that is labelled `gzip` and is none is read as it is.

use std::io;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Buf, Bytes, BytesMut};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// The largest window of a zstd frame, as a power of two: 8 MiB, as RFC 9659 has it.
const MAX_ZSTD_WINDOW: u32 = 23;
/// Longest header of a gzip member: its name and comment are the upstream's.
const MAX_GZIP_HEADER: usize = 16 * 1024;
/// Bytes of a gzip member after its data: a checksum and a length.
const GZIP_TRAILER: usize = 8;

/// A coding of `content-encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// Returns the coding of that name, if it is one that is decoded here.
    pub(in crate::provider) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "br" => Self::Brotli,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// Returns the coding of a body that begins with those bytes, if they say so for certain.
    pub(in crate::provider) fn of(start: &[u8]) -> Option<Self> {
        if start.starts_with(b"\x1f\x8b\x08") {
            Some(Self::Gzip)
        } else if start.starts_with(b"\x28\xb5\x2f\xfd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }
}

/// A decoder of one coding.
pub(super) enum Decoder {
    Gzip(Box<GzipDecoder>),
    Deflate(Decompress, bool),
    Brotli(
        Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>,
        bool,
    ),
    Zstd(DCtx<'static>, bool),
}

impl Decoder {
    /// Returns a decoder for a body that begins with the byte `first`.
    pub(super) fn new(coding: Coding, first: &[u8]) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(Box::default()),
            Coding::Deflate => Self::Deflate(Decompress::new(has_zlib_header(first)), false),
            Coding::Brotli => {
                let (bytes, words, codes) = Default::default();
                Self::Brotli(Box::new(BrotliState::new(bytes, words, codes)), false)
            }
            Coding::Zstd => {
                let out_of_memory = || io::Error::from(io::ErrorKind::OutOfMemory);
                let mut context = DCtx::try_create().ok_or_else(out_of_memory)?;
                context
                    .set_parameter(DParameter::WindowLogMax(MAX_ZSTD_WINDOW))
                    .map_err(zstd_error)?;
                Self::Zstd(context, true)
            }
        })
    }

    /// Decodes from `input` until that is empty or `out` is full, and returns the bytes written.
    pub(super) fn decode(&mut self, input: &mut Bytes, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(gzip) => gzip.decode(input, out),
            Self::Deflate(inflate, ended) => {
                if *ended {
                    input.clear();
                    return Ok(0);
                }
                let (written, status) = inflate_step(inflate, input, out)?;
                *ended = status == Status::StreamEnd;
                Ok(written)
            }
            Self::Brotli(state, ended) => {
                if *ended {
                    input.clear();
                    return Ok(0);
                }
                let (mut unread, mut read) = (input.len(), 0);
                let (mut room, mut written, mut total) = (out.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut unread,
                    &mut read,
                    input,
                    &mut room,
                    &mut written,
                    out,
                    &mut total,
                    state,
                );
                input.advance(read);
                match result {
                    BrotliResult::ResultFailure => return Err(malformed("br")),
                    BrotliResult::ResultSuccess => *ended = true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                Ok(written)
            }
            Self::Zstd(context, ended) => {
                let (mut from, mut to) = (InBuffer::around(input), OutBuffer::around(out));
                let hint = context.decompress_stream(&mut to, &mut from);
                let (read, written) = (from.pos(), to.pos());
                let hint = hint.map_err(zstd_error)?;
                if read > 0 || written > 0 {
                    *ended = hint == 0;
                }
                input.advance(read);
                Ok(written)
            }
        }
    }

    /// Returns whether the body may end here.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Gzip(gzip) => gzip.is_complete(),
            Self::Deflate(_, ended) | Self::Brotli(_, ended) | Self::Zstd(_, ended) => *ended,
        }
    }
}

/// Decodes gzip, of any number of members.
#[derive(Default)]
pub(super) struct GzipDecoder {
    place: GzipPlace,
    /// The bytes of a header or a trailer so far.
    held: BytesMut,
    crc: Crc,
    members: u32,
}

#[derive(Default)]
enum GzipPlace {
    #[default]
    Header,
    Data(Decompress),
    Trailer,
    /// Padding, or whatever else some servers send after the last member.
    Padding,
}

impl GzipDecoder {
    fn decode(&mut self, input: &mut Bytes, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.place {
                GzipPlace::Header => {
                    if input.is_empty() {
                        return Ok(0);
                    }
                    let before = self.held.len();
                    self.held.extend_from_slice(input);
                    if self.members > 0
                        && !b"\x1f\x8b".starts_with(&self.held[..self.held.len().min(2)])
                    {
                        self.place = GzipPlace::Padding;
                        continue;
                    }
                    match header_length(&self.held)? {
                        Some(length) => {
                            input.advance(length - before);
                            self.held.clear();
                            self.crc.reset();
                            self.place = GzipPlace::Data(Decompress::new(false));
                        }
                        None if self.held.len() > MAX_GZIP_HEADER => return Err(malformed("gzip")),
                        None => {
                            input.clear();
                            return Ok(0);
                        }
                    }
                }
                GzipPlace::Data(inflate) => {
                    let (written, status) = inflate_step(inflate, input, out)?;
                    self.crc.update(&out[..written]);
                    if status == Status::StreamEnd {
                        self.place = GzipPlace::Trailer;
                    }
                    if written > 0 || input.is_empty() {
                        return Ok(written);
                    }
                }
                GzipPlace::Trailer => {
                    let more = input.len().min(GZIP_TRAILER - self.held.len());
                    self.held.extend_from_slice(&input.split_to(more));
                    if self.held.len() < GZIP_TRAILER {
                        return Ok(0);
                    }
                    let sums = [
                        self.crc.sum().to_le_bytes(),
                        self.crc.amount().to_le_bytes(),
                    ];
                    if self.held[..] != *sums.as_flattened() {
                        return Err(malformed("gzip"));
                    }
                    self.held.clear();
                    self.members += 1;
                    self.place = GzipPlace::Header;
                }
                GzipPlace::Padding => {
                    input.clear();
                    return Ok(0);
                }
            }
        }
    }

    fn is_complete(&self) -> bool {
        match self.place {
            GzipPlace::Header => self.held.is_empty() && self.members > 0,
            GzipPlace::Padding => true,
            GzipPlace::Data(_) | GzipPlace::Trailer => false,
        }
    }
}

/// Returns the length of a gzip member's header (RFC 1952), if it is all there.
fn header_length(bytes: &[u8]) -> io::Result<Option<usize>> {
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const CRC: u8 = 2;
    let Some(fixed) = bytes.first_chunk::<10>() else {
        return Ok(None);
    };
    if !fixed.starts_with(b"\x1f\x8b\x08") {
        return Err(malformed("gzip"));
    }
    let (flags, mut at) = (fixed[3], fixed.len());
    if flags & EXTRA != 0 {
        let Some(length) = bytes.get(at..at + 2) else {
            return Ok(None);
        };
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let rest = bytes.get(at..).unwrap_or_default();
            match memchr::memchr(0, rest) {
                Some(length) => at += length + 1,
                None => return Ok(None),
            }
        }
    }
    if flags & CRC != 0 {
        at += 2;
    }
    Ok((at <= bytes.len()).then_some(at))
}

/// Inflates one buffer.
fn inflate_step(
    inflate: &mut Decompress,
    input: &mut Bytes,
    out: &mut [u8],
) -> io::Result<(usize, Status)> {
    let before = (inflate.total_in(), inflate.total_out());
    let status = inflate
        .decompress(input, out, FlushDecompress::None)
        .map_err(|_| malformed("deflate"))?;
    let grown = |now: u64, then: u64| usize::try_from(now - then).unwrap_or(usize::MAX);
    input.advance(grown(inflate.total_in(), before.0).min(input.len()));
    Ok((grown(inflate.total_out(), before.1), status))
}

/// Returns whether `deflate` has the header of zlib, as it should: some servers send it raw.
fn has_zlib_header(start: &[u8]) -> bool {
    match *start {
        [first, second, ..] => {
            first & 0x0f == 8 && u16::from_be_bytes([first, second]).is_multiple_of(31)
        }
        _ => false,
    }
}

fn malformed(coding: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed {coding}"))
}

fn zstd_error(code: usize) -> io::Error {
    let name = zstd_safe::get_error_name(code);
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("malformed zstd: {name}"),
    )
}

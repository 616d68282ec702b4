//! Body framing (RFC 9112 §6 and §7.1): separates a message's body from the bytes on the wire, and
//! finds its end.
//!
//! Input that two implementations might read differently is an error. On a connection that carries
//! one message after the other, a wrong end would turn part of a body into somebody else's next
//! message.

use std::ops::Range;

use super::MalformedMessage;
use super::grammar::{ChunkExtension, Trailers};

/// Limit of the extensions of one chunk. They are checked and skipped, not interpreted.
const MAX_EXTENSION_BYTES: usize = 4 * 1024;
/// Limit of the trailer section. Trailers are checked and skipped, not interpreted.
const MAX_TRAILER_BYTES: usize = 16 * 1024;
/// Limit of the number of trailers.
const MAX_TRAILERS: u8 = 100;
/// Hex digits of a chunk size that fit into 64 bits, leading zeros included.
const MAX_SIZE_DIGITS: usize = 16;

/// The way in which a body is delimited, with the state of reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// The number of bytes that are still to come.
    Length(u64),
    /// Chunks, up to the last one and its trailers.
    Chunked(ChunkedReader),
    /// Everything up to the end of the connection.
    Close,
    /// The framing was invalid; nothing that follows on this connection can be trusted.
    Broken(MalformedMessage),
}

/// The result of decoding one piece of input.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The place of the body's bytes within the piece.
    pub body: Range<usize>,
    /// The number of bytes of the piece that belong to this message.
    pub used: usize,
}

impl Framing {
    /// Decodes the next piece of input. Where chunk headers lay between the body's bytes, these are
    /// moved together within `piece`. Bytes before a fault are still returned; the error comes from
    /// the next call.
    ///
    /// ```
    /// use http1::{ChunkedReader, Framing};
    ///
    /// let mut framing = Framing::Chunked(ChunkedReader::default());
    /// let mut piece = *b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\nHTTP/1.1 200";
    /// let decoded = framing.decode(&mut piece)?;
    /// assert_eq!(&piece[decoded.body], b"hello!");
    /// assert_eq!(&piece[decoded.used..], b"HTTP/1.1 200");
    /// assert!(framing.is_ended());
    /// # Ok::<(), http1::MalformedMessage>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the input violates the framing. All later calls fail with the same error.
    #[inline]
    pub fn decode(&mut self, piece: &mut [u8]) -> Result<Decoded, MalformedMessage> {
        match self {
            Framing::Length(left) => {
                let used = take_up_to(left, piece.len());
                Ok(Decoded {
                    body: 0..used,
                    used,
                })
            }
            Framing::Chunked(chunked) => {
                let (decoded, malformed) = chunked.decode(piece);
                let Some(malformed) = malformed else {
                    return Ok(decoded);
                };
                *self = Framing::Broken(malformed);
                if decoded.body.is_empty() {
                    Err(malformed)
                } else {
                    Ok(decoded)
                }
            }
            Framing::Broken(malformed) => Err(*malformed),
            Framing::Close => Ok(Decoded {
                body: 0..piece.len(),
                used: piece.len(),
            }),
        }
    }

    /// Returns true once the body has ended. A body that ends with its connection never does so
    /// here.
    #[inline]
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(chunked) => chunked.state == ChunkState::End,
            Framing::Close | Framing::Broken(_) => false,
        }
    }

    /// Returns true if a connection that closes now cuts nothing off.
    #[must_use]
    pub fn allows_close(&self) -> bool {
        matches!(self, Framing::Close) || self.is_ended()
    }
}

/// A reader of the chunked transfer coding (RFC 9112 §7.1) that accepts input in pieces of any
/// length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChunkedReader {
    state: ChunkState,
    /// Within a chunk size its value so far, within a chunk the bytes left of it.
    left: u64,
    /// The bytes of the current element with a limit: size digits, an extension, or the trailers.
    count: usize,
    /// The number of trailers.
    trailers: u8,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    Size,
    Extension(ChunkExtension),
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// Behind the last chunk.
    Trailers(Trailers),
    End,
}

impl ChunkedReader {
    /// Decodes a piece up to its end, the body's end, or a fault, which is returned beside what
    /// came before it.
    #[inline]
    fn decode(&mut self, piece: &mut [u8]) -> (Decoded, Option<MalformedMessage>) {
        let (mut used, mut body) = (0, 0..0);
        if self.state == ChunkState::Size && self.count == 0 {
            used = self.read_simple_size_line(piece);
        }
        while used < piece.len() && self.state != ChunkState::End {
            if self.state == ChunkState::Data {
                let from = used;
                used += take_up_to(&mut self.left, piece.len() - used);
                if self.left == 0 {
                    self.state = ChunkState::DataCr;
                }
                if body.is_empty() {
                    body = from..used;
                } else {
                    piece.copy_within(from..used, body.end);
                    body.end += used - from;
                }
            } else if self.state == ChunkState::DataCr && piece[used..].starts_with(b"\r\n") {
                self.state = ChunkState::Size;
                used += 2;
            } else if let Err(malformed) = self.step(piece[used]) {
                return (Decoded { body, used }, Some(malformed));
            } else {
                used += 1;
            }
        }
        (Decoded { body, used }, None)
    }

    /// Reads a chunk's size line if it is complete and has neither extension nor capital digits, as
    /// nearly every one; returns its length, 0 for any other line, which is then read byte by byte.
    #[inline]
    fn read_simple_size_line(&mut self, piece: &[u8]) -> usize {
        let mut size = 0;
        for (at, byte) in piece.iter().take(7).enumerate() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'\r' if size > 0 && piece.get(at + 1) == Some(&b'\n') => {
                    (self.left, self.state) = (size, ChunkState::Data);
                    return at + 2;
                }
                _ => return 0,
            };
            size = size << 4 | u64::from(digit);
        }
        0
    }

    /// Advances by one byte outside of chunk data.
    fn step(&mut self, byte: u8) -> Result<(), MalformedMessage> {
        use ChunkState::{Data, DataCr, DataLf, End, Extension, Size, SizeLf};
        self.state = match self.state {
            Size => self.step_size(byte)?,
            Extension(place) => {
                self.count(MAX_EXTENSION_BYTES, "chunk extension is too long")?;
                place.step(byte)?.map_or(SizeLf, Extension)
            }
            SizeLf if byte == b'\n' => {
                self.count = 0;
                if self.left == 0 {
                    ChunkState::Trailers(Trailers::LineStart)
                } else {
                    Data
                }
            }
            SizeLf => return Err(MalformedMessage("invalid chunk size")),
            DataCr if byte == b'\r' => DataLf,
            DataLf if byte == b'\n' => Size,
            DataCr | DataLf => return Err(MalformedMessage("chunk data is longer than its size")),
            ChunkState::Trailers(place) => self.step_trailers(place, byte)?,
            // Neither is read byte by byte.
            Data | End => return Err(MalformedMessage("invalid chunk")),
        };
        Ok(())
    }

    /// Returns the state after one byte of a size.
    fn step_size(&mut self, byte: u8) -> Result<ChunkState, MalformedMessage> {
        Ok(match byte {
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => {
                self.count(MAX_SIZE_DIGITS, "chunk size has too many digits")?;
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    _ => (byte | 0x20) - b'a' + 10,
                };
                self.left = self.left << 4 | u64::from(digit);
                ChunkState::Size
            }
            b'\r' if self.count > 0 => ChunkState::SizeLf,
            b';' | b' ' | b'\t' if self.count > 0 => {
                self.count = 1;
                ChunkState::Extension(match byte {
                    b';' => ChunkExtension::Start,
                    _ => ChunkExtension::Space,
                })
            }
            _ => return Err(MalformedMessage("invalid chunk size")),
        })
    }

    /// Returns the state after one byte behind the last chunk.
    fn step_trailers(&mut self, place: Trailers, byte: u8) -> Result<ChunkState, MalformedMessage> {
        let Some(next) = place.step(byte)? else {
            return Ok(ChunkState::End);
        };
        if next != Trailers::LastLineFeed {
            self.count(MAX_TRAILER_BYTES, "trailers are too long")?;
        }
        if next == Trailers::LineFeed {
            self.trailers += 1;
            if self.trailers > MAX_TRAILERS {
                return Err(MalformedMessage("too many trailers"));
            }
        }
        Ok(ChunkState::Trailers(next))
    }

    /// Counts one byte of the current element.
    fn count(&mut self, limit: usize, message: &'static str) -> Result<(), MalformedMessage> {
        self.count += 1;
        if self.count > limit {
            Err(MalformedMessage(message))
        } else {
            Ok(())
        }
    }
}

/// Takes up to `available` bytes off `left` and returns their number.
fn take_up_to(left: &mut u64, available: usize) -> usize {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
    *left -= taken as u64;
    taken
}

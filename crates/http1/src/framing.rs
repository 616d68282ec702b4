//! Where a message's body ends, and what of the bytes on the wire is the body, per RFC 9112.
//!
//! What two readers might read differently is an error: of a connection that carries one message after the other, a wrong
//! end makes the next message somebody else's.

use std::ops::Range;

use super::Malformed;

/// The longest chunk extension; nobody reads any.
const EXTENSION: usize = 4 * 1024;
/// The most that may follow the last chunk; nobody reads it.
const TRAILERS: usize = 16 * 1024;
/// Digits of a chunk's size: as many as fit into 64 bits.
const DIGITS: usize = 16;

/// How a body ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// After so many more bytes.
    Length(u64),
    /// With its last chunk.
    Chunked(Chunked),
    /// With the connection.
    Close,
    /// Nobody knows: what came is no such body, and nothing that follows is to be believed.
    Broken(Malformed),
}

/// What lay in a piece.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Where the body's bytes are now.
    pub body: Range<usize>,
    /// How much of the piece was this message's.
    pub used: usize,
}

impl Framing {
    /// Reads the next piece. The body's bytes are moved together where framing lay between them. Where something is wrong
    /// after some of them, they are given out, and the error is the next call's.
    ///
    /// # Errors
    ///
    /// When it is no such body; then nothing of it is to be believed.
    pub fn decode(&mut self, piece: &mut [u8]) -> Result<Decoded, Malformed> {
        match self {
            Framing::Length(left) => {
                let used = take(left, piece.len());
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
                // What came before it has been said.
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

    /// Whether the body's end has come. That of a body that ends with its connection never comes here.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(chunked) => chunked.at == At::End,
            Framing::Close | Framing::Broken(_) => false,
        }
    }

    /// Whether the connection's close is the body's end: where nothing else is.
    #[must_use]
    pub fn may_close(&self) -> bool {
        matches!(self, Framing::Close) || self.is_ended()
    }
}

/// A body in chunks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chunked {
    at: At,
    /// Of a size, what has been read of it; of a chunk, what is left of it.
    left: u64,
    /// Bytes of what is counted here: digits, an extension, trailers.
    count: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The start of a line after the last chunk.
    Line,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

impl Chunked {
    /// What is there, and what is wrong with what follows it.
    fn decode(&mut self, piece: &mut [u8]) -> (Decoded, Option<Malformed>) {
        let (mut used, mut body) = (0, 0..0);
        if self.at == At::Size && self.count == 0 {
            used = self.small(piece);
        }
        while used < piece.len() && self.at != At::End {
            if self.at == At::Data {
                let from = used;
                used += take(&mut self.left, piece.len() - used);
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                if body.is_empty() {
                    body = from..used;
                } else {
                    piece.copy_within(from..used, body.end);
                    body.end += used - from;
                }
            } else if self.at == At::DataCr && piece[used..].starts_with(b"\r\n") {
                self.at = At::Size;
                used += 2;
            } else if let Err(malformed) = self.step(piece[used]) {
                return (Decoded { body, used }, Some(malformed));
            } else {
                used += 1;
            }
        }
        (Decoded { body, used }, None)
    }

    /// Reads the line before a chunk, if it is whole and plain: how much of the piece it is. Nearly every chunk begins so;
    /// whatever else there is, is read byte by byte.
    fn small(&mut self, piece: &[u8]) -> usize {
        let mut size = 0;
        for (at, byte) in piece.iter().take(7).enumerate() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'\r' if size > 0 && piece.get(at + 1) == Some(&b'\n') => {
                    (self.left, self.at) = (size, At::Data);
                    return at + 2;
                }
                _ => return 0,
            };
            size = size << 4 | u64::from(digit);
        }
        0
    }

    fn step(&mut self, byte: u8) -> Result<(), Malformed> {
        self.at = match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.count(DIGITS, "a chunk's size has too many digits")?;
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    _ => (byte | 0x20) - b'a' + 10,
                };
                // Sixteen digits fit.
                self.left = self.left << 4 | u64::from(digit);
                At::Size
            }
            (At::Size, b';') if self.count > 0 => {
                self.count = 0;
                At::Extension
            }
            (At::Size, b'\r') if self.count > 0 => At::SizeLf,
            (At::Extension, b'\r') => At::SizeLf,
            // A lone line feed is a line's end to some and nothing to others.
            (At::Extension, byte) if byte != b'\n' => {
                self.count(EXTENSION, "a chunk's extension is too long")?;
                At::Extension
            }
            (At::SizeLf, b'\n') => {
                self.count = 0;
                if self.left == 0 { At::Line } else { At::Data }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size,
            (At::Line, b'\r') => At::EndLf,
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::Line | At::Trailer, byte) if byte != b'\n' => {
                self.count(TRAILERS, "the trailers are too long")?;
                At::Trailer
            }
            (At::TrailerLf, b'\n') => {
                self.count(TRAILERS, "the trailers are too long")?;
                At::Line
            }
            (At::EndLf, b'\n') => At::End,
            (At::Size | At::SizeLf, _) => return Err(Malformed("a chunk's size is none")),
            (At::Extension, _) => return Err(Malformed("a chunk's extension holds a line feed")),
            (At::DataCr | At::DataLf, _) => {
                return Err(Malformed("a chunk is longer than it says"));
            }
            (At::Line | At::Trailer | At::TrailerLf | At::EndLf | At::Data | At::End, _) => {
                return Err(Malformed("the trailers are none"));
            }
        };
        Ok(())
    }

    fn count(&mut self, most: usize, what: &'static str) -> Result<(), Malformed> {
        self.count += 1;
        if self.count > most {
            Err(Malformed(what))
        } else {
            Ok(())
        }
    }
}

/// Takes as much of `there` as is left.
fn take(left: &mut u64, there: usize) -> usize {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(there);
    *left -= taken as u64;
    taken
}

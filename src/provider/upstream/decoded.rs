//! The decoding of a compressed body: each piece as it arrives, in bounded slices.

use std::fmt;
use std::io;

use bytes::{Bytes, BytesMut};
use dialect::BodyKind;

use super::inflate::{Coding, Decoder};

/// Bytes that are decoded at once.
const SLICE: usize = 16 * 1024;
/// Bytes that tell the coding.
const MAX_START: usize = 6;

/// The decoding of one body.
pub(in crate::provider) struct BodyDecoder {
    coding: Coding,
    stage: Stage,
    input: Bytes,
}

enum Stage {
    /// The first bytes, which tell whether the body is encoded at all.
    Start(BytesMut),
    Decoding(Decoder, Box<[u8; SLICE]>),
    /// The body is not encoded, whatever its label says.
    Plain,
}

impl fmt::Debug for BodyDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyDecoder")
            .field("coding", &self.coding)
            .finish_non_exhaustive()
    }
}

impl BodyDecoder {
    pub(super) fn new(coding: Coding) -> Self {
        Self {
            coding,
            stage: Stage::Start(BytesMut::new()),
            input: Bytes::new(),
        }
    }

    /// Takes the next bytes of the body. Those before must have been decoded.
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.input = bytes;
    }

    /// Returns the next slice of the input, decoded; none if it has no more.
    pub(super) fn decode(&mut self) -> io::Result<Bytes> {
        if let Stage::Start(start) = &mut self.stage {
            start.extend_from_slice(&std::mem::take(&mut self.input));
            if start.len() < MAX_START {
                return Ok(Bytes::new());
            }
            self.begin()?;
        }
        match &mut self.stage {
            Stage::Decoding(decoder, buffer) => loop {
                let before = self.input.len();
                let written = decoder.decode(&mut self.input, &mut buffer[..])?;
                // The end of a frame may give nothing, with another frame behind it.
                let is_done = self.input.is_empty() || self.input.len() == before;
                if written > 0 || is_done {
                    return Ok(Bytes::copy_from_slice(&buffer[..written]));
                }
            },
            Stage::Start(_) | Stage::Plain => Ok(std::mem::take(&mut self.input)),
        }
    }

    /// Looks at the first bytes, and begins to decode them.
    fn begin(&mut self) -> io::Result<()> {
        let Stage::Start(start) = std::mem::replace(&mut self.stage, Stage::Plain) else {
            return Ok(());
        };
        let is_plain = match self.coding {
            Coding::Gzip | Coding::Zstd => Coding::of(&start) != Some(self.coding),
            // These have no mark of their own.
            Coding::Deflate | Coding::Brotli => match BodyKind::of(&start, false) {
                Some(BodyKind::Events) => !start.starts_with(b":"),
                Some(BodyKind::Json) => start.starts_with(b"{\"") || start.starts_with(b"{\n"),
                _ => false,
            },
        };
        if !is_plain {
            let decoder = Decoder::new(self.coding, &start)?;
            self.stage = Stage::Decoding(decoder, Box::new([0; SLICE]));
        }
        self.input = start.freeze();
        Ok(())
    }

    /// Returns the rest of a body that has ended; none if it has none. Called until then.
    pub(super) fn end(&mut self) -> io::Result<Bytes> {
        if let Stage::Start(start) = &self.stage
            && !start.is_empty()
        {
            self.begin()?;
        }
        let rest = self.decode()?;
        match &self.stage {
            Stage::Decoding(decoder, _) if rest.is_empty() && !decoder.is_complete() => {
                Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "its compressed body broke off",
                ))
            }
            _ => Ok(rest),
        }
    }
}

#[cfg(test)]
mod tests;

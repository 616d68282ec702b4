//! Cuts large frames of a client into small fragments on their way to the protocol.
//!
//! The library reserves a frame's announced length as soon as it has read its header, so fourteen
//! bytes would take as much memory as the largest message. A message in fragments takes as much as
//! has arrived. RFC 6455, 5.4 lets an intermediary change the fragmentation of a message.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest fragment that is passed on, in bytes: a multiple of the mask's four.
const MAX_FRAGMENT: u64 = 8 * 1024;
/// The bytes that are read at once.
const READ_SIZE: usize = 4 * 1024;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const OPCODE: u8 = 0x0f;
/// The opcodes of data: continuation, text, binary.
const MAX_DATA_OPCODE: u8 = 2;
/// The length that stands for one of 16 bits, which follows.
const LENGTH_16: u8 = 126;
/// The length that stands for one of 64 bits.
const LENGTH_64: u8 = 127;

/// A connection whose client's large frames arrive as fragments.
#[derive(Debug)]
pub(super) struct Fragments<S> {
    io: S,
    cutter: FrameCutter,
    /// Bytes that were read; those before `passed_on` have been passed on.
    out: Vec<u8>,
    passed_on: usize,
    /// The bytes that may still be read, if they are limited.
    allowed: Option<usize>,
    is_over_limit: bool,
}

impl<S> Fragments<S> {
    /// Returns the connection; frames longer than `max_message` are passed on as they are, to be
    /// refused at once.
    pub(super) fn new(io: S, max_message: usize) -> Self {
        Self {
            io,
            cutter: FrameCutter {
                max_message: max_message as u64,
                header: Vec::new(),
                frame: None,
                payload: 0,
            },
            out: Vec::new(),
            passed_on: 0,
            allowed: None,
            is_over_limit: false,
        }
    }

    /// Reads so many bytes and no more, until that is lifted by `None`.
    pub(super) fn limit(&mut self, bytes: Option<usize>) {
        self.allowed = bytes;
    }

    /// Returns whether reading has stopped at the limit.
    pub(super) fn is_over_limit(&self) -> bool {
        self.is_over_limit
    }

    /// Returns the connection below.
    pub(super) fn get_mut(&mut self) -> &mut S {
        &mut self.io
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Fragments<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.out.is_empty() {
            if this.allowed == Some(0) {
                // Whoever set the limit looks at once, and lifts it or closes the connection.
                this.is_over_limit = true;
                return Poll::Pending;
            }
            let mut space = [0; READ_SIZE];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.io).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if let Some(allowed) = &mut this.allowed {
                *allowed = allowed.saturating_sub(read.filled().len());
            }
            this.cutter.cut(read.filled(), &mut this.out);
        }
        let rest = this.out.get(this.passed_on..).unwrap_or_default();
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        this.passed_on += length;
        if this.passed_on == this.out.len() {
            // A socket that waits holds nothing.
            (this.out, this.passed_on) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Fragments<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Cuts the frames of a stream of bytes.
#[derive(Debug)]
struct FrameCutter {
    max_message: u64,
    /// The bytes of the current frame's header, as far as they have arrived.
    header: Vec<u8>,
    /// The frame that is being cut.
    frame: Option<Frame>,
    /// The payload that follows the header that was passed on last, in bytes.
    payload: u64,
}

/// A client's data frame that is being cut.
#[derive(Debug)]
struct Frame {
    /// The first byte of the next fragment's header, without FIN.
    first: u8,
    is_final: bool,
    /// Empty if the client did not mask it, which is refused by whoever reads it.
    mask: Vec<u8>,
    /// The payload that is in no fragment yet, in bytes.
    left: u64,
}

impl FrameCutter {
    /// Appends the bytes, cut, to `out`.
    fn cut(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            if self.payload == 0 {
                self.header.push(bytes[0]);
                bytes = &bytes[1..];
                self.take_header(out);
            } else {
                let length =
                    usize::try_from(self.payload).map_or(bytes.len(), |n| n.min(bytes.len()));
                let (payload, rest) = bytes.split_at(length);
                out.extend_from_slice(payload);
                self.payload -= length as u64;
                bytes = rest;
            }
            if self.payload == 0 {
                self.begin_fragment(out);
            }
        }
    }

    /// Takes the header, if all of it has arrived.
    fn take_header(&mut self, out: &mut Vec<u8>) {
        let &[first, second, ref rest @ ..] = &self.header[..] else {
            return;
        };
        let length_bytes = match second & !MASKED {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        let mask_bytes = if second & MASKED == 0 { 0 } else { 4 };
        if rest.len() < length_bytes + mask_bytes {
            return;
        }
        let (number, mask) = rest.split_at(length_bytes);
        let length = match length_bytes {
            0 => u64::from(second & !MASKED),
            _ => number
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let is_data = first & OPCODE <= MAX_DATA_OPCODE;
        if is_data && length > MAX_FRAGMENT && length <= self.max_message {
            self.frame = Some(Frame {
                first: first & !FINAL,
                is_final: first & FINAL != 0,
                mask: mask.to_vec(),
                left: length,
            });
        } else {
            out.extend_from_slice(&self.header);
            self.payload = length;
        }
        self.header.clear();
    }

    /// Appends the header of the next fragment of the frame that is being cut, if there is one.
    fn begin_fragment(&mut self, out: &mut Vec<u8>) {
        let Some(frame) = &mut self.frame else {
            return;
        };
        let length = frame.left.min(MAX_FRAGMENT);
        frame.left -= length;
        let is_last = frame.left == 0;
        let fin = if is_last && frame.is_final { FINAL } else { 0 };
        let masked = if frame.mask.is_empty() { 0 } else { MASKED };
        out.extend([frame.first | fin, masked | LENGTH_16]);
        out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(&frame.mask);
        // All after the first are continuations, and have no reserved bits.
        frame.first = 0;
        self.payload = length;
        if is_last {
            self.frame = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use tokio_tungstenite::tungstenite::protocol::Role;
    use tokio_tungstenite::tungstenite::{Message, WebSocket};

    use super::*;

    /// Returns the bytes that a client sends for those messages.
    fn sent(messages: &[Message]) -> Vec<u8> {
        let mut client =
            WebSocket::from_raw_socket(io::Cursor::new(Vec::new()), Role::Client, None);
        for message in messages {
            client.write(message.clone()).unwrap();
        }
        client.flush().unwrap();
        client.into_inner().into_inner()
    }

    fn cutter(max_message: u64) -> FrameCutter {
        FrameCutter {
            max_message,
            header: Vec::new(),
            frame: None,
            payload: 0,
        }
    }

    fn received(wire: Vec<u8>, count: usize) -> Vec<Message> {
        let mut server = WebSocket::from_raw_socket(io::Cursor::new(wire), Role::Server, None);
        (0..count).map(|_| server.read().unwrap()).collect()
    }

    #[test]
    fn messages_of_any_length_in_pieces_of_any_length_arrive_whole() {
        let lengths = [
            0, 1, 125, 126, 8191, 8192, 8193, 16_384, 65_535, 65_536, 100_001,
        ];
        let mut messages: Vec<Message> = lengths
            .iter()
            .map(|length| {
                Message::text(
                    (0..*length)
                        .map(|n| char::from(b'a' + (n % 26) as u8))
                        .collect::<String>(),
                )
            })
            .collect();
        messages.insert(3, Message::Pong("p".into()));
        let wire = sent(&messages);
        for step in [1, 2, 7, 4096, wire.len()] {
            let (mut cutter, mut out) = (cutter(1 << 20), Vec::new());
            wire.chunks(step)
                .for_each(|piece| cutter.cut(piece, &mut out));
            assert_eq!(received(out, messages.len()), messages, "{step}");
        }
    }

    #[test]
    fn no_frame_of_data_is_longer_than_a_fragment_but_one_that_is_refused() {
        let wire = sent(&[Message::text("x".repeat(50_000))]);
        let mut out = Vec::new();
        cutter(1 << 20).cut(&wire, &mut out);
        // FIN is not set, and the length is that of a fragment.
        assert_eq!(out[..4], [0x01, 0x80 | LENGTH_16, 0x20, 0x00]);
        assert_eq!(out.len(), wire.len() - 8 + 7 * 8);
        let mut out = Vec::new();
        cutter(49_999).cut(&wire, &mut out);
        assert_eq!(out, wire);
    }
}

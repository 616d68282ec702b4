//! A WebSocket as messages of text, within bounds: what is not taken is not added to, what is not
//! answered is not kept.
//!
//! [`Socket::poll_flushed`] stands before everything else. As long as the client has not taken what
//! it was given, nothing more is read from it and nothing is written, so that neither its messages
//! nor the pongs that its pings ask for pile up here, and what makes the messages waits, too. How
//! long that may last is for the connection to say, whose writes are timed.
//!
//! Not here: the handshake, and what the messages say (`session`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes, error::ProtocolError};

use super::fragments::Fragments;

/// The size of a socket's read buffer, in bytes.
const READ_BUFFER: usize = 4 * 1024;
/// So much is gathered before it must be taken: with one message more, all that is ever held for a
/// client.
const WRITE_BUFFER: usize = 8 * 1024;
/// So many pings may lie unanswered when the next is due.
const MAX_UNANSWERED_PINGS: u8 = 2;
/// The time that a client has to read the close reason and to close its own side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The bytes discarded meanwhile before it is cut off. Cut off at once, it would never read the
/// reason.
const MAX_DISCARDED_BYTES: usize = 16 << 20;

/// The code of a socket that is closed for want of a key.
const UNAUTHORIZED: u16 = 4401;

/// The reason for closing a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// The client closed it, or is gone: there is nobody to tell.
    Gone,
    /// 1000: nothing ran and nothing was asked for.
    Idle,
    /// 1001: the server is shutting down.
    Draining,
    /// 1002: what came is no WebSocket.
    Protocol,
    /// 1003: binary messages mean nothing here.
    Binary,
    /// 1007: a text that is no UTF-8.
    Encoding,
    /// 1009: a message over the cap.
    TooLarge,
    /// 4401: there is no key, or it is not good any more.
    Unauthorized,
}

impl CloseReason {
    fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            CloseReason::Gone => return None,
            CloseReason::Idle => (
                CloseCode::Normal,
                "idle: nothing runs, and nothing was asked for (websocket.idle)",
            ),
            CloseReason::Draining => (CloseCode::Away, "the server is shutting down"),
            CloseReason::Protocol => (CloseCode::Protocol, "not the WebSocket protocol"),
            CloseReason::Binary => (CloseCode::Unsupported, "messages are texts here"),
            CloseReason::Encoding => (CloseCode::Invalid, "a text that is not UTF-8"),
            CloseReason::TooLarge => (
                CloseCode::Size,
                "larger than a message may be (websocket.max_message)",
            ),
            CloseReason::Unauthorized => (
                CloseCode::Library(UNAUTHORIZED),
                "no API key, or none that is valid",
            ),
        };
        Some(CloseFrame {
            code,
            reason: Utf8Bytes::from_static(reason),
        })
    }
}

impl From<Error> for CloseReason {
    fn from(error: Error) -> Self {
        match error {
            Error::Capacity(_) => CloseReason::TooLarge,
            Error::Utf8(_) => CloseReason::Encoding,
            Error::Protocol(
                ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
            ) => CloseReason::Gone,
            Error::Protocol(_) => CloseReason::Protocol,
            _ => CloseReason::Gone,
        }
    }
}

/// The server's end of a WebSocket.
#[derive(Debug)]
pub(super) struct Socket<S> {
    inner: WebSocketStream<Fragments<S>>,
    /// Bytes that were sent since the client last took all.
    queued: usize,
    flushed: bool,
    ping: Option<Ping>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Of a connection on which the handshake is done. Its client's messages may have so many
    /// bytes, and it is asked for a sign of life so often, if at all.
    pub(super) async fn new(io: S, max_message: usize, ping: Option<Duration>) -> Self {
        let config = WebSocketConfig::default()
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message))
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            // Never reached: nothing is sent while WRITE is. A cap on this would be one on the
            // longest event.
            .max_write_buffer_size(usize::MAX);
        let io = Fragments::new(io, max_message);
        let inner = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self {
            inner,
            queued: 0,
            flushed: true,
            ping: ping.map(Ping::new),
        }
    }

    /// Ready once the client has taken all that it was given.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub(super) fn poll_flushed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        if !self.flushed {
            std::task::ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
            (self.flushed, self.queued) = (true, 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Polls for a message of the client; `None` if it was for the socket itself. Call it only when
    /// flushed.
    ///
    /// # Errors
    ///
    /// When it says goodbye, or what can't be said here.
    pub(super) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Utf8Bytes>, CloseReason>> {
        let heard = std::task::ready!(Pin::new(&mut self.inner).poll_next(cx));
        if let Some(ping) = &mut self.ping {
            ping.unanswered = 0;
        }
        Poll::Ready(match heard {
            Some(Ok(Message::Text(text))) => Ok(Some(text)),
            Some(Ok(Message::Binary(_))) => Err(CloseReason::Binary),
            // Its pong, or its goodbye, is written by the library; it is on its way once there is
            // room again.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                self.flushed = false;
                Ok(None)
            }
            Some(Ok(Message::Close(_))) | None => Err(CloseReason::Gone),
            Some(Err(error)) => Err(error.into()),
        })
    }

    /// Reads so many bytes and no more, until that is lifted by `None`.
    pub(super) fn limit_reading(&mut self, bytes: Option<usize>) {
        self.inner.get_mut().limit(bytes);
    }

    /// Returns whether the client has sent more than may be read.
    pub(super) fn is_over_limit(&mut self) -> bool {
        self.inner.get_mut().is_over_limit()
    }

    /// Returns whether so much waits for the client that it should read first.
    pub(super) fn is_full(&self) -> bool {
        self.queued >= WRITE_BUFFER
    }

    /// Returns whether anything waits for the client.
    pub(super) fn is_flushed(&self) -> bool {
        self.flushed
    }

    /// Says that; it is on its way once there is room again.
    ///
    /// # Errors
    ///
    /// When the client is gone.
    pub(super) fn send_text(&mut self, text: String) -> Result<(), CloseReason> {
        self.send(Message::Text(text.into()))
    }

    /// Asks the client for a sign of life when that is due.
    ///
    /// # Errors
    ///
    /// When it has not answered for too long.
    pub(super) fn poll_ping(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        let Some(ping) = &mut self.ping else {
            return Ok(());
        };
        if ping.timer.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        if ping.unanswered >= MAX_UNANSWERED_PINGS {
            return Err(CloseReason::Gone);
        }
        ping.unanswered += 1;
        let next = Instant::now() + ping.every;
        ping.timer.as_mut().reset(next);
        // Registers the new deadline; it can't be there yet.
        let _ = ping.timer.as_mut().poll(cx);
        self.send(Message::Ping(Bytes::new()))
    }

    fn send(&mut self, message: Message) -> Result<(), CloseReason> {
        self.queued += message.len();
        self.flushed = false;
        Ok(Pin::new(&mut self.inner).start_send(message)?)
    }

    /// Tells the client why, and closes.
    pub(super) async fn close(mut self, over: CloseReason) {
        let _late = tokio::time::timeout(CLOSE_TIMEOUT, self.close_handshake(over)).await;
    }

    async fn close_handshake(&mut self, over: CloseReason) -> Result<(), Error> {
        if let Some(frame) = over.frame() {
            Pin::new(&mut self.inner).start_send(Message::Close(Some(frame)))?;
        }
        std::future::poll_fn(|cx| Pin::new(&mut self.inner).poll_flush(cx)).await?;
        let io = self.inner.get_mut().get_mut();
        io.shutdown().await?;
        let mut thrown_away = 0;
        let mut piece = [0; READ_BUFFER];
        while thrown_away < MAX_DISCARDED_BYTES {
            match io.read(&mut piece).await? {
                0 => break,
                read => thrown_away += read,
            }
        }
        Ok(())
    }
}

/// Signs of life.
#[derive(Debug)]
struct Ping {
    every: Duration,
    timer: Pin<Box<Sleep>>,
    unanswered: u8,
}

impl Ping {
    fn new(every: Duration) -> Self {
        Self {
            every,
            timer: Box::pin(tokio::time::sleep(every)),
            unanswered: 0,
        }
    }
}

//! The key of a socket that was opened without one, as a browser opens them: its first message.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::message::{self, parse_message};
use super::socket::{CloseReason, Socket};
use crate::access::Caller;
use crate::service::Service;
use base::id::RequestId;
use dialect::failure::Failure;
use dialect::plain;

/// The time within which the key must come.
const KEY_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest message with a key, in bytes; more is not even read.
const MAX_KEY_MESSAGE_BYTES: usize = 64 * 1024;

/// Waits for the message that says who the client is.
///
/// # Errors
///
/// The reason to close the socket: it said something else, or nothing in time.
pub(super) async fn receive_key<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
    service: &Arc<Service>,
) -> Result<Caller, CloseReason> {
    socket.limit_reading(Some(MAX_KEY_MESSAGE_BYTES));
    let received = tokio::time::timeout(KEY_TIMEOUT, first_text(socket)).await;
    let text = received.unwrap_or(Err(CloseReason::Unauthorized))?;
    let caller = match authenticate(&text, service) {
        Ok(caller) => caller,
        Err(failure) => {
            let id = RequestId::random();
            let told = message::refused(None, failure.into(), &plain::DIALECT, &id);
            socket.send_text(told)?;
            return Err(CloseReason::Unauthorized);
        }
    };
    socket.limit_reading(None);
    Ok(caller)
}

/// Waits for the first message of text.
async fn first_text<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
) -> Result<Utf8Bytes, CloseReason> {
    std::future::poll_fn(|cx| {
        loop {
            std::task::ready!(socket.poll_flushed(cx))?;
            match socket.poll_message(cx) {
                Poll::Ready(Ok(Some(text))) => return Poll::Ready(Ok(text)),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(CloseReason::Gone)) => return Poll::Ready(Err(CloseReason::Gone)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(CloseReason::Unauthorized)),
                Poll::Pending if socket.is_over_limit() => {
                    return Poll::Ready(Err(CloseReason::Unauthorized));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

fn authenticate(text: &str, service: &Service) -> Result<Caller, Failure> {
    let message = parse_message(text)?;
    if message.kind != "auth" {
        return Err(Failure::invalid_api_key(
            "the first message should be {\"type\": \"auth\", \"token\": \"trk_…\"}",
        ));
    }
    let token = message.into_token()?;
    service.access.authenticate_token(&token)
}

//! WebSocket handshakes, against tungstenite's: whatever `http1` accepts, tungstenite must accept
//! with the same key derived, and all that follows the handshake is the WebSocket's.

use std::convert::Infallible;
use std::future::pending;
use std::io::{self, Cursor, Read, Write};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use http1::server::{ConnectionEnd, IdleMark, ServeOptions, serve_connection};
use http1::{OnUpgrade, websocket_accept};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use crate::socket::{MemorySocket, block_on, cut};

/// An accepted handshake.
#[derive(Debug)]
struct Accepted {
    accept: HeaderValue,
    /// The bytes that the WebSocket got.
    received: Vec<u8>,
    /// tungstenite reads no such request, see [`is_ours_alone`].
    is_ours_alone: bool,
}

/// Serves the input, cut into pieces of the given lengths, and compares.
pub fn check(cuts: &[u8], data: &[u8]) {
    let Some(ours) = serve(cut(data, cuts)) else {
        return;
    };
    assert!(data.ends_with(&ours.received));
    if ours.is_ours_alone {
        return;
    }
    let head = &data[..data.len() - ours.received.len()];
    let answer = accept_with_tungstenite(head);
    let answer = answer.unwrap_or_else(|| panic!("refused: {:?}", String::from_utf8_lossy(head)));
    let line = [b"sec-websocket-accept: ", ours.accept.as_bytes(), b"\r\n"].concat();
    let found = answer
        .windows(line.len())
        .any(|part| part.eq_ignore_ascii_case(&line));
    assert!(found, "{}", String::from_utf8_lossy(&answer));
}

/// Returns true for headers that tungstenite doesn't read: it takes `upgrade` for one protocol, the
/// first `connection` for all of it, separated by commas and spaces, both for text, and 124 headers
/// at most.
fn is_ours_alone(headers: &HeaderMap) -> bool {
    let has_other = |name: HeaderName| {
        let mut values = headers.get_all(&name).iter();
        let first = values.next().and_then(|value| value.to_str().ok());
        let is_plain =
            |text: &str| !text.contains('\t') && (name != UPGRADE || !text.contains(','));
        !first.is_some_and(is_plain) || values.next().is_some()
    };
    has_other(CONNECTION) || has_other(UPGRADE) || headers.len() > 124
}

/// Serves the connection up to its first upgrade.
fn serve(pieces: Vec<Vec<u8>>) -> Option<Accepted> {
    let accepted = Arc::new(Mutex::new(None));
    let upgrade = Arc::new(Mutex::new(None));
    let seen = Mutex::new(false);
    let respond = |mut request: Request<_>| {
        let is_first = !std::mem::replace(&mut *seen.lock().expect("one thread"), true);
        let answer = websocket_accept(&request);
        let mut response = Response::new(Empty::<Bytes>::new());
        if let Ok(accept) = answer {
            *upgrade.lock().expect("one thread") = request.extensions_mut().remove::<OnUpgrade>();
            let is_ours_alone = !is_first || is_ours_alone(request.headers());
            *accepted.lock().expect("one thread") = Some((accept.clone(), is_ours_alone));
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        std::future::ready(Ok::<_, Infallible>(response))
    };
    block_on(async {
        let options = ServeOptions {
            peer_closed: pin!(pending()),
            drain: &CancellationToken::new(),
            head_deadline: pin!(tokio::time::sleep(Duration::from_secs(3600))),
            idle_timeout: Duration::from_secs(3600),
            idle: &IdleMark::default(),
        };
        let socket = MemorySocket::of_client(pieces);
        let reject = |_| Response::new(Empty::new());
        let end = serve_connection(socket, options, respond, reject).await;
        let accepted = accepted.lock().expect("one thread").take();
        assert_eq!(end == ConnectionEnd::Upgraded, accepted.is_some());
        let upgrade = upgrade.lock().expect("one thread").take();
        let (accept, is_ours_alone) = accepted?;
        let mut upgraded = upgrade?.upgraded().await.expect("the connection");
        let mut received = Vec::new();
        upgraded
            .read_to_end(&mut received)
            .await
            .expect("all of it");
        Some(Accepted {
            accept,
            received,
            is_ours_alone,
        })
    })
}

/// Returns tungstenite's answer to this head, if it accepts it.
fn accept_with_tungstenite(head: &[u8]) -> Option<Vec<u8>> {
    let mut stream = Duplex {
        input: Cursor::new(head.to_vec()),
        output: Vec::new(),
    };
    tungstenite::accept(&mut stream).ok()?;
    Some(stream.output)
}

/// A blocking stream in memory.
struct Duplex {
    input: Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Read for Duplex {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.input, buf)
    }
}

impl Write for Duplex {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.output.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

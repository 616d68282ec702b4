//! Requests on a connection, against hyper's server: whatever `http1` accepts, hyper must accept
//! with the same method, target, headers and body. What `http1` refuses and hyper does not must be
//! among the rules in which it is stricter on purpose.

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use http1::server::{BadHead, ConnectionEnd, HeadError, IdleMark, ServeOptions, serve_connection};
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use crate::body::{Body, read_body};
use crate::socket::{MemorySocket, block_on, cut};

/// Refusals of heads that hyper accepts.
const STRICTER: &[&str] = &[
    "the host header is missing",
    "more than one host header",
    "invalid host header",
    "invalid request target",
    "CONNECT is not supported",
    "both content-length and transfer-encoding are present",
    "transfer-encoding is not `chunked`",
];

/// Headers of a request, both servers' alike.
const MAX_HEADERS: usize = 256;

/// A request as a server understood it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    head: String,
    has_odd_length: bool,
    is_coded: bool,
    body: Body,
}

/// The requests of one connection, and the refusal that ended it, if one did.
#[derive(Debug, PartialEq, Eq)]
struct Served {
    requests: Vec<Seen>,
    refused: Option<HeadError>,
}

/// Serves the input in one piece and in pieces of the given lengths, and compares.
pub fn check(cuts: &[u8], data: &[u8]) {
    let ours = serve(cut(data, &[]));
    assert_eq!(ours, serve(cut(data, cuts)), "cuts change nothing");
    let theirs = serve_with_hyper(cut(data, &[]));
    for (index, ours) in ours.requests.iter().enumerate() {
        // A list of equal lengths is one length to us, as RFC 9110 §8.6 permits, and none to hyper,
        // which has other uses for the greatest numbers, too.
        if ours.has_odd_length {
            return;
        }
        let theirs = theirs
            .get(index)
            .unwrap_or_else(|| panic!("hyper refuses {ours:?}"));
        assert_eq!(ours.head, theirs.head);
        if !ours.body.agrees_with(&theirs.body) {
            panic!("{ours:?} is not {theirs:?}");
        }
        if !(ours.body.is_complete && theirs.body.is_complete) {
            return;
        }
    }
    if let Some(next) = theirs.get(ours.requests.len()) {
        let Some(HeadError::Malformed(malformed)) = ours.refused else {
            panic!("refused with {:?}: {next:?}", ours.refused);
        };
        let is_stricter = STRICTER.contains(&malformed.0)
            // hyper reads no length beside a transfer coding.
            || malformed.0 == "invalid content-length" && next.is_coded;
        assert!(is_stricter, "{malformed}: {next:?}");
    }
}

fn serve(pieces: Vec<Vec<u8>>) -> Served {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let refused = Mutex::new(None);
    let respond = |request: Request<_>| record(request, requests.clone());
    let reject = |bad: BadHead| {
        *refused.lock().expect("one thread") = Some(bad.error);
        Response::new(Empty::new())
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
        let end = serve_connection(socket, options, respond, reject).await;
        assert_ne!(end, ConnectionEnd::Upgraded);
    });
    Served {
        requests: std::mem::take(&mut *requests.lock().expect("one thread")),
        refused: refused.into_inner().expect("one thread"),
    }
}

fn serve_with_hyper(pieces: Vec<Vec<u8>>) -> Vec<Seen> {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let service = hyper::service::service_fn(|request| record(request, requests.clone()));
    let socket = TokioIo::new(MemorySocket::of_client(pieces));
    let connection = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .serve_connection(socket, service);
    let _ = block_on(connection);
    std::mem::take(&mut *requests.lock().expect("one thread"))
}

/// Reads a request to its end and notes it.
async fn record<B>(
    request: Request<B>,
    requests: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Empty<Bytes>>, Infallible>
where
    B: http_body::Body<Data = Bytes>,
{
    let (mut parts, body) = request.into_parts();
    // hyper leaves out repetitions of the same length.
    let number = |length: &HeaderValue| length.to_str().ok()?.parse::<u64>().ok();
    if let Some(length) = parts.headers.get(CONTENT_LENGTH).and_then(number) {
        let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
        if lengths.all(|other| number(other) == Some(length)) {
            parts.headers.insert(CONTENT_LENGTH, length.into());
        }
    }
    let head = format!(
        "{} {} {:?} {:?}",
        parts.method, parts.uri, parts.version, parts.headers
    );
    let body = read_body(body).await;
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    requests.lock().expect("one thread").push(Seen {
        head,
        has_odd_length: lengths.any(|length| crate::body::is_odd_length(length.as_bytes())),
        is_coded: parts.headers.contains_key(TRANSFER_ENCODING),
        body,
    });
    Ok(Response::new(Empty::new()))
}

//! Responses of an upstream, against hyper's client: whatever `http1` accepts, hyper must accept
//! with the same status, headers and body. What `http1` refuses and hyper does not must be among
//! the rules in which it is stricter on purpose.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{Request, Response};
use http_body_util::Full;
use http1::client::{ClientConnection, EncodedRequest, FailedWrite, H1Error, IdlePool, SendError};
use hyper_util::rt::TokioIo;

use crate::body::{Body, read_body};
use crate::socket::{MemorySocket, block_on, cut};

/// Refusals of responses that hyper accepts.
const STRICTER: &[&str] = &[
    "both content-length and transfer-encoding are present",
    "transfer-encoding is not `chunked`",
    "unexpected switch of protocols",
];

/// Faults of chunks, of which hyper takes more forms: white space, bare line feeds.
const CHUNK_FAULTS: &[&str] = &[
    "invalid chunk size",
    "chunk size has too many digits",
    "chunk extension is too long",
    "invalid chunk extension",
    "bare line feed in a chunk extension",
    "chunk data is longer than its size",
    "invalid trailers",
    "trailers are too long",
    "too many trailers",
];

/// A response as a client understood it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    head: String,
    is_bodyless: bool,
    has_odd_length: bool,
    is_coded: bool,
    body: Body,
}

/// Reads the input in one piece and in pieces of the given lengths, and compares.
pub fn check(cuts: &[u8], data: &[u8]) {
    let ours = receive(cut(data, &[]));
    let in_pieces = receive(cut(data, cuts));
    assert!(is_same(&ours, &in_pieces), "{ours:?} is not {in_pieces:?}");
    let theirs = receive_with_hyper(cut(data, &[]));
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            assert_eq!(ours.head, theirs.head);
            assert!(
                ours.body.agrees_with(&theirs.body),
                "{ours:?} is not {theirs:?}"
            );
        }
        // A list of equal lengths is one length to us, as RFC 9110 §8.6 permits, and none to hyper.
        (Ok(ours), Err(_)) if ours.has_odd_length => {}
        (Ok(ours), Err(error)) => panic!("hyper refuses {ours:?}: {error:?}"),
        // Where there is no body, hyper doesn't read what the headers say of it.
        (Err(H1Error::Framing(_)), Ok(theirs)) if theirs.is_bodyless || has_interim(data) => {}
        (Err(H1Error::Framing(malformed)), Ok(theirs)) => {
            let is_stricter = STRICTER.contains(&malformed.0)
                // hyper reads no length beside a transfer coding.
                || malformed.0 == "invalid content-length" && theirs.is_coded
                || CHUNK_FAULTS.contains(&malformed.0) && theirs.is_coded;
            assert!(is_stricter, "{malformed}: {theirs:?}");
        }
        // Empty lines before a head might be the end of a response to somebody.
        (Err(H1Error::NotHttp), Ok(_)) if has_interim(data) || has_empty_line_first(data) => {}
        (Err(error), Ok(theirs)) => panic!("refused with {error:?}: {theirs:?}"),
        (Err(_), Err(_)) => {}
    }
}

/// Compares what was read in one piece with what was read in several. A body that is malformed at
/// its beginning is an error at once where it came with its head, and the body's error otherwise.
fn is_same(whole: &Result<Seen, H1Error>, pieces: &Result<Seen, H1Error>) -> bool {
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => whole == pieces,
        (Err(whole), Err(pieces)) => whole.to_string() == pieces.to_string(),
        (Err(H1Error::Framing(_)), Ok(pieces)) => pieces.body.is_broken_at_start(),
        _ => false,
    }
}

/// Returns true if an interim response may come first.
fn has_interim(data: &[u8]) -> bool {
    data.starts_with(b"HTTP/1.1 1") || data.starts_with(b"HTTP/1.0 1")
}

fn has_empty_line_first(data: &[u8]) -> bool {
    matches!(data.first(), Some(b'\r' | b'\n'))
}

fn receive(pieces: Vec<Vec<u8>>) -> Result<Seen, H1Error> {
    block_on(async {
        let socket = MemorySocket::of_server(pieces);
        let connection = ClientConnection::new(socket, FailedWrite::SendsNothing);
        let request = Request::post("/").body(Bytes::new()).expect("a request");
        let pool = IdlePool::default();
        match pool
            .send_on(connection, EncodedRequest::new("t", request))
            .await
        {
            Ok(response) => Ok(read(response).await),
            Err(SendError::Unknown(error)) => Err(error),
            Err(SendError::NotSent(_)) => panic!("the socket takes everything"),
        }
    })
}

fn receive_with_hyper(pieces: Vec<Vec<u8>>) -> Result<Seen, hyper::Error> {
    block_on(async {
        let socket = TokioIo::new(MemorySocket::of_server(pieces));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await?;
        let request = Request::post("/")
            .header("host", "t")
            .body(Full::new(Bytes::new()))
            .expect("a request");
        let exchange = async {
            let response = sender.send_request(request).await?;
            let seen = read(response).await;
            drop(sender);
            Ok(seen)
        };
        let (_, seen) = tokio::join!(connection, exchange);
        seen
    })
}

async fn read<B: http_body::Body<Data = Bytes>>(response: Response<B>) -> Seen {
    let (parts, body) = response.into_parts();
    let mut lengths = parts.headers.get_all(CONTENT_LENGTH).iter();
    Seen {
        head: format!("{} {:?} {:?}", parts.status, parts.version, parts.headers),
        is_bodyless: matches!(parts.status.as_u16(), 204 | 304),
        has_odd_length: lengths.any(|length| crate::body::is_odd_length(length.as_bytes())),
        is_coded: parts.headers.contains_key(TRANSFER_ENCODING),
        body: read_body(body).await,
    }
}

//! Tests of a served connection, as its client sees it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::websocket_accept;

type TestBody = UnsyncBoxBody<Bytes, Infallible>;

/// Echoes the method and the body; `/stream` answers with a body of unknown length.
async fn echo(
    request: Request<RequestBody<DuplexStream>>,
) -> Result<Response<TestBody>, RequestBodyError> {
    let (parts, body) = request.into_parts();
    let mut text = format!("{} ", parts.method).into_bytes();
    if parts.uri.path() == "/stream" {
        let frames = ["one", "two"].map(|data| Ok(Frame::data(Bytes::from(data))));
        return Ok(Response::new(
            StreamBody::new(stream::iter(frames)).boxed_unsync(),
        ));
    }
    if parts.uri.path() != "/unread" {
        text.extend_from_slice(&body.collect().await?.to_bytes());
    }
    Ok(Response::new(Full::from(text).boxed_unsync()))
}

fn reject(bad: BadHead) -> Response<TestBody> {
    let text = format!("{} {}", bad.path, bad.error);
    let mut response = Response::new(Full::from(text).boxed_unsync());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// Sends these bytes, closes, and returns all that is answered.
async fn exchange(request: &[u8]) -> (String, ConnectionEnd) {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    client.write_all(request).await.unwrap();
    client.shutdown().await.unwrap();
    let drain = CancellationToken::new();
    let options = ServeOptions {
        peer_closed: pin!(pending()),
        drain: &drain,
        head_deadline: pin!(tokio::time::sleep(Duration::from_secs(10))),
        idle_timeout: Duration::from_secs(10),
        idle: &IdleMark::default(),
    };
    let end = serve_connection(server, options, echo, reject).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    (answer, end)
}

/// Returns the bodies of the answers to these requests, which say `content-length`.
async fn bodies(request: &str) -> Vec<String> {
    let (mut rest, _) = exchange(request.as_bytes()).await;
    let mut bodies = Vec::new();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let (body, after) = after.split_at(length.unwrap().parse().unwrap());
        bodies.push(body.to_owned());
        rest = after.to_owned();
    }
    bodies
}

#[tokio::test]
async fn requests_are_answered_one_after_the_other() {
    let requests = "GET / HTTP/1.1\r\nhost: t\r\n\r\n\
                    POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\nhi\r\n\
                    PUT / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n2\r\nho\r\n0\r\n\r\n\
                    GET / HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n\
                    GET /never HTTP/1.1\r\nhost: t\r\n\r\n";
    assert_eq!(
        bodies(requests).await,
        ["GET ", "POST hi", "PUT ho", "GET "]
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_ends_as_the_version_allows() {
    let (answer, _) = exchange(b"GET /stream HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert!(
        answer.contains("\r\ntransfer-encoding: chunked\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with("\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"),
        "{answer}"
    );
    let (answer, _) = exchange(b"GET /stream HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nonetwo"), "{answer}");
    let (answer, _) = exchange(b"HEAD /stream HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_unread_body_ends_the_connection_after_the_answer() {
    let request = b"POST /unread HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\nhello";
    let (answer, end) = exchange(request).await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(end, ConnectionEnd::UnreadInput);
    // One that has arrived completely is skipped.
    let requests = "POST /unread HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nhello\
                    GET / HTTP/1.1\r\nhost: t\r\n\r\n";
    assert_eq!(bodies(requests).await, ["POST ", "GET "]);
}

#[tokio::test]
async fn heads_that_are_refused_are_told_why() {
    let long = "x".repeat(41 * 1024);
    for (head, message) in [
        (
            "GET /a?b HTTP/1.1\r\n\r\n",
            "/a malformed request head: the host header is missing",
        ),
        (
            "GET / HTTP/1.1\r\nhost: t\r\nhost: t\r\n\r\n",
            "/ malformed request head: more than one host header",
        ),
        (
            "GET / HTTP/1.1\r\nhost: user@t\r\n\r\n",
            "/ malformed request head: invalid host header",
        ),
        (
            "GET a HTTP/1.1\r\nhost: t\r\n\r\n",
            "a malformed request head: invalid request target",
        ),
        (
            "GET a:80 HTTP/1.1\r\nhost: t\r\n\r\n",
            "a:80 malformed request head: invalid request target",
        ),
        (
            "GET * HTTP/1.1\r\nhost: t\r\n\r\n",
            "* malformed request head: invalid request target",
        ),
        (
            "GET /a#b HTTP/1.1\r\nhost: t\r\n\r\n",
            "/a#b malformed request head: invalid request target",
        ),
        (
            "GET http://user@t/ HTTP/1.1\r\nhost: t\r\n\r\n",
            "http://user@t/ malformed request head: invalid request target",
        ),
        (
            "CONNECT t:80 HTTP/1.1\r\nhost: t\r\n\r\n",
            "t:80 malformed request head: CONNECT is not supported",
        ),
        (
            "GET ftp://t/ HTTP/1.1\r\nhost: t\r\n\r\n",
            "ftp://t/ malformed request head: invalid request target",
        ),
        (
            "GET / HTTP/2.0\r\nhost: t\r\n\r\n",
            "/ malformed request head: invalid HTTP version",
        ),
        (
            "GET \" HTTP/1.1\r\nhost: t\r\n\r\n",
            "\" malformed request head: invalid request target",
        ),
        (
            "GET / HTTP/1.1\r\nhost: t\r\na b: c\r\n\r\n",
            "/ malformed request head: invalid header name",
        ),
        (
            "GET / HTTP/1.1\r\nhost: t\r\ncontent-length: +1\r\n\r\n",
            "/ malformed request head: invalid content-length",
        ),
        (
            "GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
            "/ malformed request head: transfer-encoding in an HTTP/1.0 message",
        ),
        (
            &format!(
                "GET / HTTP/1.1\r\nhost: t\r\n{}\r\n",
                "a: b\r\n".repeat(256)
            ),
            "/ the request has more than 256 headers",
        ),
        (
            &format!("GET /{long} HTTP/1.1\r\nhost: t\r\n\r\n"),
            "the request head is longer than 40960 bytes",
        ),
        (
            &format!("GET /{long}"),
            "the request head is longer than 40960 bytes",
        ),
    ] {
        let (answer, _) = exchange(head.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with(message), "{message}: {answer}");
    }
}

#[tokio::test]
async fn every_form_of_a_target_has_its_methods() {
    for line in ["GET /a?b", "GET //a", "GET http://t/a", "OPTIONS *"] {
        let (answer, _) = exchange(format!("{line} HTTP/1.1\r\nhost: t\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{line}: {answer}");
    }
}

#[tokio::test]
async fn an_upgraded_connection_keeps_what_was_read_beyond_its_request() {
    let (mut client, server) = tokio::io::duplex(1024);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let mut sender = Some(sender);
    let respond = |mut request: Request<_>| {
        let accept = websocket_accept(&request).unwrap();
        let upgrade = request.extensions_mut().remove::<OnUpgrade>().unwrap();
        assert!(sender.take().unwrap().send(upgrade).is_ok());
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let connection = HeaderValue::from_static("upgrade");
        response
            .headers_mut()
            .insert(header::CONNECTION, connection);
        response
            .headers_mut()
            .insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        std::future::ready(Ok::<_, Infallible>(response))
    };
    let head = "GET / HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(b"ahead").await.unwrap();
    let options = ServeOptions {
        peer_closed: pin!(pending()),
        drain: &CancellationToken::new(),
        head_deadline: pin!(tokio::time::sleep(Duration::from_secs(10))),
        idle_timeout: Duration::from_secs(10),
        idle: &IdleMark::default(),
    };
    let reject = |_| Response::new(Full::default());
    let end = serve_connection(server, options, respond, reject).await;
    assert_eq!(end, ConnectionEnd::Upgraded);
    let mut upgraded = receiver.await.unwrap().upgraded().await.unwrap();
    upgraded.write_all(b"back").await.unwrap();
    client.shutdown().await.unwrap();
    let mut rest = String::new();
    upgraded.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "ahead");
    drop(upgraded);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"));
    assert!(answer.ends_with("\r\n\r\nback"), "{answer}");
}

#[tokio::test]
async fn a_client_that_leaves_drops_the_response_in_the_making() {
    let (mut client, server) = tokio::io::duplex(1024);
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: t\r\n\r\n")
        .await
        .unwrap();
    let left = CancellationToken::new();
    let options = ServeOptions {
        peer_closed: pin!(left.cancelled()),
        drain: &CancellationToken::new(),
        head_deadline: pin!(tokio::time::sleep(Duration::from_secs(10))),
        idle_timeout: Duration::from_secs(10),
        idle: &IdleMark::default(),
    };
    let respond = |_| pending::<Result<Response<Full<Bytes>>, Infallible>>();
    let reject = |_| Response::new(Full::default());
    let serving = serve_connection(server, options, respond, reject);
    let leaving = async {
        tokio::task::yield_now().await;
        left.cancel();
    };
    let (end, ()) = tokio::join!(serving, leaving);
    assert_eq!(end, ConnectionEnd::Closed);
}

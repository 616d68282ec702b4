//! Connections: what is sent, what is kept, what is told apart when they break.

use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::pin::pin;
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::net::TcpStream;

use crate::client::{
    ClientConnection, EncodedRequest, FailedWrite, H1Error, IdlePool, ResponseBody, SendError,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Serves one connection with that script.
async fn serve<T: Send + 'static>(
    script: impl FnOnce(std::net::TcpStream) -> T + Send + 'static,
) -> (ClientConnection<TcpStream>, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.set_nodelay(true).unwrap();
    (
        ClientConnection::new(stream, FailedWrite::SendsNothing),
        std::thread::spawn(move || script(server)),
    )
}

fn request(body: impl Into<Bytes>) -> EncodedRequest {
    let request = Request::post("http://ignored/path?q=1")
        .header("x-a", "1")
        .header("host", "other");
    let request = request
        .header("transfer-encoding", "chunked")
        .header("Content-Length", "77");
    EncodedRequest::new("up:80", request.body(body.into()).unwrap())
}

/// Reads a head and that much of a body.
fn read_request(stream: &mut std::net::TcpStream, body: usize) -> Vec<u8> {
    let mut came = Vec::new();
    let mut byte = [0];
    while !came.ends_with(b"\r\n\r\n") {
        assert_eq!(
            stream.read(&mut byte).unwrap(),
            1,
            "{}",
            String::from_utf8_lossy(&came)
        );
        came.push(byte[0]);
    }
    let head = came.len();
    came.resize(head + body, 0);
    stream.read_exact(&mut came[head..]).unwrap();
    came
}

async fn sent(
    pool: &IdlePool<TcpStream>,
    connection: ClientConnection<TcpStream>,
    request: EncodedRequest,
) -> Response<ResponseBody<TcpStream>> {
    let sent = tokio::time::timeout(PATIENCE, pool.send_on(connection, request))
        .await
        .expect("an answer in time");
    sent.unwrap_or_else(|unsent| panic!("{:?}", lost(unsent)))
}

fn lost(unsent: SendError) -> Option<H1Error> {
    match unsent {
        SendError::NotSent(_) => None,
        SendError::Unknown(error) => Some(error),
    }
}

async fn body(response: Response<ResponseBody<TcpStream>>) -> Result<Bytes, H1Error> {
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect())
        .await
        .expect("a body in time");
    body.map(http_body_util::Collected::to_bytes)
}

#[tokio::test]
async fn a_request_as_it_is_sent() {
    let (connection, server) = serve(|mut stream| {
        let came = read_request(&mut stream, 4);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
        came
    })
    .await;
    let response = sent(&IdlePool::default(), connection, request("body")).await;
    assert_eq!(body(response).await.unwrap(), "ok");
    let came = String::from_utf8(server.join().unwrap()).unwrap();
    assert_eq!(
        came,
        "POST /path?q=1 HTTP/1.1\r\nhost: up:80\r\ncontent-length: 4\r\nx-a: 1\r\n\r\nbody"
    );
}

#[tokio::test]
async fn a_byte_at_a_time_and_all_at_once() {
    let text = "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nt: 1\r\n\r\n";
    for size in [1, 5, 1000] {
        let pool = IdlePool::default();
        let (connection, server) = serve(move |mut stream| {
            read_request(&mut stream, 1);
            for piece in text.as_bytes().chunks(size) {
                stream.write_all(piece).unwrap();
                std::thread::sleep(Duration::from_micros(500));
            }
            // On the same connection.
            read_request(&mut stream, 1);
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .unwrap();
            stream
        })
        .await;
        assert_eq!(
            body(sent(&pool, connection, request("1")).await)
                .await
                .unwrap(),
            "abcde"
        );
        let again = pool
            .send_on_idle(request("2"))
            .await
            .expect("the connection was kept");
        assert_eq!(again.status(), 204);
        assert_eq!(body(again).await.unwrap(), "");
        drop(server.join().unwrap());
    }
}

#[tokio::test]
async fn connections_that_are_not_kept() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let pool = IdlePool::default();
        let (connection, server) = serve(move |mut stream| {
            read_request(&mut stream, 0);
            stream.write_all(answer.as_bytes()).unwrap();
            stream.read(&mut [0]).map_or(0, |n| n)
        })
        .await;
        assert_eq!(
            body(sent(&pool, connection, request("")).await)
                .await
                .unwrap(),
            "ok",
            "{answer}"
        );
        assert!(
            matches!(
                pool.send_on_idle(request("")).await,
                Err(SendError::NotSent(_))
            ),
            "{answer}"
        );
        assert_eq!(server.join().unwrap(), 0, "it is closed at once");
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_not_used() {
    let pool = IdlePool::default();
    let (connection, server) = serve(|mut stream| {
        read_request(&mut stream, 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
    })
    .await;
    assert_eq!(
        body(sent(&pool, connection, request("")).await)
            .await
            .unwrap(),
        "ok"
    );
    server.join().unwrap();
    // The runtime hears of it when it next looks.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(
        pool.send_on_idle(request("")).await,
        Err(SendError::NotSent(_))
    ));
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection() {
    let (connection, server) = serve(|mut stream| {
        read_request(&mut stream, 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nto the ").unwrap();
        std::thread::sleep(Duration::from_millis(10));
        stream.write_all(b"end").unwrap();
    })
    .await;
    let pool = IdlePool::default();
    assert_eq!(
        body(sent(&pool, connection, request("")).await)
            .await
            .unwrap(),
        "to the end"
    );
    assert!(matches!(
        pool.send_on_idle(request("")).await,
        Err(SendError::NotSent(_))
    ));
    server.join().unwrap();
}

#[tokio::test]
async fn a_cut_answer_is_told_from_a_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
    ] {
        let (connection, server) = serve(move |mut stream| {
            read_request(&mut stream, 0);
            stream.write_all(answer.as_bytes()).unwrap();
        })
        .await;
        let mut response = sent(&IdlePool::default(), connection, request("")).await;
        assert_eq!(
            response
                .frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap(),
            "ok",
            "what came is given out"
        );
        assert!(
            matches!(response.frame().await, Some(Err(H1Error::Truncated))),
            "{answer}"
        );
        assert!(response.frame().await.is_none());
        server.join().unwrap();
    }
}

#[tokio::test]
async fn a_request_that_got_no_answer_is_lost() {
    for answer in [
        "",
        "HTTP/1.1 20",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "SSH-2.0\r\n",
    ] {
        let (connection, server) = serve(move |mut stream| {
            read_request(&mut stream, 0);
            stream.write_all(answer.as_bytes()).unwrap();
        })
        .await;
        let unsent = IdlePool::default()
            .send_on(connection, request(""))
            .await
            .unwrap_err();
        assert!(
            matches!(lost(unsent), Some(H1Error::Closed | H1Error::NotHttp)),
            "{answer}"
        );
        server.join().unwrap();
    }
}

#[tokio::test]
async fn a_request_that_could_not_be_sent_comes_back() {
    let (connection, server) = serve(|stream| {
        socket2::SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    })
    .await;
    server.join().unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let back = IdlePool::default()
        .send_on(connection, request("whole"))
        .await
        .unwrap_err();
    let SendError::NotSent(back) = back else {
        panic!("nothing was written")
    };
    let (connection, server) = serve(|mut stream| {
        let came = read_request(&mut stream, 5);
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .unwrap();
        came
    })
    .await;
    sent(&IdlePool::default(), connection, back).await;
    assert!(server.join().unwrap().ends_with(b"whole"));
}

#[tokio::test]
async fn an_answer_before_the_request_was_read() {
    const LARGE: usize = 32 << 20;
    let pool = IdlePool::default();
    // Refused after its head; no byte of its body is read.
    let (connection, server) = serve(|mut stream| {
        read_request(&mut stream, 0);
        stream
            .write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
            .unwrap();
        stream
    })
    .await;
    let response = sent(&pool, connection, request(vec![b'x'; LARGE])).await;
    assert_eq!(response.status(), 413);
    assert_eq!(body(response).await.unwrap(), "big");
    assert!(
        matches!(
            pool.send_on_idle(request("")).await,
            Err(SendError::NotSent(_))
        ),
        "half a request was sent on it"
    );
    drop(server.join().unwrap());
    // Answered early, and read to its end while the answer goes on.
    let (connection, server) = serve(|mut stream| {
        read_request(&mut stream, 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nfir")
            .unwrap();
        let mut rest = vec![0; LARGE];
        stream.read_exact(&mut rest).unwrap();
        stream.write_all(b"st!").unwrap();
        assert!(rest.iter().all(|byte| *byte == b'x'));
        stream
    })
    .await;
    let response = sent(&pool, connection, request(vec![b'x'; LARGE])).await;
    assert_eq!(body(response).await.unwrap(), "first!");
    drop(server.join().unwrap());
}

#[tokio::test]
async fn dropping_an_answer_closes_its_connection() {
    let (connection, server) = serve(|mut stream| {
        read_request(&mut stream, 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            .unwrap();
        stream.read(&mut [0]).unwrap()
    })
    .await;
    drop(sent(&IdlePool::default(), connection, request("")).await);
    assert_eq!(server.join().unwrap(), 0);
}

#[tokio::test]
async fn what_nobody_takes_is_not_read() {
    let (connection, server) = serve(|mut stream| {
        read_request(&mut stream, 0);
        stream
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut sent = 0;
        while let Ok(n) = stream.write(&[b'x'; 65536]) {
            sent += n;
        }
        sent
    })
    .await;
    let response = sent(&IdlePool::default(), connection, request("")).await;
    let wrote = tokio::task::spawn_blocking(|| server.join().unwrap())
        .await
        .unwrap();
    // What the kernels hold.
    assert!(wrote < 16 << 20, "{wrote}");
    assert_eq!(body(response).await.unwrap().len(), wrote);
}

#[tokio::test]
async fn chunks_that_come_together_are_one_run() {
    let (connection, server) = serve(|mut stream| {
        read_request(&mut stream, 0);
        let chunks = "5\r\nhello\r\n".repeat(100);
        stream
            .write_all(
                format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}").as_bytes(),
            )
            .unwrap();
        stream
    })
    .await;
    let mut response = sent(&IdlePool::default(), connection, request("")).await;
    let run = response
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert_eq!(run, "hello".repeat(100));
    let mut next = pin!(response.frame());
    assert!(poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await);
    drop(server.join().unwrap());
}

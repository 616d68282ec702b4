//! HTTP/2 upstreams: one connection for many streams, and a slow client of one of them is no
//! other's trouble.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use serde_json::json;

use crate::support::*;

/// An h2c upstream. A request with the word `flood` gets small frames without end, one with
/// `silent` nothing; any other is answered and finished.
struct H2Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    resets: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl H2Upstream {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, resets) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, gone) = (connections.clone(), resets.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let gone = gone.clone();
                tokio::spawn(async move {
                    let Ok(mut connection) = h2::server::handshake(stream).await else {
                        return;
                    };
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond, gone.clone()));
                    }
                });
            }
        });
        Self {
            address,
            connections,
            resets,
            _runtime: runtime,
        }
    }
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    gone: Arc<AtomicUsize>,
) {
    let mut body = request.into_body();
    let mut sent = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        sent.extend_from_slice(&data);
        let _ = body.flow_control().release_capacity(data.len());
    }
    let head = http::Response::builder()
        .header("content-type", "text/event-stream")
        .body(())
        .unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    if find(&sent, b"silent").is_some() {
        let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        gone.fetch_add(1, Ordering::Relaxed);
    } else if find(&sent, b"flood").is_some() {
        let frame = Bytes::from(says("x"));
        loop {
            stream.reserve_capacity(frame.len());
            let room = std::future::poll_fn(|cx| match stream.poll_reset(cx) {
                Poll::Ready(_) => Poll::Ready(false),
                Poll::Pending => loop {
                    match std::task::ready!(stream.poll_capacity(cx)) {
                        Some(Ok(room)) if room >= frame.len() => break Poll::Ready(true),
                        Some(Ok(_)) => {}
                        _ => break Poll::Ready(false),
                    }
                },
            });
            if !room.await || stream.send_data(frame.clone(), false).is_err() {
                break;
            }
        }
        gone.fetch_add(1, Ordering::Relaxed);
    } else {
        for _ in 0..50 {
            let _ = stream.send_data(Bytes::from(says("y")), false);
            tokio::task::yield_now().await;
        }
        let _ = stream.send_data(Bytes::from(format!("{STOP}{DONE}")), true);
    }
}

#[test]
fn slow_clients_neither_stall_nor_kill_their_neighbours_and_leaving_resets_the_stream() {
    let upstream = H2Upstream::start();
    let config = format!(
        "workers = 1\n[timeouts]\nclient_stall = \"10m\"\nbetween_tokens = \"10m\"\n[providers.up]\ndialect = \"openai-chat\"\n\
         base_url = \"http://{}/v1\"\nhttp2 = true\n[[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n",
        upstream.address
    );
    let server = Server::with(&config, &[]);
    let mut slow: Vec<Client> = (0..10)
        .map(|_| server.chat(json!({ "model": "flood" })))
        .collect();
    slow.iter_mut()
        .for_each(|client| assert_eq!(client.status(), 200));
    for _ in 0..30 {
        let body = server.chat(json!({ "model": "brief" })).body();
        assert_eq!(body, format!("{}{STOP}{DONE}", says("y").repeat(50)));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(
        upstream.connections.load(Ordering::Relaxed),
        1,
        "all over one connection"
    );
    // The slow ones are still whole, too.
    slow[0].wait_for_many("\"x\"", 500);
    assert_eq!(upstream.resets.load(Ordering::Relaxed), 0);
    drop(slow);
    until("the upstream sees ten resets", || {
        (upstream.resets.load(Ordering::Relaxed) == 10).then_some(())
    });
    assert!(
        server
            .chat(json!({ "model": "brief" }))
            .body()
            .ends_with(DONE)
    );
    assert_eq!(upstream.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn a_stream_that_loses_against_a_second_target_is_reset_and_its_connection_is_kept() {
    let one = H2Upstream::start();
    let two = Upstream::streaming(format!("{}{STOP}{DONE}", says("second")));
    let config = format!(
        "workers = 1\n[providers.one]\ndialect = \"openai-chat\"\nbase_url = \"http://{}/v1\"\nhttp2 = true\n\
         [providers.two]\ndialect = \"openai-chat\"\nbase_url = \"{}\"\n\
         [[models]]\nname = \"m\"\nhedge = \"p95\"\ntargets = [{{ provider = \"one\" }}, {{ provider = \"two\" }}]\n",
        one.address,
        two.base_url()
    );
    let server = Server::with(&config, &[]);
    let brief = || server.chat(json!({})).body();
    for _ in 0..20 {
        assert!(brief().contains("\"y\""));
    }
    let body = server.chat(json!({ "user": "silent" })).body();
    assert_eq!(body, format!("{}{STOP}{DONE}", says("second")));
    until("the upstream sees a reset", || {
        (one.resets.load(Ordering::Relaxed) == 1).then_some(())
    });
    assert!(brief().contains("\"y\""));
    assert_eq!(one.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn the_finest_log_of_a_connection_tells_no_key() {
    let upstream = H2Upstream::start();
    let config = format!(
        "[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://{}/v1\"\nhttp2 = true\napi_key_env = \"UP_KEY\"\n\
         [[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n",
        upstream.address
    );
    let env = [("UP_KEY", UP_KEY), ("TOKENRILL_LOG_LEVEL", "trace")];
    let server = Server::with(&config, &env);
    let body = server.chat(json!({ "model": "brief" })).body();
    assert!(body.ends_with(DONE));
    server.logged("generation", 1);
}

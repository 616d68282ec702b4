//! What no request can reach from outside.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

#[tokio::test]
async fn a_panic_ends_its_own_request_alone_and_tells_nobody_why() {
    async fn panics() -> &'static str {
        panic!("a secret of ours")
    }
    let router = layered(
        Router::new()
            .route("/v1/panics", get(panics))
            .route("/fine", get(async || "ok")),
        None,
    );
    let ask = |path: &str| {
        router
            .clone()
            .oneshot(Request::get(path).body(Body::empty()).unwrap())
    };
    let response = ask("/v1/panics").await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(response.headers().contains_key("x-request-id"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (&body["error"]["message"], &body["error"]["code"]),
        (&"internal error".into(), &"internal".into())
    );
    assert_eq!(ask("/fine").await.unwrap().status(), StatusCode::OK);
}

//! The shapes of errors, each as some provider sends it.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

/// The reason in a body is found in every shape, and no other text is made of it.
#[test]
fn the_reason_is_found_in_every_shape_of_a_refusal() {
    for (body, reason) in [
        (r#"{"error":{"message":"m"}}"#, "m"),
        (r#"{"error":"m"}"#, "m"),
        (r#"{"error":{"msg":"m"}}"#, "m"),
        (r#"{"error":[{"message":"m"}]}"#, "m"),
        (
            r#"[{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}]"#,
            "m",
        ),
        (r#"{"error":"invalid_client","error_description":"m"}"#, "m"),
        (
            r#"{"error":{"message":"{\"error\":{\"message\":\"m\"}}"}}"#,
            "m",
        ),
        (r#"{"detail":"m"}"#, "m"),
        (r#"{"detail":{"message":"m"}}"#, "m"),
        (
            r#"{"detail":[{"loc":["body","messages",0],"msg":"field required","type":"missing"}]}"#,
            "body.messages.0: field required",
        ),
        (
            r#"{"detail":[{"loc":["body","a"],"msg":"x"},{"loc":["body","b"],"msg":"y"}]}"#,
            "body.a: x; body.b: y",
        ),
        (
            r#"{"errors":[{"code":7000,"message":"m"}],"success":false,"result":null}"#,
            "m",
        ),
        (r#"{"errors":["m","n"]}"#, "m; n"),
        (
            r#"{"errors":{"model":["is required"]}}"#,
            "model: is required",
        ),
        (r#"{"message":"m"}"#, "m"),
        (
            r#"{"message":"failed","errors":[{"message":"m"}]}"#,
            "failed: m",
        ),
        (
            r#"{"message":["m","n"],"error":"Bad Request","statusCode":400}"#,
            "m; n",
        ),
        (r#"{"Message":"m"}"#, "m"),
        (r#"{"msg":"m","code":1}"#, "m"),
        (r#"{"error_msg":"m","error_code":17}"#, "m"),
        (r#"{"errorMessage":"m"}"#, "m"),
        (
            r#"{"base_resp":{"status_code":1008,"status_msg":"m"}}"#,
            "m",
        ),
        (
            r#"{"fault":{"faultstring":"m","detail":{"errorcode":"x"}}}"#,
            "m",
        ),
        (r#"{"title":"t","detail":"m","status":400}"#, "m"),
        (r#"{"object":"error","message":"m","code":500}"#, "m"),
        (
            r#"{"type":"error","error":{"type":"x","message":"m"}}"#,
            "m",
        ),
        (
            r#"{"timestamp":1,"status":500,"error":"m","path":"/"}"#,
            "m",
        ),
        (r#"{"header":{"code":1,"message":"m"}}"#, "m"),
        (r#"{"response":{"error":{"message":"m"}}}"#, "m"),
        (
            r#"{"error":{"message":"Provider returned error","metadata":{"raw":"{\"error\":{\"message\":\"m\"}}"}}}"#,
            "Provider returned error: m",
        ),
        (
            r#"{"error":{"message":"Provider returned error","metadata":{"raw":"m"}}}"#,
            "Provider returned error: m",
        ),
        (r#"{"error":{"message":"","metadata":{"raw":"m"}}}"#, "m"),
        (r#"{"message":{"text":"m"}}"#, "m"),
        (
            r#"{"error":{"code":"400","innererror":{"message":"m"}}}"#,
            "m",
        ),
        (r#""m""#, "m"),
        ("no healthy upstream", "no healthy upstream"),
        ("first line\r\n  second", "first line second"),
        (
            "data: {\"error\":{\"message\":\"m\"}}\n\ndata: [DONE]\n\n",
            "m",
        ),
        ("event: error\ndata: m\n\n", "m"),
        ("{\"error\":\"m\"}\n{\"done\":true}\n", "m"),
        (
            "<!DOCTYPE html><html><head><meta x><TITLE>403 &amp; more</TITLE></head><body>…</body>",
            "403 & more",
        ),
        ("<html><body><h1>Bad <b>Gateway</b></h1>", "Bad Gateway"),
        (
            "<?xml version=\"1.0\"?><Error><Code>c</Code><Message>m</Message></Error>",
            "m",
        ),
    ] {
        let report = ErrorReport::parse_body(body.as_bytes());
        assert_eq!(
            report.map(|report| report.message).as_deref(),
            Some(reason),
            "{body}"
        );
    }
    for body in [
        "",
        " \n",
        "null",
        "{}",
        "[]",
        "\"\"",
        r#"{"error":null}"#,
        "\u{0}\u{1}",
        "<html></html>",
    ] {
        assert_eq!(ErrorReport::parse_body(body.as_bytes()), None, "{body:?}");
    }
    assert_eq!(ErrorReport::parse_body(b"\xff\xfe\x00"), None);
}

#[test]
fn a_reason_is_bounded() {
    let long = "long ".repeat(10_000);
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for body in [
        long.clone(),
        serde_json::json!({ "error": { "message": long } }).to_string(),
    ] {
        let report = ErrorReport::parse_body(body.as_bytes()).unwrap();
        assert!(report.message.len() < 2100, "{}", report.message.len());
    }
    assert_eq!(ErrorReport::parse_body(deep.as_bytes()), None);
}

#[test]
fn the_code_and_the_type_are_found_beside_the_words() {
    let report = |body: &str| ErrorReport::parse_body(body.as_bytes()).unwrap();
    let openai = report(r#"{"error":{"message":"m","type":"t","code":"c"}}"#);
    assert_eq!(
        (openai.kind.as_deref(), openai.code.as_deref()),
        (Some("t"), Some("c"))
    );
    let google = report(r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#);
    assert_eq!(google.kind.as_deref(), Some("RESOURCE_EXHAUSTED"));
    assert_eq!(google.code.as_deref(), Some("429"));
    let anthropic = report(r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#);
    assert_eq!(anthropic.kind.as_deref(), Some("overloaded_error"));
}

#[test]
fn a_payload_without_content_is_an_error_only_if_it_says_so() {
    for payload in [
        r#"{"object":"error","message":"m"}"#,
        r#"{"detail":"m"}"#,
        r#"{"code":"Throttling","message":"m"}"#,
        r#"{"code":40001,"msg":"m"}"#,
        r#"{"type":"error","message":"m"}"#,
        r#"{"errors":[{"message":"m"}]}"#,
        r#"{"error":[{"message":"m"}]}"#,
        r#"{"error":{"msg":"m"}}"#,
        r#"{"base_resp":{"status_code":1008,"status_msg":"m"}}"#,
        r#"{"base_resp":{"status_msg":"m"}}"#,
        r#"{"success":false,"message":"m"}"#,
        r#"{"message":"m"}"#,
        r#"{"timestamp":1,"status":500,"error":"Internal Server Error","message":"m","path":"/"}"#,
        r#"{"statusCode":500,"error":"Internal Server Error","message":"m"}"#,
        r#"{"error":true,"message":"m"}"#,
        r#"{"error":{"code":"x"},"message":"m"}"#,
        r#"{"detail":{"message":"m"}}"#,
        r#"{"error_message":"m"}"#,
        r#"{"errorMessage":"m","errorType":"x"}"#,
        r#"{"event":"error","message":"m"}"#,
        r#"{"event":"error","data":{"message":"m"}}"#,
        r#"{"type":"error","text":"m"}"#,
        r#"{"header":{"code":10013,"message":"m"}}"#,
        r#"{"Error":"m"}"#,
        r#"{"exception":"m"}"#,
        r#"{"ResponseMetadata":{"Error":{"Message":"m"}}}"#,
        r#"{"type":"response.failed","response":{"error":{"message":"m"}}}"#,
        r#""m""#,
    ] {
        let value = serde_json::from_str(payload).unwrap();
        let report = ErrorReport::in_payload(&value);
        assert_eq!(
            report.map(|report| report.message).as_deref(),
            Some("m"),
            "{payload}"
        );
    }
    for payload in [
        r#"{"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":1}}"#,
        r#"{"choices":[],"base_resp":{"status_code":0,"status_msg":""}}"#,
        r#"{"choices":[],"base_resp":{"status_msg":"success"}}"#,
        r#"{"header":{"code":0,"message":"Success"},"payload":{}}"#,
        r#"{"id":"c","detail":{"tokens":5}}"#,
        r#"{"id":"c","event":"ping","text":"m"}"#,
        r#"{"choices":[],"error":null,"detail":null}"#,
        r#"{"choices":[],"error":{"message":"","type":"","code":null}}"#,
        r#"{"code":0,"msg":"success","success":true}"#,
        r#"{"code":200,"message":"ok","id":"x"}"#,
        r#"{"type":"ping","message":"still here"}"#,
        "{}",
        "5",
    ] {
        let value = serde_json::from_str(payload).unwrap();
        assert_eq!(ErrorReport::in_payload(&value), None, "{payload}");
    }
}

#[test]
fn an_error_beside_content_has_its_words_there_or_beside_it() {
    for payload in [
        r#"{"error":"m"}"#,
        r#"{"error":{"message":"m"},"message":"x"}"#,
        r#"{"error":"Internal Server Error","message":"m"}"#,
        r#"{"error":true,"msg":"m"}"#,
        r#"{"error":1,"message":"m"}"#,
        r#"{"error":{"code":"x"},"message":"m"}"#,
        r#"{"error":"m","message":{"role":"assistant","content":"x"}}"#,
    ] {
        let value = serde_json::from_str(payload).unwrap();
        let report = ErrorReport::in_field(&value);
        assert_eq!(
            report.map(|report| report.message).as_deref(),
            Some("m"),
            "{payload}"
        );
    }
    for payload in [
        r#"{"message":"m"}"#,
        r#"{"error":null,"message":"m"}"#,
        r#"{"error":false,"message":"m"}"#,
        r#"{"error":{"message":""},"message":"m"}"#,
    ] {
        let value = serde_json::from_str(payload).unwrap();
        assert_eq!(ErrorReport::in_field(&value), None, "{payload}");
    }
}

#[test]
fn a_payload_of_an_unknown_type_is_an_error_only_if_it_says_so_in_a_field_of_its_own() {
    for payload in [
        r#"{"type":"InternalServerError","object":"error","message":"m"}"#,
        r#"{"type":"x","error":{"message":"m"}}"#,
        r#"{"type":"response.failed","response":{"error":{"message":"m"}}}"#,
    ] {
        let value = serde_json::from_str(payload).unwrap();
        let report = ErrorReport::in_typed_payload(&value);
        assert_eq!(
            report.map(|report| report.message).as_deref(),
            Some("m"),
            "{payload}"
        );
    }
    for payload in [
        r#"{"type":"ping","message":"m"}"#,
        r#"{"type":"x","code":500,"message":"m"}"#,
        r#"{"type":"x","response":{"error":null}}"#,
    ] {
        let value = serde_json::from_str(payload).unwrap();
        assert_eq!(ErrorReport::in_typed_payload(&value), None, "{payload}");
    }
}

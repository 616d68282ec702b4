//! Providers with a flavor, in front of upstreams that behave as their documents say.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::support::*;

/// A whole stream of Chat Completions that says `Hi`.
fn chat_stream() -> String {
    format!("{}{STOP}{DONE}", says("Hi"))
}

/// A whole stream of the Messages API that says `Hi`.
fn messages_stream() -> String {
    let events = [
        json!({ "type": "message_start", "message": { "id": "msg_1", "type": "message", "role": "assistant",
            "model": "claude", "content": [], "stop_reason": null, "usage": { "input_tokens": 1, "output_tokens": 1 } } }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": "Hi" } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 2 } }),
        json!({ "type": "message_stop" }),
    ];
    let frame = |event: &Value| {
        let name = event["type"].as_str().unwrap().to_owned();
        format!("event: {name}\ndata: {event}\n\n")
    };
    events.iter().map(frame).collect()
}

/// An upstream that also gives tokens at `/token`: `canary-key-1`, `canary-key-2`, …
fn giver_of_tokens(seconds: u64, answer: String) -> Upstream {
    let given = std::sync::atomic::AtomicUsize::new(0);
    Upstream::start(move |c| {
        while let Some(seen) = c.request() {
            if !path(&seen).starts_with("/token") {
                c.stream_head();
                c.chunk(answer.as_bytes());
                c.end();
                continue;
            }
            let nth = 1 + given.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let body =
                json!({ "access_token": format!("canary-key-{nth}"), "expires_in": seconds });
            answer_json(c, "200 OK", &body);
        }
    })
}

fn answer_json(c: &mut Connection, status: &str, body: &Value) {
    let body = body.to_string();
    let length = body.len();
    c.send(
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .as_bytes(),
    );
}

/// A server with the provider `p` of these keys, in front of that upstream's address.
fn server(upstream: &Upstream, keys: &str, env: &[(&str, &str)]) -> Server {
    let address = upstream.address;
    let config = format!(
        "[providers.p]\nbase_url = \"http://{address}\"\n{}\n[[models]]\nname = \"*\"\ntargets = [{{ provider = \"p\" }}]\n",
        keys.replace("{address}", &address.to_string())
    );
    Server::with(&config, env)
}

fn path(seen: &Seen) -> String {
    seen.head.split(' ').nth(1).unwrap().to_owned()
}

fn ask_chat(server: &Server) -> String {
    let mut client = server.chat(json!({ "model": "my-model", "max_tokens": 5 }));
    client.body()
}

fn ask_messages(server: &Server, headers: &str) -> Client {
    let body = json!({ "model": "claude-sonnet-4@20250514", "max_tokens": 5, "stream": true,
        "messages": [{ "role": "user", "content": "hi, canary-prompt" }] });
    server.post("/v1/messages", headers, &body.to_string())
}

/// The requests but those for tokens.
fn asked(upstream: &Upstream) -> Vec<Seen> {
    let requests = upstream.requests().into_iter();
    requests
        .filter(|seen| !path(seen).starts_with("/token"))
        .collect()
}

const AZURE_KEY: &[(&str, &str)] = &[("AZURE_OPENAI_API_KEY", "azure-canary-key")];

#[test]
fn azure_is_asked_by_its_v1_address_with_its_own_header() {
    let upstream = Upstream::streaming(chat_stream());
    let server = server(&upstream, "flavor = \"azure\"", AZURE_KEY);
    assert!(ask_chat(&server).ends_with(DONE));
    let seen = &upstream.requests()[0];
    assert_eq!(path(seen), "/openai/v1/chat/completions");
    assert_eq!(seen.header("api-key").as_deref(), Some("azure-canary-key"));
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.json()["model"], "my-model");
}

#[test]
fn a_dated_version_of_azure_is_asked_by_deployments() {
    let upstream = Upstream::streaming(chat_stream());
    let keys = "flavor = \"azure\"\napi_version = \"2024-10-21\"";
    let server = server(&upstream, keys, AZURE_KEY);
    // A client of another dialect, too.
    let mut client = ask_messages(&server, "");
    assert!(client.body().contains("message_stop"));
    let wanted =
        "/openai/deployments/claude-sonnet-4@20250514/chat/completions?api-version=2024-10-21";
    assert_eq!(path(&upstream.requests()[0]), wanted);
    // The name of a deployment is no way out of its path.
    for model in ["..", "a/../../x"] {
        let mut client = server.chat(json!({ "model": model }));
        client.body();
    }
    let paths: Vec<String> = upstream.requests().iter().skip(1).map(path).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
    assert!(
        paths[0].contains("/deployments/a%2F..%2F..%2Fx/"),
        "{paths:?}"
    );
}

const ENTRA: &str = "flavor = \"azure\"\ntenant_id = \"t1\"\nclient_id = \"c1\"\nclient_secret_env = \"CLIENT_SECRET\"\n\
                     token_url = \"http://{address}/token\"";
const ENTRA_ENV: &[(&str, &str)] = &[("CLIENT_SECRET", "entra-canary-key")];

#[test]
fn an_application_of_entra_gets_tokens_before_anyone_asks() {
    let upstream = giver_of_tokens(3600, chat_stream());
    let server = server(&upstream, ENTRA, ENTRA_ENV);
    // Nobody has asked for anything yet.
    upstream.wait_requests(1);
    let grant = String::from_utf8(upstream.requests()[0].body.clone()).unwrap();
    for part in [
        "grant_type=client_credentials",
        "client_id=c1",
        "client_secret=entra-canary-key",
        "scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default",
    ] {
        assert!(grant.contains(part), "{grant}");
    }
    assert!(ask_chat(&server).ends_with(DONE));
    assert!(ask_chat(&server).ends_with(DONE));
    let asked = asked(&upstream);
    assert_eq!(upstream.requests().len(), 3);
    for seen in asked {
        let authorization = seen.header("authorization");
        assert_eq!(authorization.as_deref(), Some("Bearer canary-key-1"));
        assert_eq!(seen.header("api-key"), None);
    }
}

#[test]
fn a_token_is_replaced_before_it_ends_and_no_request_waits_for_it() {
    let upstream = giver_of_tokens(2, chat_stream());
    let server = server(&upstream, ENTRA, ENTRA_ENV);
    upstream.wait_requests(3);
    assert_eq!(asked(&upstream).len(), 0);
    assert!(ask_chat(&server).ends_with(DONE));
    let authorization = asked(&upstream)[0].header("authorization").unwrap();
    assert_ne!(authorization, "Bearer canary-key-1");
}

#[test]
fn why_there_is_no_token_is_said_in_words_and_without_the_secret() {
    let upstream = Upstream::start(|c| {
        while c.request().is_some() {
            let body = json!({ "error": "invalid_client", "error_description":
                "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1" });
            answer_json(c, "401 Unauthorized", &body);
        }
    });
    let server = server(&upstream, ENTRA, ENTRA_ENV);
    let mut client = server.chat(json!({}));
    assert_eq!(client.status(), 502);
    let error = client.json()["error"].clone();
    assert_eq!(error["code"], "no_access_token");
    let message = error["message"].as_str().unwrap();
    let wanted = "it answered 401, invalid_client: AADSTS7000215: Invalid client secret provided.";
    assert!(message.contains(wanted), "{message}");
    assert!(
        message.contains("provider `p` has no access token"),
        "{message}"
    );
    assert!(!client.text().contains("canary-key"));
    server.logged("no access token", 1);
    assert!(asked(&upstream).is_empty());
}

#[test]
fn a_token_that_an_upstream_repeats_is_cut_out() {
    let told = says("canary-key-1 is your token");
    let upstream = giver_of_tokens(3600, format!("{told}{STOP}{DONE}"));
    let server = server(&upstream, ENTRA, ENTRA_ENV);
    let answer = ask_chat(&server);
    assert!(answer.contains("*** is your token"), "{answer}");
}

/// A service account's file, and its key.
fn service_account(address: std::net::SocketAddr) -> (Value, String) {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
    let key = key.unwrap().serialize_pem();
    let file = json!({
        "type": "service_account", "project_id": "p1", "private_key_id": "k1", "private_key": key,
        "client_email": "a@p1.iam.gserviceaccount.com", "token_uri": format!("http://{address}/token"),
    });
    (file, key)
}

#[test]
fn vertex_is_asked_for_claude_with_a_token_of_a_service_account() {
    let upstream = giver_of_tokens(3600, messages_stream());
    let (file, key) = service_account(upstream.address);
    let folder = tempfile::tempdir().unwrap();
    let path_of_file = folder.path().join("sa.json");
    std::fs::write(&path_of_file, file.to_string()).unwrap();
    let credentials = path_of_file.display().to_string();
    let server = server(
        &upstream,
        "flavor = \"vertex\"\ndialect = \"anthropic\"\nregion = \"europe-west1\"",
        &[("GOOGLE_APPLICATION_CREDENTIALS", credentials.as_str())],
    );
    let mut client = ask_messages(
        &server,
        "anthropic-beta: x-2026\r\nanthropic-version: 2023-06-01\r\n",
    );
    assert!(client.body().contains("message_stop"));
    check_claim(&upstream.requests()[0], &key, upstream.address);
    let seen = &asked(&upstream)[0];
    assert_eq!(
        path(seen),
        "/v1/projects/p1/locations/europe-west1/publishers/anthropic/models/claude-sonnet-4@20250514:streamRawPredict"
    );
    assert_eq!(
        seen.header("authorization").as_deref(),
        Some("Bearer canary-key-1")
    );
    assert_eq!(seen.header("anthropic-beta").as_deref(), Some("x-2026"));
    let body = seen.json();
    assert_eq!(body["anthropic_version"], "vertex-2023-10-16");
    assert_eq!(body["stream"], true);
    assert_eq!(body.get("model"), None);
}

/// Checks the claim that is exchanged for a token: its words, and that the key has signed it.
fn check_claim(seen: &Seen, key: &str, address: std::net::SocketAddr) {
    let fields: Vec<(String, String)> = serde_urlencoded::from_bytes(&seen.body).unwrap();
    let field = |name: &str| {
        fields
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .clone()
    };
    assert_eq!(
        field("grant_type"),
        "urn:ietf:params:oauth:grant-type:jwt-bearer"
    );
    let claim = field("assertion");
    let (text, signature) = claim.rsplit_once('.').unwrap();
    let (head, claims) = text.split_once('.').unwrap();
    let decode = |part: &str| -> Value {
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(decode(head)["alg"], "RS256");
    let claims = decode(claims);
    assert_eq!(claims["iss"], "a@p1.iam.gserviceaccount.com");
    assert_eq!(claims["aud"], format!("http://{address}/token"));
    assert_eq!(
        claims["scope"],
        "https://www.googleapis.com/auth/cloud-platform"
    );
    let lifetime = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(lifetime, 3600);
    // PKCS #1 signatures are the same every time.
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let signer = key
        .choose_scheme(&[rustls::SignatureScheme::RSA_PKCS1_SHA256])
        .unwrap();
    let again = signer.sign(text.as_bytes()).unwrap();
    assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(again), signature);
}

#[test]
fn vertex_asks_the_machine_it_runs_on_if_no_file_is_named() {
    let upstream = giver_of_tokens(3600, chat_stream());
    let keys = "flavor = \"vertex\"\ndialect = \"openai-chat\"\nproject = \"p1\"\ntoken_url = \"http://{address}/token\"";
    let server = server(&upstream, keys, &[]);
    assert!(ask_chat(&server).ends_with(DONE));
    let asked_for_token = &upstream.requests()[0];
    assert!(asked_for_token.head.starts_with("GET /token"));
    assert_eq!(
        asked_for_token.header("metadata-flavor").as_deref(),
        Some("Google")
    );
    let wanted = "/v1/projects/p1/locations/global/endpoints/openapi/chat/completions";
    assert_eq!(path(&asked(&upstream)[0]), wanted);
}

#[test]
fn bedrock_takes_a_bearer_key_in_every_dialect() {
    let env = &[
        ("AWS_BEARER_TOKEN_BEDROCK", "bedrock-canary-key"),
        ("AWS_REGION", "us-east-1"),
    ];
    for (dialect, answer, wanted) in [
        ("anthropic", messages_stream(), "/anthropic/v1/messages"),
        ("openai-chat", chat_stream(), "/openai/v1/chat/completions"),
    ] {
        let upstream = Upstream::streaming(answer);
        let keys = format!("flavor = \"bedrock\"\ndialect = \"{dialect}\"");
        let server = server(&upstream, &keys, env);
        assert!(ask_messages(&server, "").body().contains("message_stop"));
        let seen = &upstream.requests()[0];
        assert_eq!(path(seen), wanted);
        assert_eq!(
            seen.header("authorization").as_deref(),
            Some("Bearer bedrock-canary-key")
        );
        assert_eq!(seen.header("x-api-key"), None);
    }
}

const AWS: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "aws-canary-key"),
    ("AWS_SESSION_TOKEN", "session-canary-key"),
    ("AWS_REGION", "us-east-1"),
];

#[test]
fn requests_to_bedrock_without_a_bearer_key_are_signed() {
    let upstream = Upstream::streaming(messages_stream());
    let server = server(&upstream, "flavor = \"bedrock\"", AWS);
    assert!(ask_messages(&server, "").body().contains("message_stop"));
    let seen = &upstream.requests()[0];
    let authorization = seen.header("authorization").unwrap();
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
        "{authorization}"
    );
    assert!(
        authorization.contains("/us-east-1/bedrock/aws4_request"),
        "{authorization}"
    );
    assert!(
        authorization.contains("SignedHeaders=host;x-amz-date;x-amz-security-token"),
        "{authorization}"
    );
    assert_eq!(
        seen.header("x-amz-security-token").as_deref(),
        Some("session-canary-key")
    );
}

/// A frame of AWS with these headers.
fn aws_frame(headers: &[(&str, &str)], payload: &Value) -> Vec<u8> {
    use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
    let mut message = Message::new(payload.to_string().into_bytes());
    for (name, value) in headers {
        let value = HeaderValue::String((*value).to_owned().into());
        message = message.add_header(Header::new((*name).to_owned(), value));
    }
    let mut out = Vec::new();
    aws_smithy_eventstream::frame::write_message_to(&message, &mut out).unwrap();
    out
}

/// The events of a stream as Bedrock sends them, so many of them.
fn invoke_stream(count: usize) -> Vec<u8> {
    let whole = messages_stream();
    let chunk = |(_, data): (String, String)| {
        let payload = json!({ "bytes": BASE64_STANDARD.encode(data), "p": "abcdef" });
        let headers = [(":event-type", "chunk"), (":message-type", "event")];
        aws_frame(&headers, &payload)
    };
    events(&whole)
        .into_iter()
        .take(count)
        .flat_map(chunk)
        .collect()
}

fn bedrock_invoke(body: Vec<u8>) -> Upstream {
    Upstream::start(move |c| {
        while c.request().is_some() {
            c.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n");
            for piece in body.chunks(50) {
                c.chunk(piece);
            }
            c.end();
        }
    })
}

#[test]
fn claude_is_invoked_at_bedrock_and_its_frames_are_events_for_clients_of_any_dialect() {
    let upstream = bedrock_invoke(invoke_stream(100));
    let server = server(&upstream, "flavor = \"bedrock-invoke\"", AWS);
    let mut client = ask_messages(&server, "anthropic-beta: x-2026\r\n");
    let kinds: Vec<String> = events(&client.body())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(kinds.first().map(String::as_str), Some("message_start"));
    assert_eq!(kinds.last().map(String::as_str), Some("message_stop"));
    let seen = &upstream.requests()[0];
    let wanted = "/model/claude-sonnet-4@20250514/invoke-with-response-stream";
    assert_eq!(path(seen), wanted);
    let body = seen.json();
    assert_eq!(body["anthropic_version"], "bedrock-2023-05-31");
    assert_eq!(body["anthropic_beta"], json!(["x-2026"]));
    assert_eq!((body.get("model"), body.get("stream")), (None, None));
    assert!(
        seen.header("authorization")
            .unwrap()
            .starts_with("AWS4-HMAC-SHA256 ")
    );
    let answer = ask_chat(&server);
    assert!(
        answer.contains("\"Hi\"") && answer.ends_with(DONE),
        "{answer}"
    );
}

#[test]
fn an_exception_of_bedrock_ends_the_stream_as_an_error() {
    let mut body = invoke_stream(3);
    let headers = [
        (":message-type", "exception"),
        (":exception-type", "throttlingException"),
    ];
    body.extend(aws_frame(
        &headers,
        &json!({ "message": "Too many tokens, please wait" }),
    ));
    let upstream = bedrock_invoke(body);
    let server = server(&upstream, "flavor = \"bedrock-invoke\"", AWS);
    let mut client = server.chat(json!({}));
    client.wait_for("Too many tokens, please wait");
    client.wait_end();
    assert!(!client.text().contains(DONE) && !client.text().contains("\"stop\""));
    // A stream that is cut is no whole one, either.
    let cut = invoke_stream(4);
    let upstream = bedrock_invoke(cut[..cut.len() - 3].to_vec());
    let server = self::server(&upstream, "flavor = \"bedrock-invoke\"", AWS);
    let mut client = ask_messages(&server, "");
    client.wait_for("event: error");
    client.wait_end();
    assert!(!client.text().contains("message_stop"));
}

#[test]
fn ollama_is_asked_by_its_own_api_for_streams_and_for_whole_answers() {
    let upstream = Upstream::start(|c| {
        while let Some(seen) = c.request() {
            let end = json!({ "message": { "role": "assistant", "content": "lo" }, "done": true, "done_reason": "stop",
                "prompt_eval_count": 3, "eval_count": 4 });
            if seen.json()["stream"] == false {
                answer_json(c, "200 OK", &end);
                continue;
            }
            c.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n");
            let first = json!({ "message": { "role": "assistant", "content": "Hel", "thinking": "hm" }, "done": false });
            c.chunk(format!("{first}\n").as_bytes());
            c.chunk(format!("{end}\n").as_bytes());
            c.end();
        }
    });
    let server = server(&upstream, "flavor = \"ollama\"", &[]);
    let mut client = ask_messages(&server, "");
    let answer = client.body();
    for part in [
        "\"Hel\"",
        "\"lo\"",
        "thinking_delta",
        "message_stop",
        "\"output_tokens\":4",
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    let seen = &upstream.requests()[0];
    assert_eq!(path(seen), "/api/chat");
    assert_eq!(seen.json()["options"]["num_predict"], 5);
    let mut client = server.chat(json!({ "stream": false }));
    let answer = client.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "lo");
    assert_eq!(answer["usage"]["prompt_tokens"], 3);
}

/// Runs the binary with a file as its configuration; returns what it prints and its exit code.
fn run(config: &str, arguments: &[&str], env: &[(&str, &str)]) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args(["--config", "c.toml"])
        .args(arguments)
        .current_dir(folder.path())
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).unwrap(), output.status.code())
}

#[test]
fn init_writes_a_configuration_that_check_takes_and_that_holds_no_key() {
    let env = &[
        ("GROQ_API_KEY", "groq-canary-key"),
        ("MISTRAL_API_KEY", "mistral-canary-key"),
        ("AWS_BEARER_TOKEN_BEDROCK", "aws-canary-key"),
        ("AZURE_OPENAI_API_KEY", "azure-canary-key"),
        ("AZURE_OPENAI_ENDPOINT", "https://r.openai.azure.com"),
    ];
    let (config, code) = run("", &["init"], env);
    assert_eq!(code, Some(0));
    assert!(!config.contains("canary-key"), "{config}");
    for part in [
        "flavor = \"groq\"",
        "flavor = \"mistral\"",
        "base_url = \"https://r.openai.azure.com\"",
        // What is missing is left to whoever reads it.
        "# region = \"us-east-1\"  # yours",
    ] {
        assert!(config.contains(part), "{part}: {config}");
    }
    let (checked, code) = run(&config, &["check"], env);
    assert_eq!(code, Some(0), "{checked}");
    let (nothing, _) = run("", &["init"], &[]);
    assert_eq!(run(&nothing, &["check"], &[]).1, Some(0), "{nothing}");
    let (error, code) = run("x", &["init", "--output", "c.toml"], env);
    assert_eq!(code, Some(2));
    assert!(error.contains("can't write c.toml"), "{error}");
}

#[test]
fn probe_says_what_is_wrong_with_a_provider() {
    let upstream = Upstream::start(|c| {
        while let Some(seen) = c.request() {
            let key = seen.header("authorization").unwrap_or_default();
            match path(&seen).as_str() {
                "/v1/models" if key.ends_with("good-canary-key") => {
                    answer_json(
                        c,
                        "200 OK",
                        &json!({ "data": [{ "id": "m1" }, { "id": "m2" }] }),
                    );
                }
                "/v1/chat/completions" if key.ends_with("good-canary-key") => {
                    answer_json(
                        c,
                        "200 OK",
                        &json!({ "object": "chat.completion", "choices": [{ "index": 0,
                        "finish_reason": "stop", "message": { "role": "assistant", "content": "ok" } }] }),
                    );
                }
                "/v1/models" | "/v1/chat/completions" => {
                    let error = json!({ "error": { "message": "Incorrect API key", "type": "x" } });
                    answer_json(c, "401 Unauthorized", &error);
                }
                _ => answer_json(c, "404 Not Found", &json!({ "detail": "Not Found" })),
            }
        }
    });
    let config = |url: &str| {
        format!(
            "[providers.p]\nflavor = \"vllm\"\nbase_url = \"{url}\"\n[[models]]\nname = \"*\"\ntargets = [{{ provider = \"p\" }}]\n"
        )
    };
    let url = format!("http://{}", upstream.address);
    let probe = |url: &str, key: &str, arguments: &[&str]| {
        let arguments = [&["probe", "p"], arguments].concat();
        run(&config(url), &arguments, &[("VLLM_API_KEY", key)])
    };
    let (text, code) = probe(&url, "good-canary-key", &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("models: 2, such as m1, m2"), "{text}");
    assert!(text.contains("model `m1` answers: \"ok\""), "{text}");
    let (text, code) = probe(&url, "bad-canary-key", &["--model", "m1"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the key, which was refused"), "{text}");
    assert!(
        text.contains("Incorrect API key") && !text.contains("canary"),
        "{text}"
    );
    let (text, _) = probe(&format!("{url}/odd"), "good-canary-key", &["--model", "m1"]);
    assert!(text.contains("the model's name, or the address"), "{text}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (text, _) = probe(
        &format!("http://{closed}"),
        "good-canary-key",
        &["--model", "m1"],
    );
    assert!(text.contains("what to look at: the address"), "{text}");
    let (text, code) = run(&config(&url), &["probe", "q"], &[]);
    assert_eq!(code, Some(2));
    assert!(
        text.contains("there is no provider `q` (there are: p)"),
        "{text}"
    );
}

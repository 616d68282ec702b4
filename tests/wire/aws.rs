//! Keys of AWS that are no variables: files, a role, a container's agent, the machine's metadata.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::*;

/// A time of that many seconds from now, as AWS writes it.
fn in_seconds(seconds: u64) -> String {
    let time = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn path(seen: &Seen) -> String {
    seen.head.split(' ').nth(1).unwrap().to_owned()
}

fn answer(c: &mut Connection, status: &str, body: &str) {
    let length = body.len();
    c.send(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes());
}

/// An upstream that also answers everything else: with that status and body, by the request and
/// its number.
fn with_giver(
    give: impl Fn(&Seen, usize) -> (&'static str, String) + Send + Sync + 'static,
) -> Upstream {
    let given = AtomicUsize::new(0);
    Upstream::start(move |c| {
        while let Some(seen) = c.request() {
            if path(&seen) == "/openai/v1/chat/completions" {
                c.stream_head();
                c.chunk(format!("{}{STOP}{DONE}", says("canary-session-1 Hi")).as_bytes());
                c.end();
                continue;
            }
            let nth = 1 + given.fetch_add(1, Ordering::SeqCst);
            let (status, body) = give(&seen, nth);
            answer(c, status, &body);
        }
    })
}

/// A server with a provider of Bedrock at that upstream, in this environment. `{address}` in a
/// value is the upstream's.
fn server(upstream: &Upstream, keys: &str, env: &[(&str, &str)]) -> Server {
    let address = upstream.address.to_string();
    let config = format!(
        "[providers.p]\nflavor = \"bedrock\"\ndialect = \"openai-chat\"\nregion = \"us-east-1\"\n\
         base_url = \"http://{address}\"\n{keys}\n[[models]]\nname = \"*\"\ntargets = [{{ provider = \"p\" }}]\n"
    );
    let mut all = vec![
        ("HOME", "/nowhere".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
    ];
    for (name, value) in env {
        all.retain(|(known, _)| known != name);
        all.push((name, value.replace("{address}", &address)));
    }
    let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, &**value)).collect();
    Server::with(&config, &all)
}

fn ask(server: &Server) -> String {
    server
        .chat(json!({ "model": "my-model", "max_tokens": 5 }))
        .body()
}

/// The requests for answers.
fn asked(upstream: &Upstream) -> Vec<Seen> {
    let requests = upstream.requests().into_iter();
    requests
        .filter(|seen| path(seen).ends_with("/chat/completions"))
        .collect()
}

/// Checks that an answer came and its request was signed by that key, of which nothing is told.
fn check_signed(server: &Server, upstream: &Upstream, key: &str, token: Option<&str>) {
    let told = ask(server);
    assert!(told.ends_with(DONE), "{told}");
    let is_temporary = token.is_some();
    assert_eq!(told.contains("canary-session-1"), !is_temporary, "{told}");
    let seen = asked(upstream).pop().unwrap();
    let authorization = seen.header("authorization").unwrap();
    let wanted = format!("AWS4-HMAC-SHA256 Credential={key}/");
    assert!(authorization.starts_with(&wanted), "{authorization}");
    assert!(authorization.contains("/us-east-1/bedrock/aws4_request"));
    assert_eq!(seen.header("x-amz-security-token").as_deref(), token);
    assert!(!server.log().contains("canary-secret"), "{}", server.log());
}

fn key_json(seconds: u64) -> String {
    json!({ "Code": "Success", "AccessKeyId": "AKID1", "SecretAccessKey": "canary-secret-1",
        "Token": "canary-session-1", "Expiration": in_seconds(seconds) })
    .to_string()
}

#[test]
fn a_profile_of_the_shared_files_signs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    let profile = |name: &str, id: &str| {
        format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = canary-secret-1\n")
    };
    let text = profile("default", "AKID0") + &profile("work", "AKID2");
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let env = [("AWS_SHARED_CREDENTIALS_FILE", &*file)];
    let upstream = with_giver(|_, _| ("404 Not Found", String::new()));
    let server = self::server(&upstream, "", &env);
    check_signed(&server, &upstream, "AKID0", None);
    let server = self::server(&upstream, "profile = \"work\"", &env);
    check_signed(&server, &upstream, "AKID2", None);
}

#[test]
fn a_role_is_taken_with_the_token_of_another_identity() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "canary-identity-1\n").unwrap();
    let file = file.display().to_string();
    let upstream = with_giver(|_, _| {
        let ends = in_seconds(3600);
        let keys = format!(
            "<Credentials><AccessKeyId>AKID1</AccessKeyId><SecretAccessKey>canary-secret-1</SecretAccessKey>\
             <SessionToken>canary-session-1</SessionToken><Expiration>{ends}</Expiration></Credentials>"
        );
        let result =
            format!("<AssumeRoleWithWebIdentityResult>{keys}</AssumeRoleWithWebIdentityResult>");
        ("200 OK", result)
    });
    let env = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &*file),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_ENDPOINT_URL_STS", "http://{address}"),
    ];
    let server = server(&upstream, "", &env);
    // Before anyone asks.
    upstream.wait_requests(1);
    let grant = String::from_utf8(upstream.requests()[0].body.clone()).unwrap();
    let wanted = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr\
                  &RoleSessionName=tokenrill&WebIdentityToken=canary-identity-1";
    assert_eq!(grant, wanted);
    check_signed(&server, &upstream, "AKID1", Some("canary-session-1"));
    assert_eq!(upstream.requests().len(), 2);
}

#[test]
fn a_role_that_is_refused_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "canary-identity-1").unwrap();
    let file = file.display().to_string();
    let upstream = with_giver(|_, _| {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
                     <Message>Not authorized: canary-identity-1</Message></Error></ErrorResponse>";
        ("403 Forbidden", error.to_owned())
    });
    let env = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &*file),
        ("AWS_ROLE_ARN", "arn"),
        ("AWS_ENDPOINT_URL_STS", "http://{address}"),
    ];
    let server = server(&upstream, "", &env);
    let mut client = server.chat(json!({}));
    assert_eq!(client.status(), 502);
    let error = client.json()["error"].clone();
    assert_eq!(error["code"], "no_access_token");
    let message = error["message"].as_str().unwrap();
    let wanted = "it answered 403, AccessDenied: Not authorized: ***";
    assert!(message.contains(wanted), "{message}");
    server.logged("no access token", 1);
    assert!(!server.log().contains("canary-identity"));
    assert!(asked(&upstream).is_empty());
}

#[test]
fn the_agent_of_a_container_is_asked_with_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "canary-agent-1").unwrap();
    let file = file.display().to_string();
    let upstream = with_giver(|_, _| ("200 OK", key_json(3600)));
    let env = [
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "http://{address}/v1/credentials",
        ),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file),
    ];
    let server = server(&upstream, "", &env);
    check_signed(&server, &upstream, "AKID1", Some("canary-session-1"));
    let seen = &upstream.requests()[0];
    assert_eq!(path(seen), "/v1/credentials");
    assert_eq!(
        seen.header("authorization").as_deref(),
        Some("canary-agent-1")
    );
}

/// Answers as the metadata service of a machine with a role.
fn metadata(seen: &Seen, seconds: u64) -> (&'static str, String) {
    const KEYS: &str = "/latest/meta-data/iam/security-credentials/";
    let has_token = seen.header("x-aws-ec2-metadata-token").as_deref() == Some("metadata-token");
    match path(seen).as_str() {
        "/latest/api/token" if seen.head.starts_with("PUT ") => {
            let lifetime = seen.header("x-aws-ec2-metadata-token-ttl-seconds");
            assert_eq!(lifetime.as_deref(), Some("21600"));
            ("200 OK", "metadata-token".to_owned())
        }
        _ if !has_token => ("401 Unauthorized", String::new()),
        KEYS => ("200 OK", "my-role\n".to_owned()),
        path if path == format!("{KEYS}my-role") => ("200 OK", key_json(seconds)),
        _ => ("404 Not Found", String::new()),
    }
}

const MACHINE: &[(&str, &str)] = &[
    ("AWS_EC2_METADATA_DISABLED", "false"),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://{address}"),
];

#[test]
fn the_machine_is_asked_if_there_is_nothing_else() {
    let upstream = with_giver(|seen, _| metadata(seen, 3600));
    let server = server(&upstream, "", MACHINE);
    check_signed(&server, &upstream, "AKID1", Some("canary-session-1"));
    assert_eq!(upstream.requests().len(), 4);
}

#[test]
fn a_key_is_replaced_before_it_ends_and_no_request_waits_for_it() {
    let upstream = with_giver(|seen, _| metadata(seen, 3));
    let server = server(&upstream, "", MACHINE);
    // Two whole rounds, of three requests each.
    upstream.wait_requests(6);
    assert_eq!(asked(&upstream).len(), 0);
    check_signed(&server, &upstream, "AKID1", Some("canary-session-1"));
}

#[test]
fn a_machine_without_a_role_is_said_in_words() {
    let upstream = with_giver(|seen, _| match path(seen).as_str() {
        "/latest/api/token" => ("200 OK", "metadata-token".to_owned()),
        _ => ("404 Not Found", "<html>no</html>".to_owned()),
    });
    let server = server(&upstream, "", MACHINE);
    let mut client = server.chat(json!({}));
    let message = client.json()["error"]["message"].to_string();
    assert!(message.contains("it answered 404"), "{message}");
}

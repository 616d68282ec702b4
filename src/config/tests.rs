//! Every problem is one line that says where, what, and what would be right.

#![expect(clippy::unwrap_used, reason = "tests")]

mod addresses;
mod aws;
mod environment;
mod flavors;
mod page;
mod together;

use std::io::Write as _;

use super::*;

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let env = env
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let name = file.path().display().to_string();
    Config::load(Some(file.path()), env, &["openai-chat", "anthropic"])
        .map_err(|error| error.to_string().replace(&name, "FILE"))
}

const OPENAI: &str =
    "[providers.openai]\ndialect = \"openai-chat\"\nbase_url = \"https://api.openai.com/v1/\"\n";
const MODELS: &str = "[[models]]\nname = \"*\"\ntargets = [{ provider = \"openai\" }]\n";

#[test]
fn nothing_configured_is_the_mock_on_loopback() {
    let config = Config::load(None, std::iter::empty(), &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert!(config.models.is_empty() && config.providers.is_empty() && !config.prompts.explicit);
    assert_eq!(
        (config.max_body, config.timeouts.generation.total),
        (32 << 20, Duration::from_secs(600))
    );
}

#[test]
fn a_real_configuration_is_read_whole() {
    let text = format!(
        "listen = \"0.0.0.0:80\"\n[sse]\nheartbeat = \"0s\"\n{OPENAI}api_key_env = \"KEY\"\nhttp2 = true\n\
         headers = {{ \"x-a\" = \"b\" }}\nfinish_reason = \"optional\"\n[[models]]\nname = \"fast\"\n\
         targets = [{{ provider = \"openai\", model = \"gpt\" }}]\n[[models]]\nname = \"m\"\n\
         targets = [{{ provider = \"mock\" }}]"
    );
    let config = load(&text, &[("KEY", " sk-1\n")]).unwrap();
    let (_, openai) = config.providers.iter().next().unwrap();
    assert_eq!(openai.base_url.as_str(), "https://api.openai.com/v1");
    assert_eq!(openai.api_key.as_ref().unwrap().expose(), "sk-1");
    assert_eq!(config.sse.heartbeat, None);
    assert_eq!(config.models[0].targets[0].model.as_deref(), Some("gpt"));
    assert!(openai.http2 && openai.finish_reason == FinishReasonRule::Optional);
}

#[test]
fn origins_have_the_spelling_that_browsers_have_for_them() {
    let cors = |origin: &str| {
        load(&format!("[cors]\norigins = [\"{origin}\"]"), &[]).map(|config| config.cors)
    };
    for good in [
        "https://app.example",
        "http://localhost:3000",
        "http://[::1]:8080",
        "chrome-extension://abcdef",
    ] {
        assert_eq!(
            cors(good),
            Ok(Cors::These(vec![good.parse().unwrap()])),
            "{good}"
        );
    }
    assert_eq!(cors("*"), Ok(Cors::Any));
    assert_eq!(load("[cors]\norigins = []", &[]).unwrap().cors, Cors::None);
    let from_env = load("", &[("TOKENRILL_CORS_ORIGINS", "[\"https://a.b\"]")])
        .unwrap()
        .cors;
    assert_eq!(from_env, Cors::These(vec!["https://a.b".parse().unwrap()]));
    for bad in [
        "",
        "null",
        "app.example",
        "https://",
        "https://app.example/",
        "https://app.example/x",
        "https://app.example?x",
        "https://App.example",
        "HTTPS://app.example",
        "https://app.example:443",
        "http://app.example:80",
        "https://app.example:",
        "https://me@app.example",
        "https://*.example",
    ] {
        assert!(
            cors(bad).is_err_and(|error| error.contains("should be an origin as browsers send it")),
            "{bad}"
        );
    }
}

#[test]
fn a_message_may_be_as_long_as_a_body_unless_said_otherwise() {
    let websocket = |text: &str| load(text, &[]).unwrap().websocket;
    assert_eq!(websocket("max_body = \"2MiB\"").max_message, 2 << 20);
    assert_eq!(
        websocket("max_body = \"2MiB\"\n[websocket]\nmax_message = \"8KiB\"").max_message,
        8 << 10
    );
    assert_eq!(websocket("[websocket]\nping = \"0s\"").ping, None);
    assert!(load("[websocket]\nidle = \"0s\"", &[]).is_err());
    assert!(load("[websocket]\nmax_running = 0", &[]).is_err());
}

#[test]
fn errors_name_the_place_and_what_would_be_right() {
    for (text, want) in [
        (
            "lisen = \"x\"",
            "FILE:1: lisen: there is no such key; did you mean `listen`? (known here: ",
        ),
        ("a = \"x", "FILE:1: "),
        (
            "\n[timeouts]\nfirst_tokn = \"1s\"",
            "FILE:3: timeouts.first_tokn: there is no such key; did you mean `first_token`?",
        ),
        (
            "first_token = \"1s\"",
            "FILE:1: first_token: there is no such key; did you mean `timeouts.first_token`?",
        ),
        (
            "timeouts = 5",
            "FILE:1: timeouts: should be a section, [timeouts]",
        ),
        (
            "[timeouts]\nconnect = \"soon\"",
            "FILE:2: timeouts.connect: should be a duration such as \"500ms\", \"15s\" or \"10m\", not \"soon\"",
        ),
        ("[timeouts]\nconnect = 5", "not 5"),
        (
            "[timeouts]\nconnect = \"0s\"",
            "should be longer than nothing",
        ),
        (
            "[timeouts]\nconnect = \"1us\"",
            "FILE:2: timeouts.connect: should be at least \"1ms\"",
        ),
        (
            "[timeouts]\ntotal = \"1y\"",
            "FILE:2: timeouts.total: should be at most a week",
        ),
        (
            "[sse]\nheartbeat = \"1ns\"",
            "FILE:2: sse.heartbeat: should be at least \"1ms\"",
        ),
        ("drain = \"-1s\"", "FILE:1: drain: should be a duration"),
        (
            "max_event_bytes = \"0B\"",
            "FILE:1: max_event_bytes: should be a size from 1KiB to 1GiB",
        ),
        (
            "prompts = \"\"",
            "FILE:1: prompts: should be a text that is not empty",
        ),
        (
            "[log]\nlevel = 3",
            "FILE:2: log.level: should be a text that is not empty, not 3",
        ),
        (
            "listen = \"localhost\"",
            "FILE:1: listen: should be an address such as \"127.0.0.1:8080\", not \"localhost\"",
        ),
        (
            "[tls]\ncert = \"a.pem\"",
            "FILE:2: tls.cert: stands alone; tls.key should name the file of its private key",
        ),
        (
            "[tls]\nkey = \"a.pem\"",
            "FILE:2: tls.key: stands alone; tls.cert should name the file of its certificate",
        ),
        (
            "[cors]\norigins = \"*\"",
            "FILE:2: cors.origins: should be a list of origins, as in ",
        ),
        (
            "[cors]\norigins = [\"*\", \"https://a\"]",
            "FILE:2: cors.origins: `*` is every origin: it should stand alone",
        ),
        (
            "[cors]\norigins = [\"https://a\", \"https://b/\"]",
            "FILE:2: cors.origins.1: should be an origin as browsers send",
        ),
        (
            "[cors]\norigin = []",
            "FILE:2: cors.origin: there is no such key; did you mean `origins`?",
        ),
        (
            "workers = 0",
            "FILE:1: workers: should be a whole number from 1 to 1024, not 0",
        ),
        (
            "max_body = \"4 potatoes\"",
            "max_body: should be a size from 1KiB to 1GiB",
        ),
        (
            "[log]\nformat = \"jsn\"",
            "log.format: should be one of text, json, not `jsn`; did you mean `json`?",
        ),
        (
            "[mock]\ntokens_per_second = -1",
            "mock.tokens_per_second: should be a whole number",
        ),
        (
            "[providers.x]\nbase_url = \"http://a\"",
            "FILE:1: providers.x: `dialect` is missing",
        ),
        (
            "[providers.x]\ndialect = \"openai\"\nbase_url = \"http://a\"",
            "should be one of openai-chat, anthropic, not `openai`",
        ),
        (
            "[providers.x]\ndialect = \"openai-chat\"",
            "FILE:1: providers.x: `base_url` is missing",
        ),
        (
            "[providers.x]\ndialect = \"openai-chat\"\nbase_url = \"a/b\"",
            "providers.x.base_url: ",
        ),
        (
            "[providers.x]\ndialect = \"openai-chat\"\nbase_url = \"http://u:hunter2@a\"",
            "holds a user or password",
        ),
        (
            "[providers.x]\ndialect = \"openai-chat\"\nbase_url = \"ftp://a\"",
            "should begin with http:// or https://",
        ),
        (
            "[providers.x]\nbase_ur = \"http://a\"",
            "FILE:2: providers.x.base_ur: there is no such key; did you mean `base_url`?",
        ),
        (
            "[providers.mock]\n",
            "FILE:1: providers.mock: the name `mock` is the embedded model's",
        ),
        (
            OPENAI,
            "FILE:1: providers.openai: no model leads to it; add [[models]]",
        ),
        (
            &format!("{OPENAI}api_key_env = \"NO_KEY\"\n{MODELS}"),
            "FILE:4: providers.openai.api_key_env: the environment variable NO_KEY is not set",
        ),
        (
            &format!("{OPENAI}api_key_env = \"EMPTY\"\n{MODELS}"),
            "the environment variable EMPTY is empty",
        ),
        (
            &format!("{OPENAI}api_key_file = \"/nowhere\"\n{MODELS}"),
            "can't read the key file /nowhere: ",
        ),
        (
            &format!("{OPENAI}headers = {{ \"a b\" = \"c\" }}\n{MODELS}"),
            "FILE:4: providers.openai.headers.a b: is not a valid HTTP header name",
        ),
        (
            &format!("{OPENAI}headers = {{ x = 5 }}\n{MODELS}"),
            "providers.openai.headers: should be a table of texts",
        ),
        (
            &format!("{OPENAI}headers = {{ x = \"a\\nb\" }}\n{MODELS}"),
            "headers.x: contains characters that are not allowed in an HTTP header",
        ),
        (
            &format!("{OPENAI}headers = {{ \"X-A\" = \"1\", \"x-a\" = \"2\" }}\n{MODELS}"),
            "is given twice: header names",
        ),
        (
            &format!("{OPENAI}headers = {{ Accept-Encoding = \"gzip\" }}\n{MODELS}"),
            "headers.Accept-Encoding: is set by the request itself",
        ),
        (
            &format!(
                "{OPENAI}api_key_env = \"KEY\"\nheaders = {{ Authorization = \"hunter2\" }}\n{MODELS}"
            ),
            "FILE:5: providers.openai.headers.Authorization: stands beside the provider's key",
        ),
        (
            &format!("{OPENAI}api_key = \"hunter2\"\n{MODELS}"),
            "FILE:4: providers.openai.api_key: a key doesn't stand here; name the variable that holds it by api_key_env",
        ),
        (
            &format!("{OPENAI}api_key_env = \"KEY\"\napi_key_file = \"f\"\n{MODELS}"),
            "FILE:5: providers.openai.api_key_file: stands beside api_key_env; give one of the two",
        ),
        (
            &format!("{OPENAI}api_key_file = \"/dev/null\"\n{MODELS}"),
            "the key file /dev/null is empty",
        ),
        (
            &format!("{OPENAI}http2 = \"yes\"\n{MODELS}"),
            "providers.openai.http2: should be true or false, not \"yes\"",
        ),
        (
            &format!("{OPENAI}finish_reason = \"maybe\"\n{MODELS}"),
            "should be one of required, optional, not `maybe`",
        ),
        (
            "[providers.\"a.b\"]",
            "a provider's name should be of letters, digits, `-` and `_`",
        ),
        (
            "[providers.\"a\\u001b[31m\"]",
            "FILE:1: providers.a[31m: a provider's name",
        ),
        (
            "providers = 5",
            "FILE:1: providers: should hold tables, as in [providers.openai]",
        ),
        (
            "models = 5",
            "FILE:1: models: should be a list, as in [[models]]",
        ),
        (
            "[[models]]\nname = \"a\"",
            "FILE:1: models.0: `targets` is missing",
        ),
        (
            "[[models]]\ntargets = []",
            "FILE:1: models.0: `name` is missing",
        ),
        (
            "[[models]]\nname = \"a\"\ntargets = { provider = \"mock\" }",
            "FILE:3: models.0.targets: should be a list, as in [{ provider = \"openai\" }]",
        ),
        (
            "[[models]]\nname = \"a\"\ntargets = [{}]",
            "FILE:3: models.0.targets: the target names no provider",
        ),
        (
            "[[models]]\nname = \"*\"\ntargets = [{ provider = \"mock\", model = \"x\" }]",
            "FILE:3: models.0.targets.0.model: the model `*` passes every name on as it is",
        ),
        (
            "default_model = \"fsat\"\n[[models]]\nname = \"fast\"\ntargets = [{ provider = \"mock\" }]",
            "FILE:1: default_model: there is no model `fsat`; did you mean `fast`? (there are: fast)",
        ),
        (
            &format!("{OPENAI}[[models]]\nname = \"a\"\ntargets = [{{ provider = \"opnai\" }}]"),
            "FILE:6: models.0.targets.0.provider: there is no provider `opnai`; did you mean `openai`?",
        ),
        (
            &format!(
                "{OPENAI}[[models]]\nname = \"a\"\ntargets = [{{ provider = \"openai\" }}, {{ provider = \"mock\" }}]\nchoose = \"wieghted\""
            ),
            "models.0.choose: should be one of first, weighted, least-loaded, not `wieghted`; did you mean `weighted`?",
        ),
        (
            &format!(
                "{OPENAI}[[models]]\nname = \"a\"\ntargets = [{{ provider = \"openai\" }}]\nhedge = \"p95\""
            ),
            "models.0.hedge: asks a second target beside the first, which needs at least two `targets`, two `attempts` and `retry_uncertain`",
        ),
        (
            &format!(
                "{OPENAI}[[models]]\nname = \"a\"\ntargets = [{{ provider = \"openai\" }}, {{ provider = \"mock\" }}]\nattempts = 1\nhedge = \"p95\""
            ),
            "models.0.hedge: asks",
        ),
        (
            &format!(
                "{OPENAI}[[models]]\nname = \"a\"\ntargets = [{{ provider = \"openai\" }}, {{ provider = \"mock\" }}]\nretry_uncertain = false\nhedge = \"p95\""
            ),
            "models.0.hedge: asks",
        ),
        (
            &format!(
                "max_body = \"1MiB\"\n{OPENAI}[[models]]\nname = \"a\"\ntargets = [{{ provider = \"openai\" }}]\nmax_body = \"2MiB\""
            ),
            "models.0.max_body: is more than the server's `max_body`, to which each body is read",
        ),
        (
            &format!("{OPENAI}[[models]]\nname = \"a\"\ntarget = []"),
            "models.0.target: there is no such key; did you mean `targets`?",
        ),
        (
            &format!("{OPENAI}{MODELS}{MODELS}"),
            "there is a model `*` already",
        ),
        (
            "[[families]]\nmodels = [\"x*\"]\nsystem = \"joined\"",
            "FILE:3: families.0.system: should be one of keep, join, user, not `joined`",
        ),
        (
            "[[families]]\nmodels = [\"x*\"]\ndialects = [\"telnet\"]",
            "FILE:3: families.0.dialects: there is no dialect `telnet`",
        ),
        ("[[families]]\ndrop = [\"top_p\"]", "`models` is missing"),
        (
            "[[families]]\nmodels = [\"x*\"]\ndorp = []",
            "families.0.dorp: there is no such key; did you mean `drop`?",
        ),
        (
            "[[models]]\nname = \"m\"\ntargets = [{ provider = \"mock\" }]\nset = { stream = false }",
            "FILE:4: models.0.set: names `stream`, which is the request itself",
        ),
        (
            "[streams]\nstore = \"disk\"",
            "FILE:2: streams.store: should be \"memory\", or an address such as",
        ),
        (
            "[streams]\nstore = \"http://a\"",
            "FILE:2: streams.store: should be \"memory\", or an address such as",
        ),
        (
            "[streams]\nstore = \"redis://u:hunter2@a\"",
            "holds a password; it comes by streams.password_env",
        ),
        (
            "[streams]\nstore = \"redis://a,b\"",
            "names several hosts; that is redis+sentinel:// or redis+cluster://",
        ),
        (
            "[streams]\nstore = \"redis://a:0\"",
            "should name hosts, each with a port from 1 to 65535 or none",
        ),
        ("[streams]\nstore = \"redis://\"", "should name hosts"),
        (
            "[streams]\nstore = \"redis://a/x\"",
            "has a path that is not a database number",
        ),
        (
            "[streams]\nstore = \"redis+sentinel://a\"",
            "names no service",
        ),
        (
            "[streams]\nstore = \"redis+cluster://a/1\"",
            "names a database; a cluster has only one",
        ),
        (
            "[streams]\nstore = \"redis://a\"\npassword_env = \"NONE\"",
            "FILE:3: streams.password_env: the environment variable NONE is not set",
        ),
    ] {
        let error = load(text, &[("EMPTY", " "), ("KEY", "sk-1")]).unwrap_err();
        assert!(error.contains(want), "{text}\n got: {error}\nwant: {want}");
        let has_place = |line: &str| line.starts_with("FILE:");
        assert!(error.lines().all(has_place), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

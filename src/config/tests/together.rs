//! All problems are told at once, in the order of the file, and none that only follows from
//! another.

use super::{MODELS, OPENAI, load};

/// Checks that these are the beginnings of all lines of the error.
fn assert_lines(text: &str, env: &[(&str, &str)], wanted: &[&str]) {
    let error = load(text, env).unwrap_err();
    let lines: Vec<&str> = error.lines().collect();
    let is_alike = lines.len() == wanted.len()
        && lines
            .iter()
            .zip(wanted)
            .all(|(line, want)| line.starts_with(want));
    assert!(
        is_alike,
        "{text}\n got:\n{error}\nwant:\n{}",
        wanted.join("\n")
    );
}

#[test]
fn problems_of_the_file_come_in_its_order_and_then_those_of_the_environment() {
    let text = "workers = 0\nlisen = \"x\"\n[timeouts]\ntotal = \"1y\"\nconnect = 5\nconect = \"1s\"\n\
                [mock]\ntokens_per_second = 20\n[log]\nlevel = \"tokenrill=loud\"\n\
                [providers.a]\ndialect = \"openai-chat\"\nbase_url = \"http://a\"\napi_key_env = \"NO_A\"\n\
                [providers.b]\ndialect = \"antropic\"\nbase_url = \"b\"\napi_key_env = \"NO_B\"\n\
                headers = { \"a b\" = \"c\", host = \"d\", fine = \"e\" }\n\
                [[models]]\nname = \"m\"\ntargets = [{ provider = \"a\" }]\n\
                [[models]]\nname = \"m\"\ntargets = [{ provider = \"c\" }]\n";
    let env = [
        ("TOKENRILL_MOCK_TOKENS_PER_SECOND", "many"),
        ("TOKENRILL_MAX_BODDY", "1MiB"),
        ("TOKENRILL_CORS_ORIGINS", "["),
    ];
    assert_lines(
        text,
        &env,
        &[
            "FILE:1: workers: should be a whole number from 1 to 1024, not 0",
            "FILE:2: lisen: there is no such key; did you mean `listen`?",
            "FILE:4: timeouts.total: should be at most a week",
            "FILE:5: timeouts.connect: should be a duration",
            "FILE:6: timeouts.conect: there is no such key; did you mean `connect`?",
            "FILE:10: log.level: ",
            "FILE:14: providers.a.api_key_env: the environment variable NO_A is not set",
            "FILE:16: providers.b.dialect: should be one of openai-chat, anthropic, not `antropic`; did you mean",
            "FILE:17: providers.b.base_url: should begin with http:// or https://",
            "FILE:18: providers.b.api_key_env: the environment variable NO_B is not set",
            "FILE:19: providers.b.headers.a b: is not a valid HTTP header name",
            "FILE:19: providers.b.headers.host: is set by the request itself",
            "FILE:24: models.1.name: there is a model `m` already",
            "FILE:25: models.1.targets.0.provider: there is no provider `c`",
            "TOKENRILL_CORS_ORIGINS: should be a TOML value",
            "TOKENRILL_MAX_BODDY: no key of the configuration has this name; did you mean TOKENRILL_MAX_BODY?",
            "TOKENRILL_MOCK_TOKENS_PER_SECOND: should be a whole number from 0 to 1000000",
        ],
    );
}

#[test]
fn what_only_follows_from_another_problem_is_left_out() {
    // A bound that can't be read is no bound.
    assert_lines(
        "[streams]\nlinger = \"2h\"\nmax_linger = \"x\"\nmax_bytes = \"1GiB\"\nmax_total_byts = \"1GiB\"",
        &[],
        &[
            "FILE:3: streams.max_linger: should be a duration",
            "FILE:5: streams.max_total_byts: there is no such key; did you mean `max_total_bytes`?",
        ],
    );
    // A misspelled key is not missing too, and a broken provider is there.
    assert_lines(
        &format!("[providers.openai]\ndialct = \"openai-chat\"\nbase_url = 5\n{MODELS}"),
        &[],
        &[
            "FILE:2: providers.openai.dialct: there is no such key; did you mean `dialect`?",
            "FILE:3: providers.openai.base_url: should be a text",
        ],
    );
    assert_lines(
        &format!("[provider.openai]\ndialect = \"openai-chat\"\n{MODELS}"),
        &[],
        &["FILE:1: provider: there is no such key; did you mean `providers`?"],
    );
    assert_lines(
        &format!("default_model = \"a\"\n{OPENAI}[[model]]\nname = \"a\""),
        &[],
        &["FILE:5: model: there is no such key; did you mean `models`?"],
    );
    assert_lines(
        &format!(
            "default_model = \"a\"\n{OPENAI}[[models]]\nname = \"b\"\n[[models]]\nnam = \"a\"\ntargets = [5]"
        ),
        &[],
        &[
            "FILE:5: models.0: `targets` is missing",
            "FILE:8: models.1.nam: there is no such key; did you mean `name`?",
            "FILE:9: models.1.targets.0: should be a table",
        ],
    );
    assert_lines(
        "models = [5]\n[providers]\nx = 5",
        &[],
        &[
            "FILE:1: models.0: should be a table",
            "FILE:3: providers.x: should be a table",
        ],
    );
    assert_lines(
        "[tls]\ncert = \"a.pem\"\nkey = 5",
        &[],
        &["FILE:3: tls.key: should be a text"],
    );
    assert_lines(
        OPENAI,
        &[("TOKENRILL_MODELS", "[")],
        &["TOKENRILL_MODELS: should be a TOML value"],
    );
}

#[test]
fn a_value_that_the_environment_overrides_is_not_judged() {
    assert!(load("listen = 5", &[("TOKENRILL_LISTEN", "127.0.0.1:1")]).is_ok());
    let models = "[{ name = \"m\", targets = [{ provider = \"mock\" }] }]";
    assert!(load("models = [5]", &[("TOKENRILL_MODELS", models)]).is_ok());
}

#[test]
fn every_line_that_is_no_toml_is_told() {
    assert_lines(
        "listen = \nworkers = 1\ndrain = \"1s\nworkers = 2\n",
        &[("TOKENRILL_LISEN", "x")],
        &["FILE:1: ", "FILE:3: ", "FILE:4: "],
    );
}

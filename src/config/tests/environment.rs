//! The environment overrides the file, key by key.

use super::*;

#[test]
fn the_environment_overrides_every_key() {
    let text = format!("{OPENAI}{MODELS}");
    let config = load(
        &text,
        &[
            ("TOKENRILL_LISTEN", "127.0.0.1:1"),
            ("TOKENRILL_TIMEOUTS_FIRST_TOKEN", "7s"),
            ("TOKENRILL_MOCK_TOKENS_PER_SECOND", "20"),
            ("TOKENRILL_PROVIDERS_OPENAI_BASE_URL", "http://127.0.0.1:9"),
            ("TOKENRILL_PROVIDERS_OPENAI_HTTP2", "true"),
            (
                "TOKENRILL_MODELS",
                "[{ name = \"x\", targets = [{ provider = \"mock\" }] }]",
            ),
            // What Kubernetes sets for a service named tokenrill.
            ("TOKENRILL_SERVICE_HOST", "10.0.0.1"),
            ("TOKENRILL_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("TOKENRILL_CONFIG", "elsewhere"),
        ],
    )
    .unwrap();
    assert_eq!(
        (config.listen.port(), config.mock.tokens_per_second),
        (1, 20)
    );
    assert_eq!(
        config.timeouts.generation.first_token,
        Duration::from_secs(7)
    );
    let provider = config.providers.values().next().unwrap();
    assert!(provider.http2 && provider.base_url.as_str() == "http://127.0.0.1:9");
    assert_eq!(config.models[0].name, "x");
    for (variable, value, want) in [
        (
            "TOKENRILL_LISEN",
            "x",
            "TOKENRILL_LISEN: no key of the configuration has this name; did you mean TOKENRILL_LISTEN?",
        ),
        (
            "TOKENRILL_LISTEN",
            "x",
            "TOKENRILL_LISTEN: should be an address",
        ),
        (
            "TOKENRILL_PROVIDERS_OPENAI_HTTP2",
            "maybe",
            "TOKENRILL_PROVIDERS_OPENAI_HTTP2: should be true or false",
        ),
        (
            "TOKENRILL_MODELS",
            "[",
            "TOKENRILL_MODELS: should be a TOML value",
        ),
        (
            "TOKENRILL_MODELS",
            "[{ nam = \"x\" }]",
            "TOKENRILL_MODELS: 0.nam: there is no such key; did you mean `name`?",
        ),
        (
            "TOKENRILL_PROVIDERS_OPENAI_HEADERS",
            "{ \"a b\" = \"c\" }",
            "TOKENRILL_PROVIDERS_OPENAI_HEADERS: a b: is not a valid HTTP header name",
        ),
        (
            "TOKENRILL_PROVIDERS_OPENAI_API_KEY",
            "sk",
            "did you mean TOKENRILL_PROVIDERS_OPENAI_API_KEY_ENV?",
        ),
    ] {
        let error = load(&text, &[(variable, value)]).unwrap_err();
        assert!(error.contains(want), "got {error}, want {want}");
    }
}

#[test]
fn a_variable_that_could_mean_two_providers_is_refused() {
    let variable = ("TOKENRILL_PROVIDERS_A_B_BASE_URL", "http://c");
    let text = "[providers.a-b]\ndialect = \"openai-chat\"\nbase_url = \"http://a\"\n\
                [providers.a_b]\ndialect = \"openai-chat\"\nbase_url = \"http://b\"\n\
                [[models]]\nname = \"m\"\ntargets = [{ provider = \"a-b\" }]";
    let error = load(text, &[variable]).unwrap_err();
    let want = "TOKENRILL_PROVIDERS_A_B_BASE_URL: stands for both providers.a-b.base_url and providers.a_b.base_url";
    assert!(error.starts_with(want), "{error}");
    let error = load("", &[variable]).unwrap_err();
    assert!(
        error.contains("there is no provider to override; add its section"),
        "{error}"
    );
    assert!(load(text, &[]).is_ok());
}

//! Addresses, secrets and where Redis is: each error names the place, and no secret shows.

use ::store::redis::Topology;
use secrecy::ExposeSecret;

use super::*;

#[test]
fn a_base_url_is_an_address_that_can_be_reached() {
    let read = |url: &str| {
        let text = format!(
            "[providers.openai]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\n{MODELS}"
        );
        load(&text, &[]).map(|config| {
            config
                .providers
                .values()
                .next()
                .unwrap()
                .base_url
                .as_str()
                .to_owned()
        })
    };
    for (url, want) in [
        ("http://h/a/b/", "http://h/a/b"),
        ("http://[::1]:80//", "http://[::1]:80"),
        ("https://h:65535", "https://h:65535"),
    ] {
        assert_eq!(read(url).as_deref(), Ok(want));
    }
    for url in [
        "http://h:99999/v1",
        "http://h:0",
        "http://h:",
        "http://[::1]:70000",
    ] {
        assert!(
            read(url)
                .unwrap_err()
                .contains("base_url: has an invalid port: use 1 to 65535"),
            "{url}"
        );
    }
    for url in [
        "http://h/?key=hunter2",
        "http://h/#hunter2",
        "http://h/hunter2 x",
        "https:///v1",
        "h/v1",
        "",
        "http://",
    ] {
        let error = read(url).unwrap_err();
        assert!(
            error.starts_with("FILE:3: providers.openai.base_url: ") && !error.contains("hunter2"),
            "{error}"
        );
    }
}

#[test]
fn a_secret_shows_nowhere() {
    let text = format!(
        "{OPENAI}api_key_env = \"KEY\"\nheaders = {{ \"x-key\" = \"sk-canary\" }}\n{MODELS}"
    );
    let config = load(&text, &[("KEY", "sk-canary")]).unwrap();
    assert!(!format!("{config:?}").contains("canary"));
    let error = load(&text, &[("KEY", "sk-canary\u{7}")]).unwrap_err();
    assert!(
        error.contains("not allowed in an HTTP header") && !error.contains("canary"),
        "{error}"
    );
    // Pasted where the name of its variable belongs.
    for key in ["sk-canary", "gsk_canary0123", "canary"] {
        let error = load(&format!("{OPENAI}api_key_env = \"{key}\"\n{MODELS}"), &[]).unwrap_err();
        assert!(
            error
                .starts_with("FILE:4: providers.openai.api_key_env: the environment variable that"),
            "{error}"
        );
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn a_redis_is_named_in_one_line_and_its_password_never_shown() {
    for (address, shown, topology) in [
        ("redis://a", "redis://a:6379", Topology::One),
        (
            "rediss://someone@a.example:1/2",
            "rediss://a.example:1",
            Topology::One,
        ),
        ("redis://[::1]:7", "redis://[::1]:7", Topology::One),
        (
            "redis+sentinel://a,b:2/main",
            "redis+sentinel://a:26379,b:2/main",
            Topology::Sentinel {
                service: "main".to_owned(),
            },
        ),
        (
            "rediss+cluster://a,b,c:9",
            "rediss+cluster://a:6379,b:6379,c:9",
            Topology::Cluster,
        ),
    ] {
        let text = format!("[streams]\nstore = \"{address}\"\npassword_env = \"KEY\"");
        let config = load(&text, &[("KEY", "hunter2")]).unwrap();
        let Store::Redis(redis) = &config.streams.store else {
            unreachable!("{address} is in Redis")
        };
        assert_eq!(
            (redis.to_string().as_str(), &redis.topology),
            (shown, &topology)
        );
        assert_eq!(redis.password.as_ref().unwrap().expose_secret(), "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}

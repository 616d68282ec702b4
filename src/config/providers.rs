//! `[providers.NAME]`: the upstreams.

use std::collections::BTreeMap;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use toml::Value;

use super::reader::{Keys, choice, secret, text, wrong};
use super::source::{ConfigError, Source};
use super::{BaseUrl, FinishReasonRule, MOCK, Provider, ProviderName, Secret};

/// Headers that the request sets itself, or that only concern one connection.
const RESERVED_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "accept",
    "accept-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

pub(super) fn provider(
    source: &Source,
    name: &str,
    env: &BTreeMap<String, String>,
    dialects: &[&'static str],
) -> Result<(ProviderName, Provider), ConfigError> {
    let at = format!("providers.{name}");
    let key = |leaf: &str| format!("{at}.{leaf}");
    if name == MOCK {
        return Err(source.error(
            &at,
            "the name `mock` is the embedded model's, which needs no section; choose another",
        ));
    }
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    {
        return Err(source.error(
            &at,
            "a provider's name should be of letters, digits, `-` and `_`",
        ));
    }
    if source.get(&key("dialect")).is_none() {
        return Err(source.error(
            &at,
            "`dialect` is missing, such as dialect = \"openai-chat\"",
        ));
    }
    let provider = Provider {
        dialect: choice(
            source,
            &key("dialect"),
            &dialects
                .iter()
                .map(|name| (*name, *name))
                .collect::<Vec<_>>(),
        )?,
        base_url: base_url(source, &at)?,
        api_key: api_key(source, &at, env)?,
        headers: headers(source, &at)?,
        http2: match source.get(&key("http2")) {
            None => false,
            Some(Value::Boolean(http2)) => *http2,
            Some(other) => return Err(wrong(source, &key("http2"), "true or false", other)),
        },
        finish_reason: choice(
            source,
            &key("finish_reason"),
            &[
                ("required", FinishReasonRule::Required),
                ("optional", FinishReasonRule::Optional),
            ],
        )?,
    };
    Ok((ProviderName(name.to_owned()), provider))
}

fn base_url(source: &Source, at: &str) -> Result<BaseUrl, ConfigError> {
    const WANT: &str = "such as \"https://api.openai.com/v1\"";
    let key = format!("{at}.base_url");
    let Some(text) = text(source, &key)? else {
        return Err(source.error(at, format!("`base_url` is missing, {WANT}")));
    };
    let uri: Uri = text.parse().map_err(|_| {
        source.error(
            &key,
            format!("is not a valid URL; it should be one, {WANT}"),
        )
    })?;
    // What a userinfo holds may be a key: errors don't repeat the address.
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(source.error(
            &key,
            "holds a user or password; keys come by api_key_env or api_key_file",
        ));
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(source.error(
            &key,
            format!("should begin with http:// or https:// and name a host, {WANT}"),
        ));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let port = authority
        .rsplit_once(']')
        .map_or(authority, |(_, after)| after)
        .rsplit_once(':')
        .map(|(_, port)| port);
    if port.is_some_and(|port| port.parse().unwrap_or(0_u16) == 0) {
        return Err(source.error(
            &key,
            "has an invalid port: use 1 to 65535, or leave out the port and its `:`",
        ));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(source.error(&key, format!("should have no `?` and no `#`, {WANT}")));
    }
    Ok(BaseUrl(text.trim_end_matches('/').to_owned()))
}

fn api_key(
    source: &Source,
    at: &str,
    env: &BTreeMap<String, String>,
) -> Result<Option<Secret>, ConfigError> {
    let (env_key, file_key) = (format!("{at}.api_key_env"), format!("{at}.api_key_file"));
    let keys = Keys {
        env: &env_key,
        file: &file_key,
        example: "OPENAI_API_KEY",
    };
    secret(source, env, &keys)
}

fn headers(source: &Source, provider: &str) -> Result<HeaderMap, ConfigError> {
    const WANT: &str = "a table of texts, as in { \"x-title\" = \"tokenrill\" }";
    let key = &format!("{provider}.headers");
    let keyed = ["api_key_env", "api_key_file"]
        .iter()
        .any(|leaf| source.get(&format!("{provider}.{leaf}")).is_some());
    let mut headers = HeaderMap::new();
    let table = match source.get(key) {
        None => return Ok(headers),
        Some(Value::Table(table)) => table,
        Some(_) => return Err(source.error(key, format!("should be {WANT}"))),
    };
    for (name, value) in table {
        let at = format!("{key}.{name}");
        let name: HeaderName = name
            .parse()
            .map_err(|_| source.error(&at, "is not a valid HTTP header name"))?;
        if RESERVED_HEADERS.contains(&name.as_str()) {
            return Err(source.error(&at, "is set by the request itself and can't be another"));
        }
        if name == AUTHORIZATION && keyed {
            return Err(source.error(
                &at,
                "stands beside the provider's key, which is sent in this header; give one",
            ));
        }
        if headers.contains_key(&name) {
            return Err(source.error(&at, "is given twice: header names ignore case"));
        }
        let value = value
            .as_str()
            .ok_or_else(|| source.error(key, format!("should be {WANT}")))?;
        let mut value: HeaderValue = value.parse().map_err(|_| {
            source.error(
                &at,
                "contains characters that are not allowed in an HTTP header",
            )
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

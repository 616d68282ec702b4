//! `[providers.NAME]`: the upstreams.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use toml::{Table, Value};

use super::key::Default::{Required, Said, Value as Is};
use super::key::{Key, Kind};
use super::problems::Problem;
use super::reader::{Reader, wrong};
use super::secret::{SecretKeys, secret};
use super::{BaseUrl, FinishReasonRule, MOCK, Provider, ProviderName};

pub(super) const KEYS: &[Key] = &[
    DIALECT,
    BASE_URL,
    API_KEY_ENV,
    API_KEY_FILE,
    HEADERS,
    FORWARD_HEADERS,
    HTTP2,
    FINISH_REASON,
];

const DIALECT: Key = Key::new(
    "dialect",
    Kind::Text,
    Required,
    "`\"openai-chat\"`, `\"openai-responses\"`, `\"anthropic\"` or `\"gemini\"`: see [dialects.md](dialects.md)",
);
const BASE_URL: Key = Key::new(
    "base_url",
    Kind::Text,
    Required,
    "such as `\"https://api.openai.com/v1\"` or `\"https://api.anthropic.com\"`; the dialect's path is added to it",
);
const API_KEY_ENV: Key = Key::new(
    "api_key_env",
    Kind::Text,
    Said("none"),
    "the variable that holds the key, which is sent in the header that the dialect has for it",
);
const API_KEY_FILE: Key = Key::new(
    "api_key_file",
    Kind::Text,
    Said("none"),
    "or the file that holds it",
);
const HEADERS: Key = Key::new(
    "headers",
    Kind::Texts,
    Said("none"),
    "more headers, `{ \"x-title\" = \"tokenrill\" }`; their values are kept out of logs",
);
const FORWARD_HEADERS: Key = Key::new(
    "forward_headers",
    Kind::List,
    Said("`[]`"),
    "headers of clients that are passed on besides those of the dialect, such as `[\"openai-organization\", \"openai-project\"]`; those that hold a client's keys can't be named",
);
const HTTP2: Key = Key::new(
    "http2",
    Kind::Flag,
    Is("false"),
    "HTTP/2: by agreement over TLS, by prior knowledge over plain HTTP",
);
const FINISH_REASON: Key = Key::new(
    "finish_reason",
    Kind::Word(&["required", "optional"]),
    Is("required"),
    "`\"optional\"` for upstreams that end with `[DONE]` alone and never say why",
);

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

/// Headers of a client that hold its own secrets, or concern it alone.
const CLIENT_HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "x-goog-api-key",
    "user-agent",
];

/// Reads the section of a provider. None if it has no name that can be used, or is not complete.
pub(super) fn provider(
    reader: &mut Reader<'_>,
    name: &str,
    dialects: &[&'static str],
) -> Option<(ProviderName, Provider)> {
    let at = format!("providers.{name}");
    if name == MOCK {
        let problem =
            "the name `mock` is the embedded model's, which needs no section; choose another";
        reader.report(&at, problem);
        return None;
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(is_plain) {
        let problem = "a provider's name should be of letters, digits, `-` and `_`";
        reader.report(&at, problem);
        return None;
    }
    if !matches!(reader.get(&at), Some(Value::Table(_))) {
        return None;
    }
    let reader = &mut reader.within(at);
    let dialect = reader.word_of(&DIALECT, dialects);
    if dialect.is_none() {
        reader.report_missing(&DIALECT, "such as dialect = \"openai-chat\"");
    }
    let base_url = base_url(reader);
    let keys = SecretKeys {
        env: &API_KEY_ENV,
        file: &API_KEY_FILE,
        example: "OPENAI_API_KEY",
    };
    let api_key = secret(reader, &keys);
    let headers = headers(reader);
    let forward_headers = forward_headers(reader);
    let http2 = reader.flag(&HTTP2);
    let finish_reason = match reader.word(&FINISH_REASON) {
        Some("optional") => FinishReasonRule::Optional,
        _ => FinishReasonRule::Required,
    };
    let provider = Provider {
        dialect: dialect?,
        base_url: base_url?,
        api_key,
        headers,
        forward_headers,
        http2,
        finish_reason,
    };
    Some((ProviderName(name.to_owned()), provider))
}

const SUCH_AS: &str = "such as \"https://api.openai.com/v1\"";

fn base_url(reader: &mut Reader<'_>) -> Option<BaseUrl> {
    let Some(text) = reader.text(&BASE_URL) else {
        reader.report_missing(&BASE_URL, SUCH_AS);
        return None;
    };
    let parsed = parse_base_url(reader, &text);
    reader.keep(parsed)
}

fn parse_base_url(reader: &Reader<'_>, text: &str) -> Result<BaseUrl, Problem> {
    let wrong = |problem: &str| reader.problem(&reader.path(&BASE_URL), problem);
    let uri: Uri = text
        .parse()
        .map_err(|_| wrong(&format!("is not a valid URL; it should be one, {SUCH_AS}")))?;
    // What a userinfo holds may be a key: errors don't repeat the address.
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(wrong(
            "holds a user or password; keys come by api_key_env or api_key_file",
        ));
    }
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(wrong(&format!(
            "should begin with http:// or https:// and name a host, {SUCH_AS}"
        )));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let port = authority
        .rsplit_once(']')
        .map_or(authority, |(_, after)| after)
        .rsplit_once(':')
        .map(|(_, port)| port);
    if port.is_some_and(|port| port.parse().unwrap_or(0_u16) == 0) {
        return Err(wrong(
            "has an invalid port: use 1 to 65535, or leave out the port and its `:`",
        ));
    }
    if uri.query().is_some() || text.contains('#') {
        return Err(wrong(&format!("should have no `?` and no `#`, {SUCH_AS}")));
    }
    Ok(BaseUrl(text.trim_end_matches('/').to_owned()))
}

const WANT_HEADERS: &str = "a table of texts, as in { \"x-title\" = \"tokenrill\" }";

fn headers(reader: &mut Reader<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let table = reader.read(&HEADERS, |value| match value {
        Value::Table(table) => Ok(table.clone()),
        _ => Err(format!("should be {WANT_HEADERS}")),
    });
    let table: Table = table.unwrap_or_default();
    for (name, value) in &table {
        let read = header(reader, name, value, &headers);
        if let Some((name, value)) = reader.keep(read) {
            headers.insert(name, value);
        }
    }
    headers
}

fn header(
    reader: &Reader<'_>,
    name: &str,
    value: &Value,
    others: &HeaderMap,
) -> Result<(HeaderName, HeaderValue), Problem> {
    let key = reader.path(&HEADERS);
    let wrong = |problem: &str| reader.problem(&format!("{key}.{name}"), problem);
    let name: HeaderName = name
        .parse()
        .map_err(|_| wrong("is not a valid HTTP header name"))?;
    if RESERVED_HEADERS.contains(&name.as_str()) {
        return Err(wrong("is set by the request itself and can't be another"));
    }
    let is_keyed = [API_KEY_ENV, API_KEY_FILE]
        .iter()
        .any(|key| reader.has_value(&reader.path(key)));
    if name == AUTHORIZATION && is_keyed {
        return Err(wrong(
            "stands beside the provider's key, which is sent in this header; give one",
        ));
    }
    if others.contains_key(&name) {
        return Err(wrong("is given twice: header names ignore case"));
    }
    let text = value
        .as_str()
        .ok_or_else(|| reader.problem(&key, format!("should be {WANT_HEADERS}")))?;
    let mut value: HeaderValue = text
        .parse()
        .map_err(|_| wrong("contains characters that are not allowed in an HTTP header"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn forward_headers(reader: &mut Reader<'_>) -> Vec<HeaderName> {
    let list = reader.read(&FORWARD_HEADERS, |value| {
        const WANT: &str = "a list of header names, as in [\"openai-project\"]";
        let list = value.as_array().ok_or_else(|| wrong(WANT, value))?;
        list.iter().map(forwarded_header).collect::<Result<_, _>>()
    });
    list.unwrap_or_default()
}

fn forwarded_header(value: &Value) -> Result<HeaderName, String> {
    let name = value.as_str().and_then(|name| name.parse().ok());
    let name: HeaderName = name.ok_or_else(|| wrong("made of valid HTTP header names", value))?;
    let is_kept = |list: &[&str]| list.contains(&name.as_str());
    if is_kept(RESERVED_HEADERS) || is_kept(CLIENT_HEADERS) {
        return Err(format!("names `{name}`, which is never passed on"));
    }
    Ok(name)
}

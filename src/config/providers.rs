//! `[providers.NAME]`: the upstreams.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use toml::{Table, Value};

use super::aws;
use super::cloud;
use super::flavors::{FLAVORS, Flavor, Home, vertex_host};
use super::key::Default::{Said, Value as Is};
use super::key::{Key, Kind};
use super::problems::Problem;
use super::reader::{Reader, wrong};
use super::routing;
use super::secret::{SecretKeys, secret, secret_of_variable};
use super::{BaseUrl, FinishReasonRule, MOCK, Provider, ProviderName};

pub(super) const KEYS: &[Key] = &[
    FLAVOR,
    DIALECT,
    BASE_URL,
    API_KEY_ENV,
    API_KEY_FILE,
    HEADERS,
    FORWARD_HEADERS,
    HTTP2,
    FINISH_REASON,
    routing::BREAKER,
    routing::MAX_IN_FLIGHT,
    cloud::REGION,
    aws::PROFILE,
    cloud::PROJECT,
    cloud::API_VERSION,
    cloud::TENANT_ID,
    cloud::CLIENT_ID,
    cloud::CLIENT_SECRET_ENV,
    cloud::CLIENT_SECRET_FILE,
    cloud::CREDENTIALS_FILE,
    cloud::TOKEN_URL,
    UNSUPPORTED_TOOLS,
];

const FLAVOR: Key = Key::new(
    "flavor",
    Kind::Text,
    Said("none"),
    "the kind of place, such as `\"azure\"` or `\"groq\"`, which sets its address, its dialect and the variable of its key: see [providers.md](providers.md)",
);
const DIALECT: Key = Key::new(
    "dialect",
    Kind::Text,
    Said("the flavor's; else it must be given"),
    "`\"openai-chat\"`, `\"openai-responses\"`, `\"anthropic\"` or `\"gemini\"`: see [dialects.md](dialects.md)",
);
const BASE_URL: Key = Key::new(
    "base_url",
    Kind::Text,
    Said("the flavor's; else it must be given"),
    "such as `\"https://api.openai.com/v1\"` or `\"https://api.anthropic.com\"`; the dialect's path is added to it",
);
const API_KEY_ENV: Key = Key::new(
    "api_key_env",
    Kind::Text,
    Said("the flavor's; else none"),
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

const UNSUPPORTED_TOOLS: Key = Key::new(
    "unsupported_tools",
    Kind::Word(&["drop", "refuse"]),
    Is("drop"),
    "tools that another API runs itself, such as its web search: `\"drop\"` asks the model without them, with a warning; `\"refuse\"` is a 400",
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
    "api-key",
    "user-agent",
];

/// Headers that carry a key.
const KEY_HEADERS: &[&str] = &["authorization", "api-key", "x-api-key", "x-goog-api-key"];

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
    let names: Vec<&'static str> = FLAVORS.iter().map(|flavor| flavor.name).collect();
    let flavor_name = reader.word_of(&FLAVOR, &names);
    let flavor = flavor_name.and_then(Flavor::named);
    if flavor.is_none() {
        cloud::refuse_foreign_keys(reader, None);
    }
    let dialect = dialect(reader, flavor, dialects);
    let headers = headers(reader);
    let keys = SecretKeys {
        env: &API_KEY_ENV,
        file: &API_KEY_FILE,
        example: "OPENAI_API_KEY",
    };
    let mut api_key = secret(reader, &keys);
    let is_given = [API_KEY_ENV, API_KEY_FILE]
        .iter()
        .any(|key| reader.has_value(&reader.path(key)))
        || headers
            .keys()
            .any(|name| KEY_HEADERS.contains(&name.as_str()));
    if let (Some(flavor), false) = (flavor, is_given) {
        let mut variables = flavor.keys.iter();
        api_key = variables.find_map(|variable| secret_of_variable(reader, variable));
    }
    let (place, access) = match flavor {
        Some(flavor) => cloud::cloud(reader, flavor, api_key.is_some() || is_given),
        None => Default::default(),
    };
    if let (Some(flavor), None, None) = (flavor, &api_key, &access)
        && flavor.needs_key
        && !is_given
    {
        report_no_key(reader, flavor);
    }
    let home = flavor
        .zip(dialect)
        .and_then(|(flavor, name)| flavor.home(name));
    let base_url = base_url(reader, home, &place);
    let forward_headers = forward_headers(reader);
    let http2 = reader.flag(&HTTP2);
    let breaker = routing::breaker(reader);
    let max_in_flight = reader.number(&routing::MAX_IN_FLIGHT);
    let finish_reason = match reader.word(&FINISH_REASON) {
        Some("optional") => FinishReasonRule::Optional,
        _ => FinishReasonRule::Required,
    };
    let refuses_tools = reader.word(&UNSUPPORTED_TOOLS) == Some("refuse");
    let provider = Provider {
        flavor: flavor.map(|flavor| flavor.name).unwrap_or_default(),
        dialect: dialect?,
        base_url: base_url?,
        api_key,
        access,
        api_version: place.api_version,
        headers,
        forward_headers,
        http2,
        finish_reason,
        breaker,
        max_in_flight,
        refuses_tools,
    };
    Some((ProviderName(name.to_owned()), provider))
}

/// Reads the dialect: one that the flavor speaks, its usual one if none is given.
fn dialect(
    reader: &mut Reader<'_>,
    flavor: Option<&'static Flavor>,
    dialects: &[&'static str],
) -> Option<&'static str> {
    let Some(flavor) = flavor else {
        let dialect = reader.word_of(&DIALECT, dialects);
        if dialect.is_none() && reader.is_sound(&reader.path(&FLAVOR)) {
            reader.report_missing(&DIALECT, "such as dialect = \"openai-chat\"");
        }
        return dialect;
    };
    let spoken: Vec<&'static str> = flavor.homes.iter().map(|home| home.dialect).collect();
    let is_given = reader.has_value(&reader.path(&DIALECT));
    match is_given {
        true => reader.word_of(&DIALECT, &spoken),
        false => spoken.first().copied(),
    }
}

fn report_no_key(reader: &mut Reader<'_>, flavor: &Flavor) {
    let section = reader.section().to_owned();
    let variables = flavor.keys.join(" or ");
    let more = match flavor.name {
        "azure" => "; or give an application of Entra: tenant_id, client_id and its secret",
        name if name.starts_with("bedrock") => {
            "; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give a profile"
        }
        _ => "",
    };
    let problem = format!(
        "there is no key: set {variables}, or name another variable by api_key_env or a file by api_key_file{more}"
    );
    reader.report(&section, problem);
}

const SUCH_AS: &str = "such as \"https://api.openai.com/v1\"";

/// Reads the address, or takes that of the flavor. A flavor's path is added unless it is there
/// already.
fn base_url(reader: &mut Reader<'_>, home: Option<&Home>, place: &cloud::Place) -> Option<BaseUrl> {
    let filled = |text: &str| {
        text.replace("{vertex}", &vertex_host(&place.region))
            .replace("{region}", &place.region)
            .replace("{project}", &place.project)
    };
    let text = match (reader.text(&BASE_URL), home) {
        (Some(text), _) => text,
        (None, Some(home)) if !home.host.is_empty() => filled(home.host),
        (None, home) => {
            let such_as = home.map_or(SUCH_AS, |_| AZURE_SUCH_AS);
            if reader.is_sound(&reader.path(&FLAVOR)) {
                reader.report_missing(&BASE_URL, such_as);
            }
            return None;
        }
    };
    let parsed = parse_base_url(reader, &text);
    let BaseUrl(mut url) = reader.keep(parsed)?;
    if let Some(home) = home {
        let is_dated = place.api_version.as_deref().is_some_and(is_dated);
        let path = match home.path {
            "/openai/v1" if is_dated => "/openai".to_owned(),
            path => filled(path),
        };
        // Whoever gives the address with a part of the path means the same.
        let parts = path
            .match_indices('/')
            .map(|(at, _)| at)
            .chain([path.len()]);
        let has = parts
            .filter(|&at| at > 0 && url.ends_with(&path[..at]))
            .max();
        url.push_str(&path[has.unwrap_or(0)..]);
    }
    Some(BaseUrl(url))
}

const AZURE_SUCH_AS: &str = "such as \"https://my-resource.openai.azure.com\"";

/// Returns whether a version of Azure's API is one of those before v1, which are dates.
fn is_dated(version: &str) -> bool {
    version.starts_with(|c: char| c.is_ascii_digit())
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

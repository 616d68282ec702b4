//! From values to types that can't be wrong.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use secrecy::SecretString;
use toml::Value;

use super::edge;
use super::source::{ConfigError, Source};
use super::streams::streams;
use super::websocket::websocket;
use super::{
    BaseUrl, Config, FinishReasonRule, Log, LogFormat, MOCK, Mock, Model, PromptsDir, Provider,
    ProviderName, Secret, Sse, Target, Timeouts,
};
use base::suggest::did_you_mean;

/// Longer than any request: whoever writes more meant another unit.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Shorter than any clock here is good for.
const SHORTEST: Duration = Duration::from_millis(1);
/// Headers that the request sets itself, or that only concern one connection.
const OURS: &[&str] = &[
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
/// Sizes beyond it are typing errors.
const LARGEST: u64 = 1 << 30;

pub(super) fn config(
    source: &Source,
    env: &BTreeMap<String, String>,
    dialects: &[&'static str],
) -> Result<Config, ConfigError> {
    let timeouts = Timeouts {
        connect: duration(source, "timeouts.connect", 5)?,
        first_token: duration(source, "timeouts.first_token", 60)?,
        between_tokens: duration(source, "timeouts.between_tokens", 30)?,
        total: duration(source, "timeouts.total", 600)?,
        client_stall: duration(source, "timeouts.client_stall", 30)?,
        request_head: duration(source, "timeouts.request_head", 10)?,
        request_body: duration(source, "timeouts.request_body", 30)?,
    };
    let sse = Sse {
        heartbeat: Some(any_duration(source, "sse.heartbeat", 15)?)
            .filter(|every| !every.is_zero()),
        commit_after: any_duration(source, "sse.commit_after", 10)?,
    };
    let providers = source
        .providers()
        .map(|name| provider(source, name, env, dialects))
        .collect::<Result<_, _>>()?;
    let models = models(source, &providers)?;
    if let (Some(name), true) = (providers.keys().next(), models.is_empty()) {
        let key = format!("providers.{name}");
        let add =
            format!("[[models]] with name = \"*\" and targets = [{{ provider = \"{name}\" }}]");
        return Err(source.error(&key, format!("no model leads to it; add {add}")));
    }
    let max_body = size(source, "max_body", 4 << 20)?;
    Ok(Config {
        listen: parsed(
            source,
            "listen",
            "127.0.0.1:8080",
            "an address such as \"127.0.0.1:8080\"",
        )?,
        tls: edge::tls(source)?,
        cors: edge::cors(source)?,
        workers: workers(source)?,
        max_body,
        max_event_bytes: size(source, "max_event_bytes", 1 << 20)?,
        max_response_bytes: size(source, "max_response_bytes", 16 << 20)?,
        drain: any_duration(source, "drain", 30)?,
        prompts: match text(source, "prompts")? {
            Some(path) => PromptsDir {
                path: PathBuf::from(path),
                explicit: true,
            },
            None => PromptsDir {
                path: PathBuf::from("prompts"),
                explicit: false,
            },
        },
        default_model: default_model(source, &models)?,
        log: Log {
            format: choice(
                source,
                "log.format",
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
            )?,
            level: text(source, "log.level")?.unwrap_or("info").to_owned(),
        },
        timeouts,
        sse,
        streams: streams(source, env)?,
        websocket: websocket(source, max_body)?,
        mock: Mock {
            tokens_per_second: pace(source)?,
        },
        providers,
        models,
    })
}

/// The default must be a model. With none configured they are the mock's, which are not known here.
fn default_model(source: &Source, models: &[Model]) -> Result<Option<String>, ConfigError> {
    const KEY: &str = "default_model";
    let Some(name) = text(source, KEY)? else {
        return Ok(None);
    };
    let known: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    if known.is_empty() || known.contains(&"*") || known.contains(&name) {
        return Ok(Some(name.to_owned()));
    }
    Err(source.error(
        KEY,
        format!("there is no model `{name}`{}", among(name, &known)),
    ))
}

/// `; did you mean …? (there are: …)`
fn among(name: &str, known: &[&str]) -> String {
    let hint =
        did_you_mean(name, known).map_or(String::new(), |name| format!("; did you mean `{name}`?"));
    format!("{hint} (there are: {})", known.join(", "))
}

pub(super) fn wrong(source: &Source, key: &str, want: impl Display, found: &Value) -> ConfigError {
    source.error(key, format!("should be {want}, not {}", excerpt(found)))
}

fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 {
        text.chars().take(60).chain(['…']).collect()
    } else {
        text
    }
}

pub(super) fn text<'a>(source: &'a Source, key: &str) -> Result<Option<&'a str>, ConfigError> {
    match source.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
        Some(other) => Err(wrong(source, key, "a text that is not empty", other)),
    }
}

fn parsed<T: std::str::FromStr>(
    source: &Source,
    key: &str,
    default: &str,
    want: &str,
) -> Result<T, ConfigError> {
    let text = text(source, key)?.unwrap_or(default);
    text.parse()
        .map_err(|_| wrong(source, key, want, &Value::from(text)))
}

/// A duration of more than nothing.
pub(super) fn duration(source: &Source, key: &str, seconds: u64) -> Result<Duration, ConfigError> {
    let duration = any_duration(source, key, seconds)?;
    if duration.is_zero() {
        return Err(source.error(key, "should be longer than nothing, such as \"5s\""));
    }
    Ok(duration)
}

pub(super) fn any_duration(
    source: &Source,
    key: &str,
    seconds: u64,
) -> Result<Duration, ConfigError> {
    const WANT: &str = "a duration such as \"500ms\", \"15s\" or \"10m\"";
    let duration = match source.get(key) {
        None => Duration::from_secs(seconds),
        Some(Value::String(text)) => {
            let duration = humantime::parse_duration(text);
            duration.map_err(|_| wrong(source, key, WANT, &Value::from(text.as_str())))?
        }
        Some(other) => return Err(wrong(source, key, WANT, other)),
    };
    if !duration.is_zero() && duration < SHORTEST {
        return Err(source.error(key, "should be at least \"1ms\""));
    }
    if duration > LONGEST {
        return Err(source.error(key, "should be at most a week"));
    }
    Ok(duration)
}

pub(super) fn size(source: &Source, key: &str, default: usize) -> Result<usize, ConfigError> {
    const WANT: &str = "a size from 1KiB to 1GiB, such as \"4MiB\"";
    let bytes = match source.get(key) {
        None => return Ok(default),
        Some(Value::String(text)) => text.parse::<ByteSize>().ok().map(|size| size.as_u64()),
        Some(_) => None,
    };
    let bytes = bytes
        .filter(|bytes| (1024..=LARGEST).contains(bytes))
        .and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| {
        wrong(
            source,
            key,
            WANT,
            source.get(key).unwrap_or(&Value::Boolean(false)),
        )
    })
}

fn workers(source: &Source) -> Result<NonZeroUsize, ConfigError> {
    count(
        source,
        "workers",
        std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        1024,
    )
}

/// A whole number of at least one.
pub(super) fn count(
    source: &Source,
    key: &str,
    default: usize,
    most: usize,
) -> Result<NonZeroUsize, ConfigError> {
    let Some(value) = source.get(key) else {
        return Ok(NonZeroUsize::new(default).unwrap_or(NonZeroUsize::MIN));
    };
    let number = value
        .as_integer()
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| *n <= most);
    number.and_then(NonZeroUsize::new).ok_or_else(|| {
        wrong(
            source,
            key,
            format!("a whole number from 1 to {most}"),
            value,
        )
    })
}

fn pace(source: &Source) -> Result<u32, ConfigError> {
    const KEY: &str = "mock.tokens_per_second";
    match source.get(KEY) {
        None => Ok(50),
        Some(value) => {
            let number = value
                .as_integer()
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n <= 1_000_000);
            number.ok_or_else(|| {
                wrong(
                    source,
                    KEY,
                    "a whole number from 0 (no delay) to 1000000",
                    value,
                )
            })
        }
    }
}

/// One of some words; the first is the default.
pub(super) fn choice<T: Copy>(
    source: &Source,
    key: &str,
    choices: &[(&str, T)],
) -> Result<T, ConfigError> {
    let found = text(source, key)?;
    let chosen = choices
        .iter()
        .find(|(name, _)| found.is_none_or(|found| found == *name));
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let hint = did_you_mean(found.unwrap_or_default(), &names)
            .map_or(String::new(), |n| format!("; did you mean `{n}`?"));
        source.error(
            key,
            format!(
                "should be one of {}, not `{}`{hint}",
                names.join(", "),
                found.unwrap_or_default()
            ),
        )
    })
}

fn provider(
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

/// The two keys that name where a secret is.
pub(super) struct Keys<'a> {
    pub(super) env: &'a str,
    pub(super) file: &'a str,
    /// Returns whether a text looks like the name of a variable.
    pub(super) example: &'a str,
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

pub(super) fn secret(
    source: &Source,
    env: &BTreeMap<String, String>,
    keys: &Keys<'_>,
) -> Result<Option<Secret>, ConfigError> {
    let (key, secret, whence) = match (text(source, keys.env)?, text(source, keys.file)?) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let other = keys.env.rsplit('.').next().unwrap_or_default();
            return Err(source.error(
                keys.file,
                format!("stands beside {other}; give one of the two"),
            ));
        }
        (Some(variable), None) => {
            let Some(secret) = env.get(variable) else {
                // Who pastes the key itself here should not find it in a log.
                let telling = variable.len() <= 64
                    && variable.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
                    && variable
                        .chars()
                        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
                return Err(source.error(
                    keys.env,
                    if telling {
                        format!("the environment variable {variable} is not set")
                    } else {
                        format!(
                            "the environment variable that it names is not set; it should be a name, such as \"{}\", \
                             and not the key itself",
                            keys.example
                        )
                    },
                ));
            };
            (
                keys.env,
                secret.clone(),
                format!("the environment variable {variable}"),
            )
        }
        (None, Some(file)) => {
            let secret = std::fs::read_to_string(file).map_err(|error| {
                source.error(
                    keys.file,
                    format!("can't read the key file {file}: {error}"),
                )
            })?;
            (keys.file, secret, format!("the key file {file}"))
        }
    };
    let secret = secret.trim();
    if secret.is_empty() {
        return Err(source.error(key, format!("{whence} is empty")));
    }
    if HeaderValue::from_str(secret).is_err() {
        return Err(source.error(
            key,
            format!("{whence} contains characters that are not allowed in an HTTP header"),
        ));
    }
    Ok(Some(Secret(SecretString::from(secret))))
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
        if OURS.contains(&name.as_str()) {
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

fn models(
    source: &Source,
    providers: &BTreeMap<ProviderName, Provider>,
) -> Result<Vec<Model>, ConfigError> {
    let list = match source.get("models") {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(source.error("models", "should be a list, as in [[models]]")),
    };
    let mut models: Vec<Model> = Vec::new();
    for at in 0..list.len() {
        let key = format!("models.{at}");
        let name_key = format!("{key}.name");
        let Some(name) = text(source, &name_key)? else {
            return Err(source.error(
                &key,
                "`name` is missing, such as name = \"fast\" or name = \"*\"",
            ));
        };
        if models.iter().any(|model| model.name == name) {
            return Err(source.error(&name_key, format!("there is a model `{name}` already")));
        }
        let target = target(source, &key, name, providers)?;
        models.push(Model {
            name: name.to_owned(),
            target,
        });
    }
    Ok(models)
}

fn target(
    source: &Source,
    model: &str,
    name: &str,
    providers: &BTreeMap<ProviderName, Provider>,
) -> Result<Target, ConfigError> {
    let key = format!("{model}.targets");
    match source.get(&key) {
        Some(Value::Array(targets)) if targets.len() == 1 => {}
        Some(Value::Array(targets)) if targets.len() > 1 => {
            return Err(source.error(&key, "one target per model for now; leave only the first"));
        }
        Some(other) if !other.as_array().is_some_and(Vec::is_empty) => {
            return Err(source.error(&key, "should be a list, as in [{ provider = \"openai\" }]"));
        }
        _ => {
            return Err(source.error(
                model,
                "`targets` is missing, as in targets = [{ provider = \"openai\" }]",
            ));
        }
    }
    let provider_key = format!("{key}.0.provider");
    let Some(provider) = text(source, &provider_key)? else {
        return Err(source.error(
            &key,
            "the target names no provider, as in [{ provider = \"openai\" }]",
        ));
    };
    let provider = ProviderName(provider.to_owned());
    if provider.as_str() != MOCK && !providers.contains_key(&provider) {
        let mut known: Vec<&str> = providers.keys().map(ProviderName::as_str).collect();
        known.push(MOCK);
        let among = among(provider.as_str(), &known);
        return Err(source.error(
            &provider_key,
            format!("there is no provider `{provider}`{among}"),
        ));
    }
    let upstream = text(source, &format!("{key}.0.model"))?;
    if name == "*" && upstream.is_some() {
        return Err(source.error(
            &format!("{key}.0.model"),
            "the model `*` passes every name on as it is; leave this out",
        ));
    }
    Ok(Target {
        provider,
        model: upstream.map(str::to_owned),
    })
}

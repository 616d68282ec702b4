//! TLS towards clients, and the web pages that may read answers.

use std::path::PathBuf;

use http::{HeaderValue, Uri};
use toml::Value;

use super::reader::{text, wrong};
use super::source::{ConfigError, Source};
use super::{Cors, Tls};

pub(super) fn tls(source: &Source) -> Result<Option<Tls>, ConfigError> {
    let lone = |given: &str, missing: &str, what: &str| {
        source.error(
            given,
            format!("stands alone; {missing} should name the file of {what}"),
        )
    };
    match (text(source, "tls.cert")?, text(source, "tls.key")?) {
        (Some(cert), Some(key)) => Ok(Some(Tls {
            cert: PathBuf::from(cert),
            key: PathBuf::from(key),
        })),
        (Some(_), None) => Err(lone("tls.cert", "tls.key", "its private key")),
        (None, Some(_)) => Err(lone("tls.key", "tls.cert", "its certificate")),
        (None, None) => Ok(None),
    }
}

pub(super) fn cors(source: &Source) -> Result<Cors, ConfigError> {
    const KEY: &str = "cors.origins";
    const WANT: &str = "a list of origins, as in [\"https://app.example\"], or [\"*\"]";
    let list = match source.get(KEY) {
        None => return Ok(Cors::None),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong(source, KEY, WANT, other)),
    };
    if list.iter().any(|origin| origin.as_str() == Some("*")) {
        return match list.as_slice() {
            [_] => Ok(Cors::Any),
            _ => Err(source.error(KEY, "`*` is every origin: it should stand alone")),
        };
    }
    let origins = list.iter().enumerate().map(|(at, origin)| {
        let value = origin.as_str().and_then(self::origin);
        value.ok_or_else(|| {
            let want = "an origin as browsers send it: scheme, host in small letters, and the port if it is not the \
                        scheme's own, such as \"https://app.example\"";
            wrong(source, &format!("{KEY}.{at}"), want, origin)
        })
    });
    let origins = origins.collect::<Result<Vec<_>, _>>()?;
    Ok(if origins.is_empty() {
        Cors::None
    } else {
        Cors::These(origins)
    })
}

/// An origin in the only spelling that browsers have for it: another would never match.
fn origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let port = uri.port().map_or("", |port| {
        &authority[authority.len() - port.as_str().len() - 1..]
    });
    let plain = text == format!("{scheme}://{authority}")
        && !text.contains(|c: char| c.is_ascii_uppercase() || c == '*')
        && !authority.contains('@')
        && !authority.ends_with(':')
        && uri.host().is_some_and(|host| !host.is_empty())
        && (port.is_empty() || port != default);
    HeaderValue::from_str(text).ok().filter(|_| plain)
}

//! TLS towards clients, and the web pages that may read answers.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use http::{HeaderValue, Uri};
use toml::Value;

use super::key::Default::{Said, Value as Given};
use super::key::{Key, Kind};
use super::reader::{Reader, wrong};
use super::{Cors, Tls};

pub(super) const KEYS: &[Key] = &[CERT, KEY, ORIGINS, HOSTS, MAX_CONNECTIONS, REUSE_PORT];

const CERT: Key = Key::new(
    "tls.cert",
    Kind::Text,
    Said("none"),
    "the PEM file of the certificate with its chain; another content is shown to the next connection. With it clients are spoken to over TLS alone",
);
const KEY: Key = Key::new(
    "tls.key",
    Kind::Text,
    Said("none"),
    "the PEM file of its private key",
);
const ORIGINS: Key = Key::new(
    "cors.origins",
    Kind::List,
    Said("`[]`"),
    "web pages of other origins that may read answers and open [sockets](websocket.md): `[\"https://app.example\"]`, with their cookies; or `[\"*\"]`, all, without",
);

const HOSTS: Key = Key::new(
    "hosts",
    Kind::List,
    Said("`[]`"),
    "the names by which clients may call this server: `[\"api.example\"]`. Any, if none are listed and `listen` is not a loopback address; addresses and names without a dot always",
);
const MAX_CONNECTIONS: Key = Key::new(
    "max_connections",
    Kind::Number(1, 1_000_000),
    Said("what the process may open, less room for upstreams"),
    "connections of clients. For one more the one that has been idle for longest is closed; if none is idle it is answered 503",
);

const REUSE_PORT: Key = Key::new(
    "reuse_port",
    Kind::Flag,
    Given("false"),
    "another process that says the same may listen on the same address, so that a successor serves before this one ends",
);

pub(super) fn hosts(reader: &mut Reader<'_>) -> Vec<String> {
    let list = reader.read(&HOSTS, |value| {
        const WANT: &str = "a list of names, as in [\"api.example\"]";
        let list = value.as_array().ok_or_else(|| wrong(WANT, value))?;
        let names = list.iter().map(|name| {
            let name = name
                .as_str()
                .filter(|name| !name.is_empty() && !name.contains(['/', ':', '*', ' ']));
            name.map(str::to_owned).ok_or_else(|| wrong(WANT, value))
        });
        names.collect::<Result<Vec<String>, String>>()
    });
    list.unwrap_or_default()
}

pub(super) fn max_connections(reader: &mut Reader<'_>) -> Option<NonZeroUsize> {
    reader.count(&MAX_CONNECTIONS)
}

pub(super) fn reuse_port(reader: &mut Reader<'_>) -> bool {
    reader.flag(&REUSE_PORT)
}

pub(super) fn tls(reader: &mut Reader<'_>) -> Option<Tls> {
    let (given, missing, holds) = match (reader.text(&CERT), reader.text(&KEY)) {
        (Some(cert), Some(key)) => {
            return Some(Tls {
                cert: PathBuf::from(cert),
                key: PathBuf::from(key),
            });
        }
        (Some(_), None) => (&CERT, &KEY, "its private key"),
        (None, Some(_)) => (&KEY, &CERT, "its certificate"),
        (None, None) => return None,
    };
    if reader.is_sound(missing.path) {
        let problem = format!(
            "stands alone; {} should name the file of {holds}",
            missing.path
        );
        reader.report(given.path, problem);
    }
    None
}

pub(super) fn cors(reader: &mut Reader<'_>) -> Cors {
    let list = reader.read(&ORIGINS, |value| {
        const WANT: &str = "a list of origins, as in [\"https://app.example\"], or [\"*\"]";
        let list = value.as_array().ok_or_else(|| wrong(WANT, value))?;
        if list.len() > 1 && list.iter().any(|origin| origin.as_str() == Some("*")) {
            return Err("`*` is every origin: it should stand alone".to_owned());
        }
        Ok(list.clone())
    });
    let list: Vec<Value> = list.unwrap_or_default();
    if list.first().and_then(Value::as_str) == Some("*") {
        return Cors::Any;
    }
    let mut origins = Vec::new();
    for (at, value) in list.iter().enumerate() {
        const WANT: &str = "an origin as browsers send it: scheme, host in small letters, and the port if it is not \
                            the scheme's own, such as \"https://app.example\"";
        match value.as_str().and_then(origin) {
            Some(origin) => origins.push(origin),
            None => reader.report(&format!("{}.{at}", ORIGINS.path), wrong(WANT, value)),
        }
    }
    if origins.is_empty() {
        Cors::None
    } else {
        Cors::These(origins)
    }
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

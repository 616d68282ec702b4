//! `streams.store`: where streams are kept.

use super::Store;
use super::key::Default::{Said, Value};
use super::key::{Key, Kind};
use super::problems::Problem;
use super::reader::Reader;
use super::secret::{SecretKeys, secret};
use ::store::redis::{RedisAddress, Topology};

pub(super) const STORE: Key = Key::new(
    "streams.store",
    Kind::Text,
    Value("memory"),
    "where streams are kept: `\"redis://user@host:6379/0\"`, `\"rediss://…\"` over TLS, `\"redis+sentinel://host:26379,host:26379/service\"`, `\"redis+cluster://host:6379,host:6379\"` (`rediss+…` likewise): see [scaling.md](scaling.md)",
);
pub(super) const PASSWORD_ENV: Key = Key::new(
    "streams.password_env",
    Kind::Text,
    Said("none"),
    "the variable that holds the store's password",
);
pub(super) const PASSWORD_FILE: Key = Key::new(
    "streams.password_file",
    Kind::Text,
    Said("none"),
    "or the file that holds it",
);
pub(super) const KEY_PREFIX: Key = Key::new(
    "streams.key_prefix",
    Kind::Text,
    Value("tokenrill:"),
    "what all keys in the store begin with",
);

const WANT: &str = "should be \"memory\", or an address such as \"redis://host:6379\", \"rediss://host\", \
                    \"redis+sentinel://host:26379,host:26379/service\" or \"redis+cluster://host:6379,host:6379\"";
const DATABASES: i64 = 1 << 20;

pub(super) fn store(reader: &mut Reader<'_>) -> Store {
    let keys = SecretKeys {
        env: &PASSWORD_ENV,
        file: &PASSWORD_FILE,
        example: "REDIS_PASSWORD",
    };
    let password = secret(reader, &keys);
    let key_prefix = reader.text(&KEY_PREFIX).unwrap_or_default();
    let address = reader.text(&STORE).filter(|address| address != "memory");
    let Some(address) = address else {
        return Store::Memory;
    };
    let parsed = parse_address(reader, &address);
    let Some(address) = reader.keep(parsed) else {
        return Store::Memory;
    };
    Store::Redis(RedisAddress {
        password: password.map(|secret| secret.0),
        key_prefix,
        ..address
    })
}

/// Parses an address, without the password.
fn parse_address(reader: &Reader<'_>, address: &str) -> Result<RedisAddress, Problem> {
    // What a userinfo holds may be a password: errors don't repeat the address.
    let wrong = |what: &str| reader.problem(STORE.path, what);
    let (scheme, rest) = address.split_once("://").ok_or_else(|| wrong(WANT))?;
    let (tls, kind) = match scheme.strip_prefix("rediss").map(|kind| (true, kind)) {
        Some(found) => found,
        None => (
            false,
            scheme.strip_prefix("redis").ok_or_else(|| wrong(WANT))?,
        ),
    };
    let (user, rest) = rest
        .rsplit_once('@')
        .map_or((None, rest), |(user, rest)| (Some(user), rest));
    if user.is_some_and(|user| user.contains(':')) {
        return Err(wrong(
            "holds a password; it comes by streams.password_env or streams.password_file",
        ));
    }
    let (nodes, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (topology, port, database) = topology(kind, path).map_err(wrong)?;
    let nodes = nodes
        .split(',')
        .map(|node| host_and_port(node, port))
        .collect::<Option<Vec<_>>>();
    let nodes = nodes
        .ok_or_else(|| wrong("should name hosts, each with a port from 1 to 65535 or none"))?;
    if topology == Topology::One && nodes.len() > 1 {
        return Err(wrong(
            "names several hosts; that is redis+sentinel:// or redis+cluster://",
        ));
    }
    Ok(RedisAddress {
        tls,
        topology,
        nodes,
        database,
        username: user.filter(|user| !user.is_empty()).map(str::to_owned),
        password: None,
        key_prefix: String::new(),
    })
}

/// Parses the arrangement of servers, their default port and the database.
fn topology(kind: &str, path: &str) -> Result<(Topology, u16, i64), &'static str> {
    let (topology, port, database) = match kind {
        "" => (Topology::One, 6379, path),
        "+cluster" => (Topology::Cluster, 6379, path),
        "+sentinel" => {
            let (service, database) = path.split_once('/').unwrap_or((path, ""));
            if service.is_empty() {
                return Err("names no service, as in \"redis+sentinel://host:26379/service\"");
            }
            (
                Topology::Sentinel {
                    service: service.to_owned(),
                },
                26379,
                database,
            )
        }
        _ => return Err(WANT),
    };
    let database = match database {
        "" => 0,
        number => number
            .parse()
            .ok()
            .filter(|number| (0..DATABASES).contains(number))
            .ok_or("has a path that is not a database number")?,
    };
    if topology == Topology::Cluster && database != 0 {
        return Err("names a database; a cluster has only one");
    }
    Ok((topology, port, database))
}

fn host_and_port(node: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match node.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().ok().filter(|port| *port != 0)?)
        }
        _ => (node, default),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let fine = !bare.is_empty()
        && bare
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'));
    fine.then(|| (bare.to_owned(), port))
}

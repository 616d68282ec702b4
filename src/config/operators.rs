//! `[metrics]` and `[admin]`: what operators see, and where.

use std::net::SocketAddr;

use super::key::Default::{Said, Value};
use super::key::{Key, Kind};
use super::reader::Reader;

/// The settings of what operators see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operators {
    /// Set if there are metrics.
    pub metrics: bool,
    /// The address for operators alone.
    pub listen: Option<SocketAddr>,
}

pub(super) const KEYS: &[Key] = &[METRICS, LISTEN];

const METRICS: Key = Key::new(
    "metrics.enabled",
    Kind::Flag,
    Value("false"),
    "metrics for Prometheus at `/metrics`: see [metrics.md](metrics.md)",
);
const LISTEN: Key = Key::new(
    "admin.listen",
    Kind::Address,
    Said(
        "none: what is for operators is where clients are, for keys with the role `viewer` or `admin`; without keys on a loopback address",
    ),
    "the address for operators alone, who need no key there, such as `\"127.0.0.1:9090\"`: `/metrics`, `/admin/v1/…`, `/healthz` and `/readyz`, without TLS",
);

/// Metrics need a place that not everybody reaches, or keys.
pub(super) fn operators(reader: &mut Reader<'_>, listen: SocketAddr) -> Operators {
    let operators = Operators {
        metrics: reader.flag(&METRICS),
        listen: reader.parsed(&LISTEN, "an address such as \"127.0.0.1:9090\""),
    };
    let is_hidden = operators.metrics
        && operators.listen.is_none()
        && !listen.ip().is_loopback()
        && !reader.has_value("auth.keys_file");
    if is_hidden && reader.is_sound(LISTEN.path) {
        let problem = format!(
            "has no place: `listen` is not a loopback address, so {} should name one for operators, or auth.keys_file the keys of clients",
            LISTEN.path
        );
        reader.report(METRICS.path, problem);
    }
    operators
}

//! Looks up the names of upstreams, without a thread: `getaddrinfo` holds one for as long as a name
//! server keeps silent.
//!
//! Names and name servers are those of the system: `/etc/hosts`, then `/etc/resolv.conf`. Answers
//! are cached by their time to live, by hickory-resolver.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::{BoxFuture, Either, FutureExt, Shared, WeakShared, select};
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{IntoName, RecordType};
use hickory_resolver::{Hosts, TokioResolver};

/// The files that say how names are looked up.
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
/// Pause between two looks at whether those files have changed.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// Time that IPv6 addresses have to arrive once there are IPv4 addresses (RFC 8305, section 3).
const IPV6_GRACE: Duration = Duration::from_millis(50);
/// The same for IPv4 addresses, which far more hosts can reach.
const IPV4_GRACE: Duration = Duration::from_millis(500);
/// Attempts at a lookup within the time for connecting.
const MIN_ATTEMPTS: u32 = 2;

/// The addresses of a name, or the reason that there are none. Shared by all who wait for it.
pub(super) type LookupResult = Result<Arc<[IpAddr]>, LookupError>;

type Flight = Shared<BoxFuture<'static, LookupResult>>;

/// The reason that a name has no addresses.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum LookupError {
    /// No name server answered in time.
    #[error("no name server answered in time")]
    Timeout,
    /// The name servers know of no address.
    #[error("the name has no address")]
    NoAddress(#[source] NetError),
    /// The name servers failed, or can't be reached.
    #[error("the name can't be looked up")]
    Failed(#[source] NetError),
}

/// Looks up names, each at most once at a time. Clones share answers and lookups.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Mutex<ResolverState>>,
    /// The time for connecting, of which a lookup is a part.
    timeout: Duration,
}

struct ResolverState {
    system: SystemNames,
    checked_at: Instant,
    /// The lookups under way. Whoever waits for one drives it, so one that nobody waits for ends.
    flights: HashMap<String, WeakShared<BoxFuture<'static, LookupResult>>>,
}

/// The system's names and name servers, as they were when read.
#[derive(Clone)]
struct SystemNames {
    dns: Result<Arc<TokioResolver>, NetError>,
    hosts: Arc<Hosts>,
    files: [Option<SystemTime>; 2],
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    /// Reads the system's configuration. `timeout` is the whole time for connecting.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let state = ResolverState {
            system: SystemNames::read(timeout),
            checked_at: Instant::now(),
            flights: HashMap::new(),
        };
        Self {
            shared: Arc::new(Mutex::new(state)),
            timeout,
        }
    }

    /// Looks up a host: a name, or an address, which is its own answer.
    pub(super) async fn lookup(&self, host: &str) -> LookupResult {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse::<IpAddr>() {
            return Ok([address].into());
        }
        let name = host.to_ascii_lowercase();
        if is_localhost(&name) {
            let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            return Ok(loopback.into());
        }
        self.flight(&name).await
    }

    /// Returns the lookup of a name: the one under way, or a new one.
    fn flight(&self, name: &str) -> Flight {
        let mut state = self.lock();
        if state.checked_at.elapsed() >= RELOAD_INTERVAL {
            state.checked_at = Instant::now();
            if state.system.files != modification_times() {
                state.system = SystemNames::read(self.timeout);
            }
        }
        let under_way = state.flights.get(name).and_then(WeakShared::upgrade);
        if let Some(flight) = under_way.filter(|flight| flight.peek().is_none()) {
            return flight;
        }
        let flight = lookup_name(state.system.clone(), name.to_owned())
            .boxed()
            .shared();
        // As many entries as the configuration has names; those of ended lookups are dropped.
        state.flights.retain(|_, flight| flight.upgrade().is_some());
        if let Some(weak) = flight.downgrade() {
            state.flights.insert(name.to_owned(), weak);
        }
        flight
    }

    fn lock(&self) -> MutexGuard<'_, ResolverState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SystemNames {
    fn read(timeout: Duration) -> Self {
        let files = modification_times();
        let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|error| {
            tracing::warn!(%error, "can't read /etc/resolv.conf; names are asked of 127.0.0.1");
            // As the system's own resolver does.
            let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            TokioResolver::builder_with_config(
                ResolverConfig::from_parts(None, Vec::new(), vec![local]),
                TokioRuntimeProvider::default(),
            )
        });
        let options = builder.options_mut();
        // Two rounds fit into the time for connecting: the second one asks other servers first.
        options.timeout = options.timeout.min(timeout / MIN_ATTEMPTS);
        options.attempts = options.attempts.max(MIN_ATTEMPTS as usize);
        // Looked into by ourselves: a name in there is not asked of a name server at all.
        options.use_hosts_file = ResolveHosts::Never;
        Self {
            dns: builder.build().map(Arc::new),
            hosts: Arc::new(Hosts::from_system().unwrap_or_default()),
            files,
        }
    }
}

/// Tells if a name means this host (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

fn modification_times() -> [Option<SystemTime>; 2] {
    SYSTEM_FILES.map(|file| {
        std::fs::metadata(file)
            .and_then(|file| file.modified())
            .ok()
    })
}

/// Looks up a name: in the system's file, or else both kinds of addresses at its name servers.
async fn lookup_name(system: SystemNames, name: String) -> LookupResult {
    let from_file = addresses_in_file(&system.hosts, &name);
    if !from_file.is_empty() {
        return Ok(from_file.into());
    }
    let dns = system.dns.map_err(LookupError::Failed)?;
    let ipv4 = Box::pin(dns.ipv4_lookup(name.as_str()));
    let ipv6 = Box::pin(dns.ipv6_lookup(name.as_str()));
    let (ipv6, ipv4) = match select(ipv4, ipv6).await {
        Either::Left((first, rest)) => {
            let ipv6 = within(IPV6_GRACE, &first, rest).await;
            (ipv6, Some(first))
        }
        Either::Right((first, rest)) => {
            let ipv4 = within(IPV4_GRACE, &first, rest).await;
            (Some(first), ipv4)
        }
    };
    let mut addresses = Vec::new();
    let mut failure = None;
    for result in [ipv6, ipv4].into_iter().flatten() {
        match result {
            Ok(lookup) => addresses.extend(ip_addresses(&lookup)),
            Err(error) => failure = Some(worse(failure, error)),
        }
    }
    match failure {
        _ if !addresses.is_empty() => Ok(addresses.into()),
        Some(error) => Err(classify(error)),
        None => Err(LookupError::NoAddress(NetError::Message("no records"))),
    }
}

/// Awaits the other kind of addresses: for a while if there are some already, or no such name at
/// all, else to the end.
async fn within(
    grace: Duration,
    first: &Result<Lookup, NetError>,
    rest: impl Future<Output = Result<Lookup, NetError>>,
) -> Option<Result<Lookup, NetError>> {
    let is_enough = match first {
        Ok(lookup) => ip_addresses(lookup).next().is_some(),
        Err(error) => error.is_nx_domain(),
    };
    if is_enough {
        tokio::time::timeout(grace, rest).await.ok()
    } else {
        Some(rest.await)
    }
}

/// Returns the error that says more: that a server failed rather than that it has no record.
fn worse(earlier: Option<NetError>, later: NetError) -> NetError {
    match earlier {
        Some(earlier) if !earlier.is_no_records_found() => earlier,
        _ => later,
    }
}

fn classify(error: NetError) -> LookupError {
    match error {
        NetError::Timeout => LookupError::Timeout,
        error if error.is_no_records_found() => LookupError::NoAddress(error),
        error => LookupError::Failed(error),
    }
}

fn addresses_in_file(hosts: &Hosts, name: &str) -> Vec<IpAddr> {
    let Ok(name) = name.into_name() else {
        return Vec::new();
    };
    [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(|lookup| ip_addresses(&lookup).collect::<Vec<_>>())
        .collect()
}

fn ip_addresses(lookup: &Lookup) -> impl Iterator<Item = IpAddr> {
    lookup
        .answers()
        .iter()
        .filter_map(|record| record.data.ip_addr())
}

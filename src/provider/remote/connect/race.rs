//! Tries the addresses of an upstream as Happy Eyeballs does (RFC 8305): one after the other, each
//! begun before the earlier ones have failed, so that one that is dead costs a moment and not the
//! time for connecting.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::error::ConnectError;

/// Pause before the next address is tried beside one that has not answered yet.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Returns addresses in the order in which they are tried: the one that answered last, then the
/// families in turn, beginning with that of the first one.
pub(super) fn in_order(addresses: &[IpAddr], preferred: Option<IpAddr>) -> Vec<IpAddr> {
    let preferred = preferred.filter(|address| addresses.contains(address));
    let rest = || {
        addresses
            .iter()
            .copied()
            .filter(|at| Some(*at) != preferred)
    };
    let mut ordered: Vec<_> = preferred.into_iter().collect();
    let of_family = |ipv6| rest().filter(move |address| address.is_ipv6() == ipv6);
    let first = rest().next().is_some_and(|address| address.is_ipv6());
    let (mut same, mut other) = (of_family(first), of_family(!first));
    loop {
        let pair = [same.next(), other.next()];
        if pair == [None, None] {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

/// Opens a connection to one of the addresses, by `open` and then `secure`. The first one that
/// succeeds in both wins; the others are dropped.
pub(super) async fn connect<T, S, O, P>(
    addresses: Vec<SocketAddr>,
    deadline: Instant,
    open: impl Fn(SocketAddr) -> O,
    secure: impl Fn(T, SocketAddr) -> P,
) -> Result<(S, SocketAddr), ConnectError>
where
    O: Future<Output = Result<T, ConnectError>>,
    P: Future<Output = Result<S, ConnectError>>,
{
    let mut waiting = addresses.into_iter();
    let (mut opening, mut securing) = (FuturesUnordered::new(), FuturesUnordered::new());
    let mut pending = Vec::new();
    let mut failed: Option<ConnectError> = None;
    let mut next_at = Instant::now();
    loop {
        if opening.is_empty() && securing.is_empty() && waiting.len() == 0 {
            return Err(failed.unwrap_or_else(ConnectError::of_no_address));
        }
        let (address, failure) = tokio::select! {
            biased;
            Some((address, result)) = securing.next() => match result {
                Ok(secured) => return Ok((secured, address)),
                Err(failure) => (address, failure),
            },
            Some((address, result)) = opening.next() => match result {
                Ok(opened) => {
                    pending.retain(|(at, _)| *at != address);
                    pending.push((address, true));
                    let result = secure(opened, address);
                    securing.push(async move { (address, result.await) });
                    // A handshake takes longer than a connection: it gets its share of the time.
                    next_at = Instant::now() + share(deadline, waiting.len());
                    continue;
                }
                Err(failure) => (address, failure),
            },
            () = sleep_until(next_at), if waiting.len() > 0 => {
                if let Some(address) = waiting.next() {
                    pending.push((address, false));
                    let result = open(address);
                    opening.push(async move { (address, result.await) });
                    let delay = share(deadline, waiting.len()).min(ATTEMPT_DELAY);
                    next_at = Instant::now() + delay;
                }
                continue;
            }
            () = sleep_until(deadline) => return Err(ConnectError::of_silence(&pending, failed)),
        };
        pending.retain(|(at, _)| *at != address);
        failed = Some(match failed {
            Some(earlier) => earlier.and(failure),
            None => failure,
        });
        next_at = Instant::now();
    }
}

/// Returns the part of the remaining time that one of the remaining addresses has.
fn share(deadline: Instant, others: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left / u32::try_from(others + 1).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::future::pending;
    use std::io;

    use super::*;
    use crate::provider::remote::connect::ConnectStep;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 1))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(2)
    }

    /// Connects to addresses whose last part says what they do: 1 never answers, 2 refuses, 3 never
    /// finishes its handshake, 4 fails in it, 9 is well.
    async fn connect_to(addresses: &[u8]) -> Result<u8, ConnectError> {
        let addresses = addresses.iter().copied().map(address).collect();
        let open = |to: SocketAddr| async move {
            match to {
                to if to == address(1) => pending().await,
                to if to == address(2) => Err(ConnectError::of_tcp(
                    to,
                    io::ErrorKind::ConnectionRefused.into(),
                )),
                _ => Ok(()),
            }
        };
        let secure = |(), to: SocketAddr| async move {
            match to {
                to if to == address(3) => pending().await,
                to if to == address(4) => Err(ConnectError::of_tls(
                    to,
                    io::ErrorKind::UnexpectedEof.into(),
                )),
                _ => Ok(9),
            }
        };
        connect(addresses, soon(), open, secure)
            .await
            .map(|(socket, _)| socket)
    }

    #[tokio::test]
    async fn one_address_that_is_well_suffices() {
        for addresses in [
            &[9][..],
            &[1, 9],
            &[2, 9],
            &[3, 9],
            &[4, 9],
            &[1, 2, 3, 4, 9],
            &[1, 1, 1, 1, 1, 1, 1, 1, 1, 9],
        ] {
            assert_eq!(connect_to(addresses).await.unwrap(), 9, "{addresses:?}");
        }
    }

    #[tokio::test]
    async fn the_failure_is_that_of_the_address_that_got_furthest() {
        for (addresses, step, told) in [
            (&[2][..], ConnectStep::Open, "127.0.0.2:1"),
            (
                &[2, 1],
                ConnectStep::InTime,
                "127.0.0.1:1 did not answer; connecting to 127.0.0.2:1",
            ),
            (&[3], ConnectStep::InTime, "handshake with 127.0.0.3:1"),
            (&[], ConnectStep::Lookup, "no address"),
        ] {
            let error = connect_to(addresses).await.unwrap_err();
            assert_eq!(error.step(), step, "{error}");
            assert!(error.to_string().contains(told), "{error}");
        }
        let error = connect_to(&[4, 2]).await.unwrap_err();
        assert!(matches!(error.step(), ConnectStep::Secure(_)), "{error}");
    }

    #[test]
    fn families_take_turns_behind_the_address_that_answered_last() {
        let addresses = ["::1", "::2", "10.0.0.1", "10.0.0.2", "10.0.0.3"];
        let addresses = addresses.map(|text| text.parse().unwrap());
        let text = |preferred: Option<&str>| {
            let preferred = preferred.map(|text| text.parse().unwrap());
            let ordered = in_order(&addresses, preferred);
            ordered
                .iter()
                .map(IpAddr::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(text(None), "::1 10.0.0.1 ::2 10.0.0.2 10.0.0.3");
        assert_eq!(text(Some("10.0.0.2")), "10.0.0.2 ::1 10.0.0.1 ::2 10.0.0.3");
        assert_eq!(text(Some("10.0.0.9")), text(None));
    }
}

//! Tickets: signed addresses for clients that can send no header, as a browser's `EventSource`.
//!
//! A ticket holds the id of a key, the time until which it is good and a number used once, and a
//! signature over those, the method, the path and the query. It begins one generation; a client
//! that comes again with it reads the stream of that generation, and nothing else. That it was used
//! is known to this process alone.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::config::Secret;
use base::id::random_bits;
use dialect::failure::Failure;
use stream::StreamId;

/// The parameter of a query that holds a ticket.
pub const TICKET: &str = "ticket";
/// The longest time for which a ticket is good.
pub const MAX_TICKET_TTL: Duration = Duration::from_secs(60);

/// Parameters that are no part of what was signed: a client that comes again may add the second.
const UNSIGNED: &[&str] = &[TICKET, "last_event_id"];
/// The most tickets that are known to have been used.
const MAX_USED: usize = 65_536;
/// The time for which the stream of a ticket is known.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

const ID_LENGTH: usize = 12;
const TIME_LENGTH: usize = 8;
const NONCE_LENGTH: usize = 16;
const SIGNED_LENGTH: usize = ID_LENGTH + TIME_LENGTH + NONCE_LENGTH;
const SIGNATURE_LENGTH: usize = 32;

type Nonce = [u8; NONCE_LENGTH];

/// The address for which a ticket is good, but for the ticket itself.
#[derive(Debug, Clone, Copy)]
pub struct TicketAddress<'a> {
    /// The method.
    pub method: &'a str,
    /// The path.
    pub path: &'a str,
    /// The query.
    pub query: &'a str,
}

/// The use of a ticket, which knows the stream that it began.
#[derive(Debug)]
pub struct TicketUse {
    nonce: Nonce,
    is_read: bool,
    good_until: SystemTime,
    stream: OnceLock<StreamId>,
}

impl TicketUse {
    /// Returns a name for the use, by which a request that is sent again is known.
    #[must_use]
    pub fn name(&self) -> String {
        format!("ticket_{:032x}", u128::from_be_bytes(self.nonce))
    }

    /// Takes note of the stream that was begun.
    pub(super) fn begin(&self, stream: &StreamId) {
        self.stream.get_or_init(|| stream.clone());
    }

    /// Returns whether a stream may be read: the one that was begun or, of a ticket to read one,
    /// that of its path.
    pub(super) fn may_read(&self, stream: &StreamId) -> bool {
        self.is_read || self.stream.get() == Some(stream)
    }
}

/// The secrets by which tickets are signed, and the tickets that were used.
pub struct Tickets {
    /// The first signs; all are good.
    secrets: Vec<Secret>,
    used: Mutex<HashMap<Nonce, Arc<TicketUse>>>,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// Returns tickets that are signed by the first of those secrets.
    #[must_use]
    pub fn new(secrets: Vec<Secret>) -> Self {
        Self {
            secrets,
            used: Mutex::default(),
        }
    }

    /// Returns a ticket of a key for an address, and the time until which it is good.
    ///
    /// # Errors
    ///
    /// When there is no secret: a checked configuration has one.
    pub fn issue(
        &self,
        key_id: &str,
        address: TicketAddress<'_>,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<(String, SystemTime), Failure> {
        let until = now + ttl.min(MAX_TICKET_TTL);
        let seconds = until
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut ticket = Vec::with_capacity(SIGNED_LENGTH + SIGNATURE_LENGTH);
        ticket.extend_from_slice(key_id.as_bytes());
        ticket.extend_from_slice(&seconds.to_be_bytes());
        ticket.extend_from_slice(&random_bits());
        let signature = self
            .secrets
            .first()
            .and_then(|secret| signer(secret, &ticket, address))
            .ok_or_else(|| Failure::internal("no secret to sign tickets with".into()))?;
        ticket.extend_from_slice(&signature.finalize().into_bytes());
        let until = UNIX_EPOCH + Duration::from_secs(seconds);
        Ok((URL_SAFE_NO_PAD.encode(ticket), until))
    }

    /// Checks a ticket for an address, and returns the id of its key and its use.
    ///
    /// # Errors
    ///
    /// A 401 when it is none of ours, for another address, over, or was used for what did not leave
    /// a stream.
    pub fn redeem(
        &self,
        ticket: &str,
        address: TicketAddress<'_>,
        now: SystemTime,
    ) -> Result<(String, Arc<TicketUse>), Failure> {
        let refused =
            |reason| Failure::invalid_api_key(format!("this ticket is not valid: {reason}"));
        let bytes = URL_SAFE_NO_PAD.decode(ticket);
        let bytes = bytes.map_err(|_| refused("it can't be read"))?;
        if bytes.len() != SIGNED_LENGTH + SIGNATURE_LENGTH {
            return Err(refused("it can't be read"));
        }
        let (signed, signature) = bytes.split_at(SIGNED_LENGTH);
        let mut signers = self
            .secrets
            .iter()
            .filter_map(|secret| signer(secret, signed, address));
        if !signers.any(|signer| signer.verify_slice(signature).is_ok()) {
            return Err(refused("it is for another address"));
        }
        let (id, rest) = signed.split_at(ID_LENGTH);
        let (seconds, nonce) = rest.split_at(TIME_LENGTH);
        let seconds = seconds.try_into().map_or(0, u64::from_be_bytes);
        let nonce = nonce.try_into().unwrap_or_default();
        let until = UNIX_EPOCH + Duration::from_secs(seconds);
        let is_read = address.path.starts_with("/v1/stream/");
        let ticket_use = self.use_once(nonce, until, is_read, now).map_err(refused)?;
        Ok((String::from_utf8_lossy(id).into_owned(), ticket_use))
    }

    /// Takes note that a ticket is used, or returns its first use if that left a stream to read.
    fn use_once(
        &self,
        nonce: Nonce,
        good_until: SystemTime,
        is_read: bool,
        now: SystemTime,
    ) -> Result<Arc<TicketUse>, &'static str> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = good_until <= now;
        match used.get(&nonce) {
            Some(known) if known.stream.get().is_some() => return Ok(known.clone()),
            Some(known) if is_read && !is_over => return Ok(known.clone()),
            Some(_) if !is_read => return Err("it has been used"),
            _ => {}
        }
        if is_over {
            return Err("its time is over");
        }
        if used.len() >= MAX_USED {
            used.retain(|_, known| {
                let is_kept = known.stream.get().is_some() && now < known.good_until + KEPT_FOR;
                is_kept || now < known.good_until
            });
        }
        if used.len() >= MAX_USED {
            return Err("too many are in use");
        }
        let first = Arc::new(TicketUse {
            nonce,
            is_read,
            good_until,
            stream: OnceLock::new(),
        });
        used.insert(nonce, first.clone());
        Ok(first)
    }
}

/// Returns the signer of a ticket for an address. Where each part ends is signed too.
fn signer(secret: &Secret, ticket: &[u8], address: TicketAddress<'_>) -> Option<Hmac<Sha256>> {
    let mut signer = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    let mut add = |part: &[u8]| {
        signer.update(&(part.len() as u64).to_be_bytes());
        signer.update(part);
    };
    add(ticket);
    add(address.method.as_bytes());
    add(address.path.as_bytes());
    let mut query: Vec<(String, String)> = serde_urlencoded::from_str(address.query).ok()?;
    query.retain(|(name, _)| !UNSIGNED.contains(&name.as_str()));
    // Whoever builds an address may have another order.
    query.sort();
    for (name, value) in &query {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    Some(signer)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn tickets(secrets: &[&str]) -> Tickets {
        let secret = |text: &&str| Secret::new((*text).to_owned());
        Tickets::new(secrets.iter().map(secret).collect())
    }

    fn at(path: &'static str, query: &'static str) -> TicketAddress<'static> {
        TicketAddress {
            method: "GET",
            path,
            query,
        }
    }

    #[test]
    fn a_ticket_is_good_for_its_address_alone_and_once() {
        let tickets = tickets(&["one"]);
        let now = SystemTime::now();
        let address = at("/stream", "prompt=a%20b&model=m");
        let issue = || tickets.issue("0123456789ab", address, TTL, now).unwrap().0;
        let ticket = issue();
        for other in [
            at("/stream", "prompt=a%20b&model=n"),
            at("/prompts", "prompt=a%20b&model=m"),
            at("/stream", "prompt=a%20b&model=m&x=1"),
            TicketAddress {
                method: "POST",
                ..address
            },
        ] {
            assert!(tickets.redeem(&ticket, other, now).is_err(), "{other:?}");
        }
        let as_sent = at("/stream", "model=m&ticket=x&prompt=a+b&last_event_id=1");
        let (id, first) = tickets.redeem(&ticket, as_sent, now).unwrap();
        assert_eq!(id, "0123456789ab");
        let again = tickets.redeem(&ticket, address, now).unwrap_err();
        assert!(again.to_string().contains("has been used"));
        // With a stream it may be read on, also later.
        let stream = StreamId::random();
        first.begin(&stream);
        let later = now + 10 * TTL;
        let (_, second) = tickets.redeem(&ticket, address, later).unwrap();
        assert!(second.may_read(&stream) && !second.may_read(&StreamId::random()));
        let late = tickets.redeem(&issue(), address, later).unwrap_err();
        assert!(late.to_string().contains("time is over"));
    }

    #[test]
    fn another_secret_signs_and_the_one_before_is_good() {
        let now = SystemTime::now();
        let address = at("/stream", "");
        let old = tickets(&["one"]).issue("0123456789ab", address, TTL, now);
        let (ticket, _) = old.unwrap();
        assert!(
            tickets(&["two", "one"])
                .redeem(&ticket, address, now)
                .is_ok()
        );
        assert!(tickets(&["two"]).redeem(&ticket, address, now).is_err());
        let mut forged = ticket.into_bytes();
        forged[0] = if forged[0] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert!(tickets(&["one"]).redeem(&forged, address, now).is_err());
    }

    #[test]
    fn a_stream_is_read_as_often_as_the_ticket_lasts() {
        let tickets = tickets(&["one"]);
        let now = SystemTime::now();
        let address = at("/v1/stream/stm_1", "");
        let (ticket, until) = tickets.issue("0123456789ab", address, TTL, now).unwrap();
        for _ in 0..2 {
            assert!(tickets.redeem(&ticket, address, now).is_ok());
        }
        assert!(tickets.redeem(&ticket, address, until).is_err());
    }
}

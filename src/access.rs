//! Access: clients' keys, the callers that they stand for, and the end of what runs for a key
//! that is no longer good.
//!
//! Keys are in memory, all of them, so that no request waits for a store. A front door turns the
//! credentials of a request into a [`Caller`], once. Nothing is done here for each token: a
//! generation holds the abort signal of its key, which is its server's too.
//!
//! Not here: the file of keys and its form, which are `config`'s.

mod caller;
mod credentials;
mod key;
mod key_file;
mod key_ring;
pub mod limits;
mod tickets;
mod watch;

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use dialect::failure::Failure;

pub use caller::Caller;
use credentials::take_credential;
pub use credentials::{CREDENTIAL_HEADERS, has_credentials};
pub use key::{ApiKey, ParseKeyError};
pub use key_file::{KeyFile, KeyFileError, NewKey};
pub use key_ring::{Key, KeyRing};
pub use tickets::{MAX_TICKET_TTL, TICKET, TicketAddress, TicketUse, Tickets};
pub use watch::KeysWatch;

/// The rule by which callers are told apart.
#[derive(Debug, Clone, Default)]
pub enum AccessRule {
    /// Everyone may ask. Whoever sends credentials owns the streams that it begins.
    #[default]
    Open,
    /// Only those who have a key may ask.
    Keys {
        /// The keys.
        ring: Arc<KeyRing>,
        /// The places of sockets that have not said yet who they are.
        pending: Arc<Semaphore>,
        /// Tickets, for clients that can send no key.
        tickets: Option<Arc<Tickets>>,
    },
}

/// The place of a socket that has not said yet who it is.
pub type PendingPlace = OwnedSemaphorePermit;

impl AccessRule {
    /// Returns whether every request needs a key.
    #[must_use]
    pub fn wants_keys(&self) -> bool {
        matches!(self, Self::Keys { .. })
    }

    /// Returns the rule by which the holders of those keys may ask, and so many sockets may be open
    /// that have not said yet who they are.
    #[must_use]
    pub fn of_keys(ring: Arc<KeyRing>, max_pending: usize, tickets: Option<Arc<Tickets>>) -> Self {
        Self::Keys {
            ring,
            pending: Arc::new(Semaphore::new(max_pending)),
            tickets,
        }
    }

    /// Takes a place for a socket that will say who it is.
    ///
    /// # Errors
    ///
    /// A 401 when there are none left.
    pub fn pending(&self) -> Result<PendingPlace, Failure> {
        let place = match self {
            Self::Open => None,
            Self::Keys { pending, .. } => pending.clone().try_acquire_owned().ok(),
        };
        place.ok_or_else(|| {
            Failure::invalid_api_key(
                "too many sockets have not sent their key yet (auth.max_pending); send it with the handshake",
            )
        })
    }

    /// Returns the caller of a request with those headers, from which the credentials are taken
    /// out: none of them is any business of an upstream's. `in_query` is the key of the query.
    ///
    /// # Errors
    ///
    /// A 401 when keys are wanted and there is none that is good.
    pub fn authenticate(
        &self,
        headers: &mut HeaderMap,
        in_query: Option<String>,
    ) -> Result<Caller, Failure> {
        match self {
            Self::Open => Ok(Caller::of_headers(headers)),
            Self::Keys { ring, .. } => {
                let text = take_credential(headers, in_query).ok_or_else(missing_key)?;
                ring.authenticate(&text)
                    .map(|key| Caller::of_key(ring, key))
            }
        }
    }

    /// Returns the tickets, where there are any.
    #[must_use]
    pub fn tickets(&self) -> Option<&Arc<Tickets>> {
        match self {
            Self::Open => None,
            Self::Keys { tickets, .. } => tickets.as_ref(),
        }
    }

    /// Returns the caller who has a ticket for that address.
    ///
    /// # Errors
    ///
    /// A 401 when the ticket is not good, or its key is not any more.
    pub fn authenticate_ticket(
        &self,
        ticket: &str,
        address: TicketAddress<'_>,
    ) -> Result<Caller, Failure> {
        let Self::Keys {
            ring,
            tickets: Some(tickets),
            ..
        } = self
        else {
            return Err(missing_key());
        };
        let (id, ticket_use) = tickets.redeem(ticket, address, SystemTime::now())?;
        let key = ring.find_good(&id)?;
        Ok(Caller::of_key(ring, key).with_ticket(ticket_use))
    }

    /// Returns the caller who says that it has that key.
    ///
    /// # Errors
    ///
    /// A 401 when the key is not good.
    pub fn authenticate_token(&self, token: &str) -> Result<Caller, Failure> {
        match self {
            Self::Open => Ok(Caller::default()),
            Self::Keys { ring, .. } => ring
                .authenticate(token)
                .map(|key| Caller::of_key(ring, key)),
        }
    }
}

/// Returns the failure of a request without a key.
fn missing_key() -> Failure {
    Failure::invalid_api_key(
        "no API key was given; send one as `authorization: Bearer trk_…`, `x-api-key`, \
         `x-goog-api-key` or `api-key`",
    )
}

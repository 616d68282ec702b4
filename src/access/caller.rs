//! The caller of a request: the holder of a key, or whoever sent some credentials.

use std::sync::Arc;

use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::credentials::CREDENTIAL_HEADERS;
use super::key_ring::{Key, KeyRing};
use super::tickets::TicketUse;
use crate::shutdown::AbortSignal;
use dialect::failure::Failure;
use stream::{Owner, StreamId};

/// The caller of a request, made once by the front door it came through.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    owner: Option<Owner>,
    holder: Option<Holder>,
    ticket: Option<Arc<TicketUse>>,
}

/// The holder of a key.
#[derive(Debug, Clone)]
struct Holder {
    key: Arc<Key>,
    ring: Arc<KeyRing>,
}

impl Caller {
    /// Returns the caller whose credentials are in those headers, where keys are not wanted.
    #[must_use]
    pub fn of_headers(headers: &HeaderMap) -> Self {
        let mut digest = Sha256::new();
        let mut any = false;
        for name in CREDENTIAL_HEADERS {
            for value in headers.get_all(*name) {
                any = true;
                digest.update(name.as_bytes());
                digest.update([0]);
                digest.update(value.as_bytes());
                digest.update([0]);
            }
        }
        Self {
            owner: any.then(|| Owner::new(format!("{:x}", digest.finalize()))),
            holder: None,
            ticket: None,
        }
    }

    /// Returns the holder of a key of that ring.
    pub(super) fn of_key(ring: &Arc<KeyRing>, key: Arc<Key>) -> Self {
        Self {
            // Its id, so that a key which takes its place owns what it began.
            owner: Some(Owner::new(format!("key:{}", key.id))),
            holder: Some(Holder {
                key,
                ring: ring.clone(),
            }),
            ticket: None,
        }
    }

    /// Returns the caller as one who has but a ticket of the key.
    #[must_use]
    pub(super) fn with_ticket(self, ticket: Arc<TicketUse>) -> Self {
        Self {
            ticket: Some(ticket),
            ..self
        }
    }

    /// Takes note of a stream that was begun for the caller.
    pub fn begin_stream(&self, stream: &StreamId) {
        if let Some(ticket) = &self.ticket {
            ticket.begin(stream);
        }
    }

    /// Returns whether the caller may read a stream of its own: with a ticket, the one that this
    /// began.
    #[must_use]
    pub fn may_read(&self, stream: &StreamId) -> bool {
        let ticket = self.ticket.as_ref();
        ticket.is_none_or(|ticket| ticket.may_read(stream))
    }

    /// Returns the name under which a request with a ticket is known when it is sent again.
    #[must_use]
    pub fn ticket_name(&self) -> Option<String> {
        self.ticket.as_ref().map(|ticket| ticket.name())
    }

    /// Returns the owner of the streams that the caller begins: its key's id, or a digest of its
    /// credentials, or none if it sent none. Whoever knows the id of a stream without an owner may
    /// read it: a browser's `EventSource` can't send any credentials.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    /// Returns the caller's key, where keys are wanted.
    #[must_use]
    pub fn key(&self) -> Option<&Arc<Key>> {
        self.holder.as_ref().map(|holder| &holder.key)
    }

    /// Returns the caller with its key as that is now: on a socket it may have changed since.
    #[must_use]
    pub fn renewed(&self) -> Self {
        let mut caller = self.clone();
        if let Some(holder) = &mut caller.holder
            && let Some(key) = holder.ring.find(&holder.key.id)
        {
            holder.key = key;
        }
        caller
    }

    /// Returns whether the caller may use a model.
    #[must_use]
    pub fn may_use(&self, model: &str) -> bool {
        self.key().is_none_or(|key| key.allows(model))
    }

    /// Checks that the caller may use a model, and may still use any.
    ///
    /// # Errors
    ///
    /// A 403 if it may not, a 401 if its key is not good any more.
    pub fn check_model(&self, model: &str) -> Result<(), Failure> {
        self.check()?;
        match self.key() {
            Some(key) if !key.allows(model) => {
                let model: String = model.chars().take(MAX_QUOTED_CHARS).collect();
                Err(Failure::model_not_allowed(&model, &key.allowed()))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the caller may use every model, for a request that names none.
    ///
    /// # Errors
    ///
    /// A 403 if it may not, a 401 if its key is not good any more.
    pub fn check_all_models(&self) -> Result<(), Failure> {
        self.check()?;
        match self.key() {
            Some(key) if !key.allows_all() => Err(Failure::forbidden(format!(
                "this request names no model, and this API key is for some alone: {}",
                key.allowed()
            ))),
            _ => Ok(()),
        }
    }

    /// Checks that the caller's key is still good.
    ///
    /// # Errors
    ///
    /// A 401 if it is not.
    pub fn check(&self) -> Result<(), Failure> {
        match self.key() {
            Some(key) if key.abort().is_revoked() => Err(Failure::key_revoked()),
            _ => Ok(()),
        }
    }

    /// Returns the signal that ends what runs for the caller: the server's, or that and its key's.
    #[must_use]
    pub fn abort(&self, server: &AbortSignal) -> AbortSignal {
        self.key().map_or(server, |key| key.abort()).clone()
    }
}

/// Longest part of a model's name that an error repeats, in characters.
const MAX_QUOTED_CHARS: usize = 80;

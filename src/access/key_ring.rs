//! All keys in memory: who has which, and until when it is good.
//!
//! A key that is read again keeps its abort signal, by its id: what runs for it goes on. The signal
//! is raised when the key is revoked, disabled, gone or over.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use super::key::ApiKey;
use crate::config::{ClientKey, KeyRole, Limits, ModelPatterns, Team};
use crate::shutdown::AbortSignal;
use dialect::failure::Failure;

/// A key, and all that its holder may do.
#[derive(Debug)]
pub struct Key {
    /// The id, which is no secret.
    pub id: String,
    /// The name, for people.
    pub name: String,
    /// The team, if it belongs to one.
    pub team: Option<Arc<Team>>,
    /// The models that it may use, of those that its team may.
    pub models: ModelPatterns,
    /// The role of its holder.
    pub role: KeyRole,
    /// The time until which it is good.
    pub expires: Option<SystemTime>,
    /// The limits of its own.
    pub limits: Limits,
    file: ClientKey,
    abort: AbortSignal,
}

impl Key {
    fn new(file: ClientKey, teams: &HashMap<&str, Arc<Team>>, abort: AbortSignal) -> Self {
        let team = file.team.as_deref().and_then(|team| teams.get(team));
        Self {
            id: file.id.clone(),
            name: file.name.clone(),
            team: team.cloned(),
            models: file.models.clone(),
            role: file.role,
            expires: file.expires,
            limits: file.limits.clone(),
            file,
            abort,
        }
    }

    /// Returns whether the key and its team may use a model.
    #[must_use]
    pub fn allows(&self, model: &str) -> bool {
        let of_team = self.team.as_ref();
        self.models.allow(model) && of_team.is_none_or(|team| team.models.allow(model))
    }

    /// Returns whether the key and its team may use every model.
    #[must_use]
    pub fn allows_all(&self) -> bool {
        let of_team = self.team.as_ref();
        self.models.allow_all() && of_team.is_none_or(|team| team.models.allow_all())
    }

    /// Returns the models that may be used, in words.
    #[must_use]
    pub fn allowed(&self) -> String {
        match &self.team {
            Some(team) if self.models.allow_all() => team.models.to_string(),
            Some(team) if !team.models.allow_all() => {
                format!("{}, of those of its team: {}", self.models, team.models)
            }
            _ => self.models.to_string(),
        }
    }

    /// Returns the signal that ends what runs for the key, or for all.
    #[must_use]
    pub fn abort(&self) -> &AbortSignal {
        &self.abort
    }

    /// Returns whether a text's digest is that of the key, or of the one before it.
    fn is(&self, key: &ApiKey, now: SystemTime) -> bool {
        let digest = key.digest();
        let old = self.file.old.as_ref().filter(|old| now < old.until);
        // Both are compared, whatever the first says.
        let is_old = old.is_some_and(|old| old.digest.matches(&digest));
        self.file.digest.matches(&digest) | is_old
    }

    fn is_over(&self, now: SystemTime) -> bool {
        self.file.disabled || self.expires.is_some_and(|expires| expires <= now)
    }

    fn check(&self, now: SystemTime) -> Result<(), Failure> {
        let time = humantime::format_rfc3339_seconds;
        if self.file.disabled {
            return Err(Failure::key_revoked());
        }
        if let Some(expires) = self.expires.filter(|expires| *expires <= now) {
            let message = format!("this API key expired at {}; ask for another", time(expires));
            return Err(Failure::key_expired(message));
        }
        match self.file.not_before.filter(|begin| now < *begin) {
            Some(begin) => {
                let message = format!("this API key is good from {} on", time(begin));
                Err(Failure::key_expired(message))
            }
            None => Ok(()),
        }
    }
}

type KeyTable = HashMap<String, Arc<Key>>;

/// All keys, which a change of their file replaces at once.
#[derive(Debug)]
pub struct KeyRing {
    keys: RwLock<Arc<KeyTable>>,
    server: AbortSignal,
}

impl KeyRing {
    /// Returns the ring of those keys; `server` ends what runs for all of them.
    #[must_use]
    pub fn new(keys: Vec<ClientKey>, teams: &[Team], server: AbortSignal) -> Self {
        let ring = Self {
            keys: RwLock::default(),
            server,
        };
        ring.replace(keys, teams);
        ring
    }

    /// Takes other keys in the place of all, and cuts what runs for those that are not good.
    pub fn replace(&self, keys: Vec<ClientKey>, teams: &[Team]) {
        let teams: HashMap<&str, Arc<Team>> = teams
            .iter()
            .map(|team| (team.name.as_str(), Arc::new(team.clone())))
            .collect();
        let before = self.table();
        let signal = |id: &str| {
            let known = before.get(id).map(|key| key.abort());
            let sound = known.filter(|abort| !abort.is_revoked());
            sound.map_or_else(|| self.server.of_key(), Clone::clone)
        };
        let table = keys.into_iter().map(|key| {
            let signal = signal(&key.id);
            (key.id.clone(), Arc::new(Key::new(key, &teams, signal)))
        });
        let table: Arc<KeyTable> = Arc::new(table.collect());
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = table.clone();
        for (id, key) in before.iter() {
            if !table.contains_key(id) {
                key.abort().revoke();
            }
        }
        self.cut_over(SystemTime::now());
    }

    /// Cuts what runs for keys whose time is over.
    pub fn cut_over(&self, now: SystemTime) {
        for key in self.table().values().filter(|key| key.is_over(now)) {
            key.abort().revoke();
        }
    }

    /// Returns the key of an id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Arc<Key>> {
        self.table().get(id).cloned()
    }

    /// Returns the key of an id, if it is good.
    ///
    /// # Errors
    ///
    /// A 401 when it is not.
    pub fn find_good(&self, id: &str) -> Result<Arc<Key>, Failure> {
        let key = self.find(id).ok_or_else(Failure::key_revoked)?;
        key.check(SystemTime::now())?;
        Ok(key)
    }

    /// Returns all keys, by their names.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Key>> {
        let mut keys: Vec<Arc<Key>> = self.table().values().cloned().collect();
        keys.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        keys
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// Returns whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table().is_empty()
    }

    /// Returns the key that a client sent.
    ///
    /// # Errors
    ///
    /// A 401 when it is none, or not good.
    pub fn authenticate(&self, text: &str) -> Result<Arc<Key>, Failure> {
        let sent: ApiKey = text.parse().map_err(|error| {
            Failure::invalid_api_key(format!("this API key is not valid: {error}"))
        })?;
        let now = SystemTime::now();
        let known = self.find(sent.id()).filter(|key| key.is(&sent, now));
        let known = known.ok_or_else(|| {
            Failure::invalid_api_key("this API key is not valid: it is not known here")
        })?;
        known.check(now)?;
        Ok(known)
    }

    fn table(&self) -> Arc<KeyTable> {
        let keys = self.keys.read();
        keys.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

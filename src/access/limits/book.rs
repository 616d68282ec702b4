//! The book of all scopes: what has been taken of each is kept while its limits change.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::scope::{Scope, ScopeKind, ScopeLimits};

/// All scopes, by kind and id. As many as are configured.
#[derive(Debug, Default)]
pub struct LimitBook {
    scopes: RwLock<HashMap<ScopeKind, HashMap<String, Arc<Scope>>>>,
}

impl LimitBook {
    /// Returns the scope of that id, with these limits and that name in messages.
    #[must_use]
    pub fn scope(&self, kind: ScopeKind, id: &str, name: &str, limits: &ScopeLimits) -> Arc<Scope> {
        let is_same = |scope: &&Arc<Scope>| scope.limits() == limits && scope.name() == name;
        {
            let scopes = self.scopes.read().unwrap_or_else(PoisonError::into_inner);
            let known = scopes.get(&kind).and_then(|scopes| scopes.get(id));
            if let Some(scope) = known.filter(is_same) {
                return scope.clone();
            }
        }
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        let scopes = scopes.entry(kind).or_default();
        let scope = match scopes.get(id) {
            Some(scope) if is_same(&scope) => scope.clone(),
            Some(scope) => Arc::new(scope.with_limits(name, limits.clone())),
            None => Arc::new(Scope::new(kind, name, limits.clone())),
        };
        scopes.insert(id.to_owned(), scope.clone());
        scope
    }
}

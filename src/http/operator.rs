//! Those who may see how the service fares, and those who may change it.
//!
//! Where clients have keys, the key's role decides. Where there are none, and on a listener for
//! operators, whoever reaches the route may.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::access::caller_of;
use super::error::Rejection;
use crate::config::KeyRole;
use dialect::failure::Failure;

/// A caller who may see how the service fares.
#[derive(Debug)]
pub(super) struct Viewer;

impl<S: Sync> FromRequestParts<S> for Viewer {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        match role(parts) {
            Some(KeyRole::User) => Err(forbidden("`viewer` or `admin`")),
            None | Some(KeyRole::Viewer | KeyRole::Admin) => Ok(Self),
        }
    }
}

/// A caller who may change the service.
#[derive(Debug)]
pub(super) struct Administrator;

impl<S: Sync> FromRequestParts<S> for Administrator {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        match role(parts) {
            Some(KeyRole::User | KeyRole::Viewer) => Err(forbidden("`admin`")),
            None | Some(KeyRole::Admin) => Ok(Self),
        }
    }
}

fn role(parts: &Parts) -> Option<KeyRole> {
    caller_of(parts).key().map(|key| key.role)
}

fn forbidden(roles: &str) -> Rejection {
    Failure::forbidden(format!("this is for keys with the role {roles}")).into()
}

//! The credentials of single requests, where they are no fixed header.

use std::sync::Arc;

use bytes::Bytes;
use dialect::failure::Failure;
use http::Request;
use http::header::AUTHORIZATION;

use super::sign::RequestSigner;
use super::token::TokenReceiver;
use crate::provider::credentials::Credentials;

/// The way in which a provider's requests are authorized.
#[derive(Debug, Clone, Default)]
pub enum Authorization {
    /// By headers that are the same for each.
    #[default]
    Headers,
    /// By the current token.
    Token(TokenReceiver),
    /// By a signature.
    Signature(Arc<RequestSigner>),
}

impl Authorization {
    /// Adds what a request needs; returns the credentials to be cut out of its answer, which are
    /// the `fixed` ones if nothing was added.
    pub(super) async fn authorize(
        &self,
        provider: &str,
        request: &mut Request<Bytes>,
        fixed: &Arc<Credentials>,
    ) -> Result<Arc<Credentials>, Failure> {
        match self {
            // What is signed was signed when the request was built.
            Self::Headers | Self::Signature(_) => Ok(fixed.clone()),
            Self::Token(receiver) => {
                let token = receiver.current(provider).await?;
                let headers = request.headers_mut();
                headers.insert(AUTHORIZATION, token.header.clone());
                Ok(token.credentials.clone())
            }
        }
    }
}

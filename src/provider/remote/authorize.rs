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
    /// By the current token, or signed with the current key.
    Token(TokenReceiver),
    /// By a signature.
    Signature(Arc<RequestSigner>),
}

/// The signer of a request, and what its answer may not repeat.
pub(super) type SigningKey = (Arc<RequestSigner>, Arc<Credentials>);

impl Authorization {
    /// Returns the key that signs a request which is about to be built, if it is to be signed.
    pub(super) async fn signing_key(
        &self,
        provider: &str,
        fixed: &Arc<Credentials>,
    ) -> Result<Option<SigningKey>, Failure> {
        match self {
            Self::Headers => Ok(None),
            Self::Signature(signer) => Ok(Some((signer.clone(), fixed.clone()))),
            Self::Token(receiver) if receiver.signs() => {
                let token = receiver.current(provider).await?;
                let signer = token.signer().cloned();
                Ok(signer.map(|signer| (signer, token.credentials.clone())))
            }
            Self::Token(_) => Ok(None),
        }
    }

    /// Adds the token that a request needs; returns the credentials to be cut out of its answer:
    /// those of the key that signed it, or the `fixed` ones if nothing was added.
    pub(super) async fn authorize(
        &self,
        provider: &str,
        request: &mut Request<Bytes>,
        fixed: &Arc<Credentials>,
        key: Option<SigningKey>,
    ) -> Result<Arc<Credentials>, Failure> {
        if let Some((_, credentials)) = key {
            return Ok(credentials);
        }
        match self {
            Self::Headers | Self::Signature(_) => Ok(fixed.clone()),
            Self::Token(receiver) => {
                let token = receiver.current(provider).await?;
                if let Some(header) = token.header() {
                    request.headers_mut().insert(AUTHORIZATION, header.clone());
                }
                Ok(token.credentials.clone())
            }
        }
    }
}

/// Returns the signer of a request, if it is to be signed.
pub(super) fn signer(key: &Option<SigningKey>) -> Option<Arc<RequestSigner>> {
    key.as_ref().map(|(signer, _)| signer.clone())
}

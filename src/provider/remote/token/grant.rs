//! The requests by which credentials are exchanged for an access token.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http::{Request, Uri, header};
use rustls::SignatureScheme;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::TokenRequest;
use crate::config::{Access, Secret};
use crate::provider::credentials::Credentials;

/// The right that Azure's models want.
const AZURE_SCOPE: &str = "https://cognitiveservices.azure.com/.default";
/// The right that Vertex wants.
const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const JWT_GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The time for which a signed claim is good, in seconds: the longest that Google takes.
const CLAIM_SECONDS: u64 = 3600;

/// Credentials that are exchanged for a token.
#[derive(Debug)]
pub(super) struct Grant {
    access: Access,
    token_url: String,
}

impl Grant {
    /// Returns the grant of these credentials; `None` for those that sign each request.
    pub(super) fn new(access: &Access) -> Option<Self> {
        let token_url = match access {
            Access::Entra { token_url, .. }
            | Access::GoogleServiceAccount { token_url, .. }
            | Access::GoogleUser { token_url, .. }
            | Access::GoogleMetadata { token_url } => token_url.clone(),
            Access::Aws { .. } => return None,
        };
        Some(Self {
            access: access.clone(),
            token_url,
        })
    }

    /// Returns the secrets that are sent to the giver.
    pub(super) fn secrets(&self) -> Credentials {
        let secrets: Vec<&Secret> = match &self.access {
            Access::Entra { client_secret, .. } => vec![client_secret],
            Access::GoogleUser {
                client_secret,
                refresh_token,
                ..
            } => vec![client_secret, refresh_token],
            Access::GoogleServiceAccount { .. }
            | Access::GoogleMetadata { .. }
            | Access::Aws { .. } => Vec::new(),
        };
        Credentials::from_secrets(secrets.into_iter().map(Secret::expose))
    }

    /// Returns the host that is asked.
    pub(super) fn host(&self) -> &str {
        let rest = self.token_url.split("://").nth(1);
        rest.and_then(|rest| rest.split('/').next())
            .unwrap_or(&self.token_url)
    }

    /// Builds the request for a token.
    pub(super) fn request(&self) -> Result<TokenRequest, String> {
        let uri: Uri = self
            .token_url
            .parse()
            .map_err(|_| format!("`{}` is no address", self.token_url))?;
        match &self.access {
            Access::GoogleMetadata { .. } => Request::get(uri)
                .header("metadata-flavor", "Google")
                .body(Bytes::new())
                .map_err(|error| error.to_string()),
            Access::Entra {
                client_id,
                client_secret,
                ..
            } => form(
                uri,
                &[
                    ("grant_type", "client_credentials"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.expose()),
                    ("scope", AZURE_SCOPE),
                ],
            ),
            Access::GoogleServiceAccount {
                client_email,
                private_key,
                ..
            } => {
                let claim = self.signed_claim(client_email, private_key)?;
                form(uri, &[("grant_type", JWT_GRANT), ("assertion", &claim)])
            }
            Access::GoogleUser {
                client_id,
                client_secret,
                refresh_token,
                ..
            } => form(
                uri,
                &[
                    ("grant_type", "refresh_token"),
                    ("client_id", client_id),
                    ("client_secret", client_secret.expose()),
                    ("refresh_token", refresh_token.expose()),
                ],
            ),
            Access::Aws { .. } => Err("this key signs requests and gives no token".to_owned()),
        }
    }

    /// Returns a claim to be that account, signed by its key (RS256 of RFC 7518).
    fn signed_claim(&self, email: &str, key: &Secret) -> Result<String, String> {
        let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes())
            .map_err(|_| "the private key of the service account is not PEM".to_owned())?;
        let key = ring::sign::any_supported_type(&key)
            .map_err(|_| "the private key of the service account can't be used".to_owned())?;
        let signer = key
            .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
            .ok_or_else(|| "the private key of the service account is not of RSA".to_owned())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let head = json!({ "alg": "RS256", "typ": "JWT" });
        let claims = json!({
            "iss": email, "scope": GOOGLE_SCOPE, "aud": self.token_url,
            "iat": now, "exp": now + CLAIM_SECONDS,
        });
        let encode = |value: &serde_json::Value| BASE64.encode(value.to_string());
        let text = format!("{}.{}", encode(&head), encode(&claims));
        let signature = signer
            .sign(text.as_bytes())
            .map_err(|_| "the private key of the service account can't sign".to_owned())?;
        Ok(format!("{text}.{}", BASE64.encode(signature)))
    }
}

fn form(uri: Uri, fields: &[(&str, &str)]) -> Result<TokenRequest, String> {
    let body = serde_urlencoded::to_string(fields).map_err(|error| error.to_string())?;
    Request::post(uri)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .body(body.into())
        .map_err(|error| error.to_string())
}

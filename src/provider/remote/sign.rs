//! Signatures of requests to AWS (Signature Version 4), by AWS's own crate.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use dialect::failure::Failure;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use tower::BoxError;

use crate::config::{Access, AwsKeys, AwsSource};

/// Signs requests with a key of AWS.
#[derive(Debug)]
pub struct RequestSigner {
    credentials: Credentials,
    /// Headers that hold parts of the key, to be cut out of answers.
    secrets: HeaderMap,
    region: String,
    service: &'static str,
}

impl RequestSigner {
    /// Creates a signer; `None` for credentials that sign nothing, or that are still to be fetched.
    #[must_use]
    pub fn new(access: &Access) -> Option<Self> {
        let Access::Aws {
            region,
            service,
            source: AwsSource::Keys(keys),
        } = access
        else {
            return None;
        };
        Some(Self::with_keys(region, service, keys))
    }

    /// Creates a signer with that key.
    pub(super) fn with_keys(region: &str, service: &'static str, keys: &AwsKeys) -> Self {
        let AwsKeys {
            access_key_id,
            secret_access_key,
            session_token,
        } = keys;
        let token = session_token.as_ref().map(|token| token.expose());
        let mut secrets = HeaderMap::new();
        for (name, secret) in [
            ("x-key", Some(secret_access_key.expose())),
            ("x-token", token),
        ] {
            if let Some(mut value) = secret.and_then(|text| HeaderValue::from_str(text).ok()) {
                value.set_sensitive(true);
                secrets.insert(name, value);
            }
        }
        Self {
            credentials: Credentials::new(
                access_key_id,
                secret_access_key.expose(),
                token.map(str::to_owned),
                None,
                "configuration",
            ),
            secrets,
            region: region.to_owned(),
            service,
        }
    }

    /// Returns headers with what no answer may repeat.
    pub(super) fn secrets(&self) -> &HeaderMap {
        &self.secrets
    }

    /// Signs a request. Of its headers only the host's and the signature's own are signed, so that
    /// nothing on the way can break it.
    pub(super) fn sign(
        &self,
        request: &mut Request<Bytes>,
        time: SystemTime,
    ) -> Result<(), Failure> {
        let signed = self.signed_headers(request, time);
        let signed = signed.map_err(Failure::internal)?;
        let headers = request.headers_mut();
        headers.extend(signed);
        Ok(())
    }

    fn signed_headers(
        &self,
        request: &Request<Bytes>,
        time: SystemTime,
    ) -> Result<HeaderMap, BoxError> {
        let identity = self.credentials.clone().into();
        let settings = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(time)
            .settings(SigningSettings::default())
            .build()?;
        let uri = request.uri().to_string();
        let host = request.uri().authority().map_or("", |host| host.as_str());
        let signable = SignableRequest::new(
            request.method().as_str(),
            uri.as_str(),
            std::iter::once(("host", host)),
            SignableBody::Bytes(request.body()),
        )?;
        let (instructions, _signature) = sign(signable, &settings.into())?.into_parts();
        let (headers, _query) = instructions.into_parts();
        let mut signed = HeaderMap::new();
        for header in headers {
            let name: HeaderName = header.name().parse()?;
            let mut value: HeaderValue = header.value().parse()?;
            value.set_sensitive(header.sensitive());
            signed.insert(name, value);
        }
        Ok(signed)
    }
}

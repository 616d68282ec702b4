//! Keys of AWS, from wherever they are: files, a role, a container's agent, the machine's metadata.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Uri, header};
use serde::Deserialize;

use super::giver::{Giver, element};
use crate::config::{
    Access, AwsKeys, AwsSource, ContainerToken, ProfileFiles, ProfileKeys, Secret, WebIdentity,
    profile_keys,
};
use crate::provider::credentials::Credentials;
use crate::provider::remote::sign::RequestSigner;

/// Paths of the metadata service.
const METADATA_TOKEN: &str = "/latest/api/token";
const METADATA_KEYS: &str = "/latest/meta-data/iam/security-credentials/";
/// The time for which a token of the metadata service is asked, in seconds.
const METADATA_TOKEN_SECONDS: &str = "21600";
/// The version of the API that gives keys for a role.
const STS_VERSION: &str = "2011-06-15";

/// A key, and the time for which it is valid, if that is known.
type FetchedKey = (AwsKeys, Option<Duration>);

/// The way to a key of AWS.
#[derive(Debug)]
pub(super) struct AwsExchange {
    region: String,
    service: &'static str,
    source: AwsSource,
}

impl AwsExchange {
    /// Returns the way to a key that is not given; `None` for other credentials.
    pub(super) fn new(access: &Access) -> Option<Self> {
        match access {
            Access::Aws {
                source: AwsSource::Keys(_),
                ..
            } => None,
            Access::Aws {
                region,
                service,
                source,
            } => Some(Self {
                region: region.clone(),
                service,
                source: source.clone(),
            }),
            _ => None,
        }
    }

    /// Returns the place of the key, for the log.
    pub(super) fn place(&self) -> &str {
        match &self.source {
            AwsSource::Keys(_) => "the configuration",
            AwsSource::Profile { files, .. } => &files.credentials,
            AwsSource::WebIdentity { sts_url, .. } => sts_url,
            AwsSource::Container { url, .. } => url,
            AwsSource::Metadata { endpoint } => endpoint,
        }
    }

    /// Fetches a key; returns the signer with it and the time for which it is valid, if that is
    /// known.
    pub(super) async fn fetch(
        &self,
        giver: &Giver,
    ) -> Result<(RequestSigner, Option<Duration>), String> {
        let (keys, lifetime) = match &self.source {
            AwsSource::Keys(keys) => (keys.clone(), None),
            AwsSource::Profile {
                name,
                files,
                sts_url,
            } => of_profile(name, files, sts_url, giver).await?,
            AwsSource::WebIdentity { identity, sts_url } => {
                of_identity(identity, sts_url, giver).await?
            }
            AwsSource::Container { url, token } => of_container(url, token, giver).await?,
            AwsSource::Metadata { endpoint } => of_metadata(endpoint, giver).await?,
        };
        let signer = RequestSigner::with_keys(&self.region, self.service, &keys);
        Ok((signer, lifetime))
    }
}

/// Reads the key of a profile, or takes its role.
async fn of_profile(
    name: &str,
    files: &ProfileFiles,
    sts_url: &str,
    giver: &Giver,
) -> Result<FetchedKey, String> {
    let credentials = read_if_there(&files.credentials).await?;
    let config = read_if_there(&files.config).await?;
    match profile_keys(&credentials, &config, name)? {
        Some(ProfileKeys::Keys(keys)) => Ok((keys, None)),
        Some(ProfileKeys::WebIdentity(identity)) => of_identity(&identity, sts_url, giver).await,
        None => Err(format!("the profile `{name}` has no keys any more")),
    }
}

async fn read_if_there(path: &str) -> Result<String, String> {
    match tokio::fs::read_to_string(path).await {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("can't read the file {path}: {error}")),
    }
}

async fn read_token(path: &str) -> Result<Secret, String> {
    let text = tokio::fs::read_to_string(path).await;
    let text = text.map_err(|error| format!("can't read the token's file {path}: {error}"))?;
    Ok(Secret::new(text.trim().to_owned()))
}

/// Takes a role (`AssumeRoleWithWebIdentity`), with the token that is in its file now.
async fn of_identity(
    identity: &WebIdentity,
    sts_url: &str,
    giver: &Giver,
) -> Result<FetchedKey, String> {
    let token = read_token(&identity.token_file).await?;
    let fields = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", STS_VERSION),
        ("RoleArn", &identity.role_arn),
        ("RoleSessionName", &identity.session_name),
        ("WebIdentityToken", token.expose()),
    ];
    let body = serde_urlencoded::to_string(fields).map_err(|error| error.to_string())?;
    let request = Request::post(address(&format!("{}/", sts_url.trim_end_matches('/')))?)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(body.into())
        .map_err(|error| error.to_string())?;
    let secrets = Credentials::from_secrets(std::iter::once(token.expose()));
    let answer = giver.ask(request, &secrets).await?;
    let answer = String::from_utf8_lossy(&answer);
    let field = |name: &str| {
        let text = element(&answer, name).filter(|text| !text.is_empty());
        text.map(str::to_owned)
            .ok_or_else(|| format!("the answer has no {name}"))
    };
    let keys = AwsKeys {
        access_key_id: field("AccessKeyId")?,
        secret_access_key: Secret::new(field("SecretAccessKey")?),
        session_token: Some(Secret::new(field("SessionToken")?)),
    };
    Ok((keys, time_left(&field("Expiration")?)?))
}

/// Asks the agent of the container that this runs in.
async fn of_container(
    url: &str,
    token: &ContainerToken,
    giver: &Giver,
) -> Result<FetchedKey, String> {
    let token = match token {
        ContainerToken::None => None,
        ContainerToken::Given(token) => Some(token.clone()),
        ContainerToken::File(path) => Some(read_token(path).await?),
    };
    let mut request = Request::get(address(url)?).header(header::ACCEPT, "application/json");
    if let Some(token) = &token {
        request = request.header(header::AUTHORIZATION, token.expose());
    }
    let request = request.body(Bytes::new());
    let request = request.map_err(|_| "the token can't be sent in a header".to_owned())?;
    let secrets = Credentials::from_secrets(token.iter().map(Secret::expose));
    let answer = giver.ask(request, &secrets).await?;
    key_in_json(&answer)
}

/// Asks the metadata service of the machine, in its second version: for a token, the name of the
/// machine's role, and the key of that.
async fn of_metadata(endpoint: &str, giver: &Giver) -> Result<FetchedKey, String> {
    let none = Credentials::default();
    let request = Request::put(address(&format!("{endpoint}{METADATA_TOKEN}"))?)
        .header(
            "x-aws-ec2-metadata-token-ttl-seconds",
            METADATA_TOKEN_SECONDS,
        )
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let token = giver.ask(request, &none).await?;
    let get = |path: &str| {
        let request = Request::get(address(&format!("{endpoint}{METADATA_KEYS}{path}"))?);
        let request = request.header("x-aws-ec2-metadata-token", &*token);
        let request = request.body(Bytes::new());
        request.map_err(|_| "the metadata service's token can't be sent in a header".to_owned())
    };
    let roles = giver.ask(get("")?, &none).await?;
    let roles = String::from_utf8_lossy(&roles);
    let role = roles.lines().next().unwrap_or_default().trim();
    if role.is_empty() {
        return Err("the machine has no role".to_owned());
    }
    let answer = giver.ask(get(role)?, &none).await?;
    key_in_json(&answer)
}

/// A key, as a container's agent and the metadata service give it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GivenKey {
    access_key_id: String,
    secret_access_key: String,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    expiration: Option<String>,
}

/// A refusal with a good status.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RefusedKey {
    code: String,
}

fn key_in_json(answer: &[u8]) -> Result<FetchedKey, String> {
    // The error's text would repeat a part of the answer.
    let Ok(given) = serde_json::from_slice::<GivenKey>(answer) else {
        return Err(match serde_json::from_slice::<RefusedKey>(answer) {
            Ok(refused) => format!("it answered {}", base::shorten::shorten(&refused.code, 60)),
            Err(_) => "the answer is not the JSON of a key".to_owned(),
        });
    };
    let keys = AwsKeys {
        access_key_id: given.access_key_id,
        secret_access_key: Secret::new(given.secret_access_key),
        session_token: given.token.map(Secret::new),
    };
    let lifetime = match given.expiration {
        Some(time) => time_left(&time)?,
        None => None,
    };
    Ok((keys, lifetime))
}

/// Returns the time that is left until a point in time.
fn time_left(time: &str) -> Result<Option<Duration>, String> {
    let ends = humantime::parse_rfc3339_weak(time)
        .map_err(|_| "the key's end is no point in time".to_owned())?;
    let left = ends.duration_since(SystemTime::now());
    let left = left.map_err(|_| "the key that was given has expired".to_owned())?;
    Ok(Some(left))
}

fn address(url: &str) -> Result<Uri, String> {
    url.parse().map_err(|_| format!("`{url}` is no address"))
}

//! Credentials that are no key for a header.

use super::Secret;

/// Credentials that give access tokens, or sign each request.
#[derive(Debug, Clone)]
pub enum Access {
    /// An application in Microsoft Entra.
    Entra {
        /// The address that gives tokens.
        token_url: String,
        /// The application's id.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
    },
    /// A service account of Google's.
    GoogleServiceAccount {
        /// The address that gives tokens.
        token_url: String,
        /// The account's name.
        client_email: String,
        /// Its private key, in PEM.
        private_key: Secret,
    },
    /// A person at Google, by the credentials that `gcloud` keeps.
    GoogleUser {
        /// The address that gives tokens.
        token_url: String,
        /// The id of `gcloud`.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
        /// The person's consent.
        refresh_token: Secret,
    },
    /// The service account of the machine at Google that this runs on.
    GoogleMetadata {
        /// The address that gives tokens.
        token_url: String,
    },
    /// A key of AWS, which signs each request.
    Aws {
        /// The region.
        region: String,
        /// The service's name in the signature.
        service: &'static str,
        /// The place of the key.
        source: AwsSource,
    },
}

/// The place of a key of AWS.
#[derive(Debug, Clone)]
pub enum AwsSource {
    /// It was given.
    Keys(AwsKeys),
    /// A profile in the files that AWS's tools share.
    Profile {
        /// The profile's name.
        name: String,
        /// The files.
        files: ProfileFiles,
        /// The address that gives keys for a role.
        sts_url: String,
    },
    /// A role, for the token of an identity that is not AWS's.
    WebIdentity {
        /// The role and the token.
        identity: WebIdentity,
        /// The address that gives keys for a role.
        sts_url: String,
    },
    /// The agent of the container that this runs in.
    Container {
        /// Its address.
        url: String,
        /// The token that it wants.
        token: ContainerToken,
    },
    /// The metadata service of the machine at AWS that this runs on.
    Metadata {
        /// Its address, without a path.
        endpoint: String,
    },
}

/// A key of AWS.
#[derive(Debug, Clone)]
pub struct AwsKeys {
    /// The key's id.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// The token of a session, for a temporary key.
    pub session_token: Option<Secret>,
}

/// The files that AWS's tools share.
#[derive(Debug, Clone)]
pub struct ProfileFiles {
    /// The file with keys.
    pub credentials: String,
    /// The file with everything else.
    pub config: String,
}

/// A role that is taken with the token of an identity that is not AWS's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebIdentity {
    /// The file that has the token, which its giver replaces.
    pub token_file: String,
    /// The name of the role.
    pub role_arn: String,
    /// The name of the session.
    pub session_name: String,
}

/// The token that a container's agent wants.
#[derive(Debug, Clone)]
pub enum ContainerToken {
    /// None.
    None,
    /// It was given.
    Given(Secret),
    /// A file has it, which its giver replaces.
    File(String),
}

//! Keys of `[providers.NAME]` that only the clouds have: places, versions and credentials.

use serde::Deserialize;

use super::aws::{self, PROFILE};
use super::flavors::Flavor;
use super::key::Default::Said;
use super::key::{Key, Kind};
use super::reader::Reader;
use super::secret::{SecretKeys, secret, secret_of_variable};
use super::{Access, Secret};

const KEYS: &[Key] = &[
    REGION,
    PROFILE,
    PROJECT,
    API_VERSION,
    TENANT_ID,
    CLIENT_ID,
    CLIENT_SECRET_ENV,
    CLIENT_SECRET_FILE,
    CREDENTIALS_FILE,
    TOKEN_URL,
];

pub(super) const REGION: Key = Key::new(
    "region",
    Kind::Text,
    Said("`AWS_REGION`, or `GOOGLE_CLOUD_LOCATION` or `\"global\"`"),
    "`bedrock`, `vertex`: the region or location",
);
pub(super) const PROJECT: Key = Key::new(
    "project",
    Kind::Text,
    Said("`GOOGLE_CLOUD_PROJECT`, or that of the service account"),
    "`vertex`: the project's id",
);
pub(super) const API_VERSION: Key = Key::new(
    "api_version",
    Kind::Text,
    Said("none"),
    "`azure`: a dated one, such as `\"2024-10-21\"`, asks deployments by their own addresses; without one, or with `\"preview\"`, it is the v1 API",
);
pub(super) const TENANT_ID: Key = Key::new(
    "tenant_id",
    Kind::Text,
    Said("`AZURE_TENANT_ID`"),
    "`azure`: the tenant in Microsoft Entra of an application that has no key, but a secret",
);
pub(super) const CLIENT_ID: Key = Key::new(
    "client_id",
    Kind::Text,
    Said("`AZURE_CLIENT_ID`"),
    "`azure`: the application's id",
);
pub(super) const CLIENT_SECRET_ENV: Key = Key::new(
    "client_secret_env",
    Kind::Text,
    Said("`AZURE_CLIENT_SECRET`"),
    "`azure`: the variable that holds the application's secret",
);
pub(super) const CLIENT_SECRET_FILE: Key = Key::new(
    "client_secret_file",
    Kind::Text,
    Said("none"),
    "or the file that holds it",
);
pub(super) const CREDENTIALS_FILE: Key = Key::new(
    "credentials_file",
    Kind::Text,
    Said("`GOOGLE_APPLICATION_CREDENTIALS`, or the metadata server"),
    "`vertex`: the JSON file of a service account, or of `gcloud auth application-default login`",
);
pub(super) const TOKEN_URL: Key = Key::new(
    "token_url",
    Kind::Text,
    Said("the cloud's own"),
    "`azure`, `vertex`: the address that gives access tokens, for a national cloud or a test",
);

const METADATA_URL: &str =
    "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
const GOOGLE_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// The places and versions of a cloud.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub(super) region: String,
    pub(super) project: String,
    pub(super) api_version: Option<String>,
}

/// Reads the place, and the credentials of a cloud that has no key for each request to carry.
pub(super) fn cloud(
    reader: &mut Reader<'_>,
    flavor: &'static Flavor,
    has_key: bool,
) -> (Place, Option<Access>) {
    refuse_foreign_keys(reader, Some(flavor));
    match flavor.name {
        "azure" => {
            let place = Place {
                api_version: reader.text(&API_VERSION),
                ..Place::default()
            };
            let access = if has_key { None } else { entra(reader) };
            (place, access)
        }
        "vertex" => {
            let google = if has_key { None } else { google(reader) };
            let region = text_or_variable(reader, &REGION, &["GOOGLE_CLOUD_LOCATION"]);
            let project = text_or_variable(reader, &PROJECT, &["GOOGLE_CLOUD_PROJECT"])
                .or_else(|| google.as_ref().and_then(|(_, project)| project.clone()));
            let place = Place {
                region: region.unwrap_or_else(|| "global".to_owned()),
                project: project.unwrap_or_default(),
                ..Place::default()
            };
            if place.project.is_empty() {
                reader.report_missing(&PROJECT, "such as project = \"my-project-123\"");
            }
            (place, google.map(|(access, _)| access))
        }
        name if name.starts_with("bedrock") => {
            let region = text_or_variable(reader, &REGION, &["AWS_REGION", "AWS_DEFAULT_REGION"]);
            if region.is_none() {
                reader.report_missing(&REGION, "such as region = \"us-east-1\"");
            }
            let region = region.unwrap_or_default();
            let access = if has_key {
                None
            } else {
                aws::access(reader, &region, name)
            };
            let place = Place {
                region,
                ..Place::default()
            };
            (place, access)
        }
        _ => (Place::default(), None),
    }
}

/// Reports the keys of other flavors.
pub(super) fn refuse_foreign_keys(reader: &mut Reader<'_>, flavor: Option<&Flavor>) {
    for key in KEYS {
        let path = reader.path(key);
        let is_own = flavor.is_some_and(|flavor| flavor.own_keys.contains(&key.path));
        if !is_own && reader.has_value(&path) {
            let of = flavor.map_or("a provider without a flavor".to_owned(), |flavor| {
                format!("the flavor `{}`", flavor.name)
            });
            reader.report(&path, format!("means nothing to {of}; leave it out"));
        }
    }
}

fn text_or_variable(reader: &mut Reader<'_>, key: &Key, variables: &[&str]) -> Option<String> {
    reader.text(key).or_else(|| {
        let mut values = variables.iter().filter_map(|name| reader.variable(name));
        values.find(|value| !value.is_empty()).map(str::to_owned)
    })
}

fn entra(reader: &mut Reader<'_>) -> Option<Access> {
    let tenant = text_or_variable(reader, &TENANT_ID, &["AZURE_TENANT_ID"]);
    let client = text_or_variable(reader, &CLIENT_ID, &["AZURE_CLIENT_ID"]);
    let keys = SecretKeys {
        env: &CLIENT_SECRET_ENV,
        file: &CLIENT_SECRET_FILE,
        example: "AZURE_CLIENT_SECRET",
    };
    let client_secret =
        secret(reader, &keys).or_else(|| secret_of_variable(reader, "AZURE_CLIENT_SECRET"));
    let token_url = reader.text(&TOKEN_URL);
    let url = tenant.map(|tenant| {
        token_url.unwrap_or_else(|| {
            format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token")
        })
    });
    Some(Access::Entra {
        token_url: url?,
        client_id: client?,
        client_secret: client_secret?,
    })
}

/// A file of credentials, as Google's tools write it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CredentialsFile {
    ServiceAccount {
        client_email: String,
        private_key: String,
        #[serde(default)]
        token_uri: Option<String>,
        #[serde(default)]
        project_id: Option<String>,
    },
    AuthorizedUser {
        client_id: String,
        client_secret: String,
        refresh_token: String,
        #[serde(default)]
        quota_project_id: Option<String>,
    },
}

fn google(reader: &mut Reader<'_>) -> Option<(Access, Option<String>)> {
    let given = text_or_variable(
        reader,
        &CREDENTIALS_FILE,
        &["GOOGLE_APPLICATION_CREDENTIALS"],
    );
    let token_url = reader.text(&TOKEN_URL);
    let Some(path) = given else {
        let host = reader
            .variable("GCE_METADATA_HOST")
            .filter(|host| !host.is_empty())
            .map(|host| METADATA_URL.replace("metadata.google.internal", host));
        let token_url = token_url
            .or(host)
            .unwrap_or_else(|| METADATA_URL.to_owned());
        return Some((Access::GoogleMetadata { token_url }, None));
    };
    let key = reader.path(&CREDENTIALS_FILE);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            reader.report(&key, format!("can't read the file {path}: {error}"));
            return None;
        }
    };
    // The error's text would repeat a part of the file.
    let Ok(file) = serde_json::from_str::<CredentialsFile>(&text) else {
        let problem = format!(
            "the file {path} should be the JSON of a service account or of an authorized user"
        );
        reader.report(&key, problem);
        return None;
    };
    Some(match file {
        CredentialsFile::ServiceAccount {
            client_email,
            private_key,
            token_uri,
            project_id,
        } => {
            let token_url = token_url.or(token_uri);
            let access = Access::GoogleServiceAccount {
                token_url: token_url.unwrap_or_else(|| GOOGLE_TOKEN_URL.to_owned()),
                client_email,
                private_key: Secret::new(private_key),
            };
            (access, project_id)
        }
        CredentialsFile::AuthorizedUser {
            client_id,
            client_secret,
            refresh_token,
            quota_project_id,
        } => {
            let access = Access::GoogleUser {
                token_url: token_url.unwrap_or_else(|| GOOGLE_TOKEN_URL.to_owned()),
                client_id,
                client_secret: Secret::new(client_secret),
                refresh_token: Secret::new(refresh_token),
            };
            (access, quota_project_id)
        }
    })
}

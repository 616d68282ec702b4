//! The place of AWS's keys: the first that is there, in the order of AWS's SDKs.

use super::access::{Access, AwsKeys, AwsSource, ContainerToken, ProfileFiles, WebIdentity};
use super::aws_profile::profile_keys;
use super::key::Default::Said;
use super::key::{Key, Kind};
use super::reader::Reader;
use super::secret::secret_of_variable;

pub(super) const PROFILE: Key = Key::new(
    "profile",
    Kind::Text,
    Said("`AWS_PROFILE`, or `\"default\"`"),
    "`bedrock`: the profile of `~/.aws` whose keys sign the requests; given here, nothing else is tried",
);

/// Where the agent of ECS listens.
const CONTAINER_HOST: &str = "http://169.254.170.2";
/// The hosts besides loopback to which a container's token may go without TLS.
const CONTAINER_HOSTS: &[&str] = &["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
const METADATA: &str = "http://169.254.169.254";
const METADATA_IPV6: &str = "http://[fd00:ec2::254]";
/// The name of a session whose variable is not set.
const SESSION_NAME: &str = "tokenrill";
const DEFAULT_PROFILE: &str = "default";

/// Reads where the keys of a flavor of Bedrock are; `None` if there is no place to look at.
pub(super) fn access(reader: &mut Reader<'_>, region: &str, flavor: &str) -> Option<Access> {
    let given = reader.text(&PROFILE);
    let source = match given {
        Some(name) => {
            let key = reader.path(&PROFILE);
            named_profile(reader, region, &key, name)
        }
        None => found(reader, region),
    };
    Some(Access::Aws {
        region: region.to_owned(),
        service: match flavor {
            "bedrock-mantle" => "bedrock-mantle",
            _ => "bedrock",
        },
        source: source?,
    })
}

/// Returns the first place that there is.
fn found(reader: &mut Reader<'_>, region: &str) -> Option<AwsSource> {
    if let Some(keys) = of_variables(reader) {
        return Some(AwsSource::Keys(keys));
    }
    if let Some(name) = set(reader, "AWS_PROFILE") {
        let section = reader.section().to_owned();
        return named_profile(reader, region, &section, name);
    }
    let profile = profile(reader, region, DEFAULT_PROFILE.to_owned());
    let read = match &profile {
        AwsSource::Profile { name, files, .. } => read_profile(files, name),
        _ => Ok(None),
    };
    if let Ok(Some(())) = read {
        return Some(profile);
    }
    let elsewhere = web_identity(reader, region).or_else(|| container(reader));
    match read {
        // Nobody named the profile, but its owner would look for its keys.
        Err(problem) if elsewhere.is_none() => {
            let section = reader.section().to_owned();
            reader.report(&section, problem);
            None
        }
        _ => elsewhere.or_else(|| metadata(reader)),
    }
}

/// Returns the value of a variable that is set.
fn set(reader: &Reader<'_>, variable: &str) -> Option<String> {
    let value = reader.variable(variable);
    value.filter(|value| !value.is_empty()).map(str::to_owned)
}

fn of_variables(reader: &mut Reader<'_>) -> Option<AwsKeys> {
    Some(AwsKeys {
        access_key_id: set(reader, "AWS_ACCESS_KEY_ID")?,
        secret_access_key: secret_of_variable(reader, "AWS_SECRET_ACCESS_KEY")?,
        session_token: secret_of_variable(reader, "AWS_SESSION_TOKEN"),
    })
}

/// Returns a profile that was named, and reports one that is of no use; `at` is where it was.
fn named_profile(
    reader: &mut Reader<'_>,
    region: &str,
    at: &str,
    name: String,
) -> Option<AwsSource> {
    let source = profile(reader, region, name);
    let AwsSource::Profile { name, files, .. } = &source else {
        return None;
    };
    let problem = match read_profile(files, name) {
        Ok(Some(_)) => return Some(source),
        Ok(None) => format!(
            "there are no keys of the profile `{name}` in {} or {}",
            files.credentials, files.config
        ),
        Err(problem) => problem,
    };
    reader.report(at, problem);
    None
}

fn profile(reader: &Reader<'_>, region: &str, name: String) -> AwsSource {
    let home = set(reader, "HOME").or_else(|| set(reader, "USERPROFILE"));
    let home = home.unwrap_or_default();
    let file = |variable: &str, usual: &str| {
        set(reader, variable).unwrap_or_else(|| format!("{home}/.aws/{usual}"))
    };
    AwsSource::Profile {
        name,
        files: ProfileFiles {
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config: file("AWS_CONFIG_FILE", "config"),
        },
        sts_url: sts_url(reader, region),
    }
}

/// Returns whether the files have keys of a profile. A file that is not there has none.
fn read_profile(files: &ProfileFiles, name: &str) -> Result<Option<()>, String> {
    let text = |path: &str| match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!("can't read the file {path}: {error}")),
    };
    let (credentials, config) = (text(&files.credentials)?, text(&files.config)?);
    Ok(profile_keys(&credentials, &config, name)?.map(|_| ()))
}

fn sts_url(reader: &Reader<'_>, region: &str) -> String {
    let end = match region.starts_with("cn-") {
        true => ".cn",
        false => "",
    };
    let given = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"].map(|name| set(reader, name));
    let given = given.into_iter().flatten().next();
    given.unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com{end}"))
}

fn web_identity(reader: &Reader<'_>, region: &str) -> Option<AwsSource> {
    let session_name = set(reader, "AWS_ROLE_SESSION_NAME");
    Some(AwsSource::WebIdentity {
        identity: WebIdentity {
            token_file: set(reader, "AWS_WEB_IDENTITY_TOKEN_FILE")?,
            role_arn: set(reader, "AWS_ROLE_ARN")?,
            session_name: session_name.unwrap_or_else(|| SESSION_NAME.to_owned()),
        },
        sts_url: sts_url(reader, region),
    })
}

fn container(reader: &mut Reader<'_>) -> Option<AwsSource> {
    let relative = set(reader, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    let full = set(reader, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let url = match (relative, full) {
        (Some(path), _) => format!("{CONTAINER_HOST}{path}"),
        (None, Some(url)) if is_trusted(&url) => url,
        (None, Some(url)) => {
            let section = reader.section().to_owned();
            let problem = format!(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI should begin with https:// or be an address of this machine, not {url}"
            );
            reader.report(&section, problem);
            return None;
        }
        (None, None) => return None,
    };
    let file = set(reader, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    let given = secret_of_variable(reader, "AWS_CONTAINER_AUTHORIZATION_TOKEN");
    let token = match (file, given) {
        (Some(file), _) => ContainerToken::File(file),
        (None, Some(token)) => ContainerToken::Given(token),
        (None, None) => ContainerToken::None,
    };
    Some(AwsSource::Container { url, token })
}

/// Returns whether a container's token may be sent to that address.
fn is_trusted(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return url.starts_with("https://");
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    is_loopback || CONTAINER_HOSTS.contains(&host)
}

fn metadata(reader: &Reader<'_>) -> Option<AwsSource> {
    let is = |variable: &str, word: &str| {
        set(reader, variable).is_some_and(|value| value.eq_ignore_ascii_case(word))
    };
    if is("AWS_EC2_METADATA_DISABLED", "true") {
        return None;
    }
    let usual = match is("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6") {
        true => METADATA_IPV6,
        false => METADATA,
    };
    let given = set(reader, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let endpoint = given.unwrap_or_else(|| usual.to_owned());
    Some(AwsSource::Metadata {
        endpoint: endpoint.trim_end_matches('/').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::is_trusted;

    #[test]
    fn a_containers_token_goes_to_this_machine_or_over_tls() {
        for (url, trusted) in [
            ("https://keys.example/role", true),
            ("http://localhost:51679/role", true),
            ("http://127.0.0.1/role", true),
            ("http://[::1]:80/role", true),
            ("http://169.254.170.23/v1/credentials", true),
            ("http://[fd00:ec2::23]/v1/credentials", true),
            ("http://169.254.170.2.example/role", false),
            ("http://example.org/role", false),
            ("ftp://localhost/role", false),
        ] {
            assert_eq!(is_trusted(url), trusted, "{url}");
        }
    }
}

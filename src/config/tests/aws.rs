//! Where the keys of AWS are looked for, in which order.

use super::super::{Access, AwsSource, ContainerToken};
use super::*;

/// Returns the place of the keys of a provider with these keys, in an environment.
fn source(keys: &str, env: &[(&str, &str)]) -> Result<AwsSource, String> {
    let models = "[[models]]\nname = \"*\"\ntargets = [{ provider = \"p\" }]\n";
    let text =
        format!("[providers.p]\nflavor = \"bedrock\"\nregion = \"eu-west-1\"\n{keys}\n{models}");
    let config = load(&text, env)?;
    match config.providers.into_values().next().unwrap().access {
        Some(Access::Aws { source, .. }) => Ok(source),
        access => Err(format!("no key of AWS: {access:?}")),
    }
}

/// A folder with the files that AWS's tools share.
fn home(credentials: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
    home
}

const KEYS: &str = "aws_access_key_id = A\naws_secret_access_key = secret-12345678\n";

#[test]
fn the_first_place_that_there_is_counts() {
    let home = home(&format!("[default]\n{KEYS}[work]\n{KEYS}"));
    let path = home.path().display().to_string();
    let all = [
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "secret-12345678"),
        ("HOME", &*path),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/keys"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1/"),
    ];
    let from = |skipped: usize| source("", &all[skipped..]).unwrap();
    assert!(matches!(from(0), AwsSource::Keys(_)));
    assert!(matches!(from(2), AwsSource::Profile { name, .. } if name == "default"));
    let role = match from(3) {
        AwsSource::WebIdentity { identity, sts_url } => Some((identity, sts_url)),
        _ => None,
    };
    let (identity, sts_url) = role.unwrap();
    assert_eq!(identity.session_name, "tokenrill");
    assert_eq!(sts_url, "https://sts.eu-west-1.amazonaws.com");
    let agent = match from(5) {
        AwsSource::Container { url, token } => Some((url, token)),
        _ => None,
    };
    let (url, token) = agent.unwrap();
    assert_eq!(url, "http://169.254.170.2/v2/keys");
    assert!(matches!(token, ContainerToken::None));
    let metadata = from(6);
    assert!(
        matches!(&metadata, AwsSource::Metadata { endpoint } if endpoint == "http://127.0.0.1:1"),
        "{metadata:?}"
    );
    assert!(
        matches!(from(7), AwsSource::Metadata { endpoint } if endpoint == "http://169.254.169.254")
    );
    // What the configuration names wins over everything.
    let named = source("profile = \"work\"", &all).unwrap();
    assert!(matches!(named, AwsSource::Profile { name, .. } if name == "work"));
    assert!(!format!("{:?}", from(0)).contains("secret-1"));
}

#[test]
fn a_profile_of_no_use_is_told() {
    let home = home("[default]\nsso_session = corp\n[empty]\nregion = x\n");
    let path = home.path().display().to_string();
    let env = |more: &[(&'static str, &'static str)]| {
        let mut env = vec![("HOME", &*path)];
        env.extend_from_slice(more);
        source("", &env)
    };
    let error = source("profile = \"nobody\"", &[("HOME", &path)]).unwrap_err();
    let wanted = "providers.p.profile: there are no keys of the profile `nobody` in ";
    assert!(error.contains(wanted), "{error}");
    let error = env(&[("AWS_PROFILE", "empty")]).unwrap_err();
    assert!(error.contains("providers.p: there are no keys"), "{error}");
    let error = env(&[]).unwrap_err();
    assert!(
        error.contains("the profile `default` has `sso_session`"),
        "{error}"
    );
    // It is not in the way of what was set.
    let pod = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ("AWS_ROLE_ARN", "arn"),
    ];
    assert!(matches!(env(&pod), Ok(AwsSource::WebIdentity { .. })));
}

#[test]
fn a_token_is_not_sent_to_just_anyone() {
    let env = [(
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "http://example.org/keys",
    )];
    let error = source("", &env).unwrap_err();
    assert!(error.contains("should begin with https://"), "{error}");
}

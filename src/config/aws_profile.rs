//! Profiles in the files that AWS's tools share: `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;

use super::Secret;
use super::access::{AwsKeys, WebIdentity};

/// Settings by which a profile has its keys from elsewhere, in ways that are not known here.
const OTHER_WAYS: &[&str] = &[
    "source_profile",
    "credential_source",
    "sso_session",
    "sso_start_url",
    "login_session",
    "credential_process",
];

/// The keys of a profile.
#[derive(Debug, Clone)]
pub enum ProfileKeys {
    /// It has them.
    Keys(AwsKeys),
    /// It takes a role.
    WebIdentity(WebIdentity),
}

/// The settings of a profile.
type Settings<'a> = BTreeMap<&'a str, &'a str>;

/// Returns the keys of a profile out of the texts of both files; `None` if it has none.
///
/// # Errors
///
/// When it has its keys in a way that is not known here; the error names the setting.
pub fn profile_keys(
    credentials: &str,
    config: &str,
    name: &str,
) -> Result<Option<ProfileKeys>, String> {
    let in_config = match name {
        "default" => vec!["default".to_owned(), "profile default".to_owned()],
        name => vec![format!("profile {name}")],
    };
    let mut all = Settings::new();
    for section in &in_config {
        all.extend(settings(config, section));
    }
    // The file of keys wins.
    all.extend(settings(credentials, name));
    let text = |name: &str| all.get(name).map(|value| (*value).to_owned());
    if let (Some(role_arn), Some(token_file)) = (text("role_arn"), text("web_identity_token_file"))
    {
        let session_name = text("role_session_name");
        return Ok(Some(ProfileKeys::WebIdentity(WebIdentity {
            token_file,
            role_arn,
            session_name: session_name.unwrap_or_else(|| "tokenrill".to_owned()),
        })));
    }
    // A role is taken with keys that may stand beside it.
    let other = OTHER_WAYS.iter().find(|way| all.contains_key(*way));
    let keys = text("aws_access_key_id").zip(text("aws_secret_access_key"));
    match (keys, other) {
        (Some((access_key_id, secret)), _) if !all.contains_key("role_arn") => {
            let token = text("aws_session_token").filter(|token| !token.is_empty());
            Ok(Some(ProfileKeys::Keys(AwsKeys {
                access_key_id,
                secret_access_key: Secret::new(secret),
                session_token: token.map(Secret::new),
            })))
        }
        (_, Some(way)) => Err(format!(
            "the profile `{name}` has `{way}`, by which no keys are found here; give it \
             `aws_access_key_id` and `aws_secret_access_key`, or a role with `web_identity_token_file`"
        )),
        (_, None) => Ok(None),
    }
}

/// Returns the settings of a section. Lines that are indented belong to a setting of several
/// values, none of which is wanted.
fn settings<'a>(text: &'a str, section: &str) -> Settings<'a> {
    let mut found = Settings::new();
    let mut is_inside = false;
    for line in text.lines() {
        if line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            let name = head.split(']').next().unwrap_or_default();
            is_inside = name
                .split_ascii_whitespace()
                .eq(section.split_ascii_whitespace());
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_inside) {
            let value = value.split(" #").next().unwrap_or_default();
            let value = value.split(" ;").next().unwrap_or_default();
            found.insert(name.trim(), value.trim());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const CREDENTIALS: &str = "# mine\n[default]\naws_access_key_id = AKID1\naws_secret_access_key=secret-1\n\n\
        [work]\naws_access_key_id=AKID2 ; the second\naws_secret_access_key = secret/2=\naws_session_token = token-2\n";
    const CONFIG: &str = "[default]\nregion = eu-west-1\ns3 =\n  aws_access_key_id = no\n[profile  sso]\nsso_session = corp\n\
        [profile pod]\nrole_arn = arn:r\nweb_identity_token_file = /t\n[profile chained]\nrole_arn = arn:r\nsource_profile = work\n\
        [profile bare]\nregion = us-east-1\n[work]\naws_access_key_id = no\n";

    fn keys(name: &str) -> Option<(String, String, Option<String>)> {
        match profile_keys(CREDENTIALS, CONFIG, name).unwrap()? {
            ProfileKeys::Keys(keys) => Some((
                keys.access_key_id,
                keys.secret_access_key.expose().to_owned(),
                keys.session_token.map(|token| token.expose().to_owned()),
            )),
            ProfileKeys::WebIdentity(_) => None,
        }
    }

    #[test]
    fn keys_stand_in_either_file() {
        let owned = |id: &str, key: &str, token: Option<&str>| {
            Some((id.to_owned(), key.to_owned(), token.map(str::to_owned)))
        };
        assert_eq!(keys("default"), owned("AKID1", "secret-1", None));
        assert_eq!(keys("work"), owned("AKID2", "secret/2=", Some("token-2")));
        assert_eq!(keys("bare"), None);
        assert_eq!(keys("none"), None);
        let config = "[profile p]\naws_access_key_id=A\naws_secret_access_key=S\n";
        assert!(matches!(
            profile_keys("", config, "p"),
            Ok(Some(ProfileKeys::Keys(_)))
        ));
    }

    #[test]
    fn a_role_is_taken_with_a_token_alone() {
        let identity = match profile_keys(CREDENTIALS, CONFIG, "pod").unwrap() {
            Some(ProfileKeys::WebIdentity(identity)) => Some(identity),
            _ => None,
        };
        let identity = identity.unwrap();
        assert_eq!(identity.role_arn, "arn:r");
        assert_eq!(identity.token_file, "/t");
        for (name, way) in [("sso", "sso_session"), ("chained", "source_profile")] {
            let problem = profile_keys(CREDENTIALS, CONFIG, name).unwrap_err();
            assert!(problem.contains(&format!("`{way}`")), "{problem}");
        }
    }
}

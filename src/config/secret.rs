//! Secrets: a key names the variable or the file that holds one, and no error repeats it.

use http::HeaderValue;
use secrecy::SecretString;

use super::Secret;
use super::key::Key;
use super::reader::Reader;

/// The two keys that name the place of a secret.
pub(super) struct SecretKeys<'a> {
    pub(super) env: &'a Key,
    pub(super) file: &'a Key,
    /// A variable to give as an example in errors.
    pub(super) example: &'a str,
}

/// Reads a secret from the variable or the file that one of two keys names.
pub(super) fn secret(reader: &mut Reader<'_>, keys: &SecretKeys<'_>) -> Option<Secret> {
    let (env, file) = (reader.path(keys.env), reader.path(keys.file));
    let (key, secret, whence) = match (reader.text(keys.env), reader.text(keys.file)) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            let other = keys.env.path.rsplit('.').next().unwrap_or_default();
            reader.report(&file, format!("stands beside {other}; give one of the two"));
            return None;
        }
        (Some(variable), None) => match reader.variable(&variable) {
            Some(secret) => {
                let whence = format!("the environment variable {variable}");
                (env, secret.to_owned(), whence)
            }
            None => {
                reader.report(&env, unset_variable(&variable, keys.example));
                return None;
            }
        },
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            Ok(secret) => (file, secret, format!("the key file {path}")),
            Err(error) => {
                reader.report(&file, format!("can't read the key file {path}: {error}"));
                return None;
            }
        },
    };
    checked(reader, &key, &secret, &whence)
}

/// Reads a secret from a variable that has this name everywhere; none if it isn't set.
pub(super) fn secret_of_variable(reader: &mut Reader<'_>, variable: &str) -> Option<Secret> {
    let secret = reader.variable(variable).filter(|text| !text.is_empty())?;
    let section = reader.section().to_owned();
    let whence = format!("the environment variable {variable}");
    checked(reader, &section, secret, &whence)
}

fn checked(reader: &mut Reader<'_>, key: &str, secret: &str, whence: &str) -> Option<Secret> {
    let secret = secret.trim();
    if secret.is_empty() {
        reader.report(key, format!("{whence} is empty"));
        return None;
    }
    if HeaderValue::from_str(secret).is_err() {
        let problem = "contains characters that are not allowed in an HTTP header";
        reader.report(key, format!("{whence} {problem}"));
        return None;
    }
    Some(Secret(SecretString::from(secret)))
}

/// Returns the error for a variable that is not set. It repeats only what looks like a variable's
/// name: a key that was pasted there by mistake must not get into a log.
fn unset_variable(variable: &str, example: &str) -> String {
    let is_name = variable.len() <= 64
        && variable.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
        && variable
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if is_name {
        return format!("the environment variable {variable} is not set");
    }
    format!(
        "the environment variable that it names is not set; it should be a name, such as \"{example}\", \
         and not the key itself"
    )
}

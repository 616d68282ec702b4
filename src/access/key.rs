//! The form of a client's key: `trk_<id>_<secret><checksum>`.
//!
//! The prefix is what scanners for secrets look for, the id is what a key is called by, and the
//! checksum refuses typing errors before anything is looked up.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

use crate::config::KeyDigest;

const PREFIX: &str = "trk_";
const ID_LENGTH: usize = 12;
/// Letters and digits of the secret: 256 bits.
const SECRET_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The largest multiple of the alphabet's length that a byte can be below: no letter is likelier
/// than another.
const FAIR_BYTES: u8 = 248;

/// A key of a client. Neither `Debug` nor an error shows it.
///
/// ```
/// use tokenrill::access::ApiKey;
///
/// let key = ApiKey::generate().unwrap();
/// let again: ApiKey = key.expose().parse().unwrap();
/// assert_eq!(again.id(), key.id());
/// assert!(again.digest().matches(&key.digest()));
/// assert!(!format!("{key:?}").contains(key.expose()));
/// ```
#[derive(Clone)]
pub struct ApiKey(SecretString);

/// The error of a text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// It has another form.
    #[error("a key of this server begins with `trk_` and has 66 characters")]
    Form,
    /// Its checksum is another.
    #[error("its checksum is wrong: a character is missing or mistyped")]
    Checksum,
}

impl ApiKey {
    /// Returns a new key.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Self::with_id(&random_text(ID_LENGTH)?)
    }

    /// Returns a new key with an id that was another's.
    ///
    /// # Errors
    ///
    /// When the operating system has no randomness.
    pub fn with_id(id: &str) -> Result<Self, getrandom::Error> {
        let secret = random_text(SECRET_LENGTH)?;
        let mut text = format!("{PREFIX}{id}_{secret}");
        text += &checksum(&text);
        Ok(Self(SecretString::from(text)))
    }

    /// Returns the key itself, to be shown to its holder once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the id, which is no secret.
    #[must_use]
    pub fn id(&self) -> &str {
        let rest = self.expose().get(PREFIX.len()..).unwrap_or_default();
        rest.get(..ID_LENGTH).unwrap_or_default()
    }

    /// Returns the digest.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.expose())
    }
}

impl FromStr for ApiKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        let rest = text.strip_prefix(PREFIX).ok_or(ParseKeyError::Form)?;
        let (id, rest) = rest.split_once('_').ok_or(ParseKeyError::Form)?;
        let is_text = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if id.len() != ID_LENGTH
            || rest.len() != SECRET_LENGTH + CHECKSUM_LENGTH
            || !is_text(id)
            || !is_text(rest)
        {
            return Err(ParseKeyError::Form);
        }
        let (checked, sum) = text.split_at(text.len() - CHECKSUM_LENGTH);
        match checksum(checked) == sum {
            true => Ok(Self(SecretString::from(text))),
            false => Err(ParseKeyError::Checksum),
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({PREFIX}{}_…)", self.id())
    }
}

/// Returns the CRC-32 of a text in base 62, the highest digit first.
fn checksum(text: &str) -> String {
    let mut sum = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CHECKSUM_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(sum % 62) as usize];
        sum /= 62;
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

/// Returns letters and digits by chance.
fn random_text(length: usize) -> Result<String, getrandom::Error> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)?;
        let fair = bytes.iter().filter(|byte| **byte < FAIR_BYTES);
        let letters = fair.map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(letters.take(length - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_key_has_its_form_and_no_other_passes() {
        let key = ApiKey::generate().unwrap();
        let text = key.expose();
        assert_eq!(text.len(), 66);
        assert_eq!(text.get(..4), Some("trk_"));
        assert_eq!(key.id().len(), 12);
        for wrong in [
            "",
            "trk_",
            "sk-1",
            &text[1..],
            &format!("{text}a"),
            &text[..65],
        ] {
            assert_eq!(wrong.parse::<ApiKey>().unwrap_err(), ParseKeyError::Form);
        }
    }

    #[test]
    fn every_mistyped_character_is_seen_by_the_checksum() {
        let text = ApiKey::generate().unwrap().expose().to_owned();
        for at in (4..16).chain(17..66) {
            let mut typed = text.clone().into_bytes();
            typed[at] = if typed[at] == b'x' { b'y' } else { b'x' };
            let typed = String::from_utf8(typed).unwrap();
            assert_eq!(
                typed.parse::<ApiKey>().unwrap_err(),
                ParseKeyError::Checksum
            );
        }
    }

    #[test]
    fn the_checksum_is_that_of_the_published_form() {
        // The CRC-32 of this text is 0xCBF43926 everywhere.
        assert_eq!(checksum("123456789"), "3jZRME");
    }

    #[test]
    fn keys_differ_and_are_not_shown() {
        let (one, other) = (ApiKey::generate().unwrap(), ApiKey::generate().unwrap());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(format!("{one:?}"), format!("ApiKey(trk_{}_…)", one.id()));
        let rotated = ApiKey::with_id(one.id()).unwrap();
        assert_eq!(rotated.id(), one.id());
        assert!(!rotated.digest().matches(&one.digest()));
    }
}

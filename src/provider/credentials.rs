//! The credentials that are sent to an upstream, and how they are cut out of what it answers: some
//! upstreams repeat the key that they refuse, in a body, a header or an event.
//!
//! A key is cut out of everything. The values of other headers that the configuration adds are cut
//! out of error bodies only: they may be words that a model says (an address, a title).

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use memchr::memmem::{self, Finder};

/// Length of the shortest credential that is looked for, in bytes. A shorter one would be found in
/// ordinary text.
pub(crate) const MIN_CREDENTIAL_LENGTH: usize = 8;
/// Stands where a credential was.
const REDACTED: &[u8] = b"***";
/// Schemes that stand before the credential in a header's value.
const SCHEMES: [&str; 4] = ["bearer", "basic", "token", "apikey"];
/// Parts of the name of a header whose value is a key.
const KEY_NAMES: [&str; 5] = ["auth", "key", "token", "secret", "cookie"];

/// The credentials of one upstream.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    keys: Vec<Credential>,
    others: Vec<Credential>,
}

impl Credentials {
    /// Takes the credentials from the headers of every request.
    pub(super) fn from_headers(headers: &HeaderMap) -> Self {
        let mut credentials = Self::default();
        for (name, value) in headers.iter().filter(|(_, value)| value.is_sensitive()) {
            let is_key = KEY_NAMES.iter().any(|part| name.as_str().contains(part));
            if let Some(credential) = Credential::new(&String::from_utf8_lossy(value.as_bytes())) {
                let list = if is_key {
                    &mut credentials.keys
                } else {
                    &mut credentials.others
                };
                list.push(credential);
            }
        }
        credentials
    }

    /// Takes credentials that are sent in a body.
    pub(super) fn from_secrets<'a>(secrets: impl Iterator<Item = &'a str>) -> Self {
        Self {
            keys: secrets.filter_map(Credential::new).collect(),
            others: Vec::new(),
        }
    }

    /// Cuts the keys out of an answer, or of a part of it. What has none is returned as it is.
    #[inline]
    pub(super) fn redact(&self, bytes: Bytes) -> Bytes {
        if self.keys.iter().any(|key| key.is_in(&bytes)) {
            redact_all(&self.keys, &bytes)
        } else {
            bytes
        }
    }

    /// Cuts all credentials out of an error body.
    pub(super) fn redact_error(&self, body: Bytes) -> Bytes {
        let body = self.redact(body);
        if self.others.iter().any(|other| other.is_in(&body)) {
            redact_all(&self.others, &body)
        } else {
            body
        }
    }

    /// Cuts all credentials out of a header's value.
    pub(super) fn redact_header(&self, value: &HeaderValue) -> HeaderValue {
        let mut credentials = self.keys.iter().chain(&self.others);
        if !credentials.any(|credential| credential.is_in(value.as_bytes())) {
            return value.clone();
        }
        let redacted = self.redact_error(Bytes::copy_from_slice(value.as_bytes()));
        HeaderValue::from_maybe_shared(redacted).unwrap_or_else(|_| HeaderValue::from_static("***"))
    }
}

/// A credential, and the ways in which it may be written.
struct Credential {
    /// Finds a part that every spelling has, or each spelling.
    finders: Vec<Finder<'static>>,
    spellings: Vec<Vec<u8>>,
}

impl Credential {
    /// Takes a credential from a header's value; `None` if it is too short to be looked for.
    fn new(value: &str) -> Option<Self> {
        let key = match value.split_once(' ') {
            Some((scheme, key)) if SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) => key,
            _ => value,
        };
        if key.len() < MIN_CREDENTIAL_LENGTH {
            return None;
        }
        let mut spellings = vec![key.to_owned(), json_escaped(key)];
        spellings.push(spellings[1].replace('/', "\\/"));
        // No escaping touches these characters: what is left of a spelling that is not known.
        let plain = key
            .split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))
            .max_by_key(|part| part.len())
            .filter(|part| part.len() >= MIN_CREDENTIAL_LENGTH);
        let finder = |text: &str| Finder::new(text).into_owned();
        let finders = match plain {
            Some(plain) => vec![finder(plain)],
            None => spellings.iter().map(|text| finder(text)).collect(),
        };
        spellings.extend(plain.map(str::to_owned));
        spellings.dedup();
        Some(Self {
            finders,
            spellings: spellings.into_iter().map(String::into_bytes).collect(),
        })
    }

    #[inline]
    fn is_in(&self, bytes: &[u8]) -> bool {
        self.finders
            .iter()
            .any(|finder| finder.find(bytes).is_some())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(***)")
    }
}

/// Returns a text as it stands in a JSON string.
fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cold]
fn redact_all(credentials: &[Credential], bytes: &[u8]) -> Bytes {
    let mut redacted = Cow::Borrowed(bytes);
    for spelling in credentials
        .iter()
        .flat_map(|credential| &credential.spellings)
    {
        redacted = Cow::Owned(replace_all(&redacted, spelling));
    }
    redacted.into_owned().into()
}

fn replace_all(bytes: &[u8], spelling: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = 0;
    for at in memmem::find_iter(bytes, spelling) {
        replaced.extend_from_slice(&bytes[rest..at]);
        replaced.extend_from_slice(REDACTED);
        rest = at + spelling.len();
    }
    replaced.extend_from_slice(&bytes[rest..]);
    replaced
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn credentials(headers: &[(&'static str, &str)]) -> Credentials {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).unwrap();
            value.set_sensitive(true);
            map.insert(*name, value);
        }
        Credentials::from_headers(&map)
    }

    fn redacted(key: &str, text: &str) -> String {
        let credentials = credentials(&[("authorization", &format!("Bearer {key}"))]);
        let redacted = credentials.redact(Bytes::copy_from_slice(text.as_bytes()));
        String::from_utf8(redacted.to_vec()).unwrap()
    }

    #[test]
    fn a_key_is_cut_out_wherever_it_stands_and_nothing_else_is_copied() {
        let key = "sk-up-secret-123456";
        assert_eq!(redacted(key, &format!("{key}, {key}")), "***, ***");
        assert_eq!(redacted(key, "sk-up-secret-1234"), "sk-up-secret-1234");
        let bytes = Bytes::from_static(b"nothing of the kind");
        let kept = credentials(&[("x-api-key", key)]).redact(bytes.clone());
        assert_eq!(kept.as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn a_key_is_found_as_json_escapes_it() {
        let key = "ab/cd+ef/gh\"ij";
        assert_eq!(redacted(key, "ab/cd+ef/gh\\\"ij"), "***");
        assert_eq!(redacted(key, "ab\\/cd+ef\\/gh\\\"ij"), "***");
        // Of an escape that is not known the longest plain part goes.
        assert_eq!(
            redacted("a+0123456789", "a\\u002b0123456789"),
            "a\\u002b***"
        );
    }

    #[test]
    fn a_short_key_is_not_looked_for() {
        assert_eq!(redacted("1234567", "a key: 1234567"), "a key: 1234567");
    }

    #[test]
    fn another_header_is_cut_out_of_errors_and_not_of_answers() {
        let credentials = credentials(&[("x-title", "tokenrill"), ("x-secret", "canary-secret")]);
        let text = Bytes::from_static(b"tokenrill canary-secret");
        assert_eq!(credentials.redact(text.clone()), "tokenrill ***");
        assert_eq!(credentials.redact_error(text), "*** ***");
        let header = HeaderValue::from_static("id of tokenrill");
        assert_eq!(credentials.redact_header(&header), "id of ***");
    }
}

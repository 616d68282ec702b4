//! Ids that this server gives out, unguessable where a guess would be worth something. Not for ids
//! of streams, which have their own rules (`stream::id`).

use std::fmt;

/// The id of a request, in every line of the log and in the `x-request-id` header of every
/// response.
///
/// ```
/// use base::id::RequestId;
///
/// assert!(RequestId::random().as_str().starts_with("req_"));
/// let own = RequestId::from_client(b"job-17.step_2");
/// assert_eq!(own.map(|id| id.to_string()).as_deref(), Some("job-17.step_2"));
/// assert!(RequestId::from_client(b"two\nlines").is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Box<str>);

/// The longest id that is taken from a client, in bytes.
const MAX_CLIENT_ID_BYTES: usize = 128;

impl RequestId {
    /// Returns a new id: `req_` and 128 random bits as hex digits.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("req_{}", random_hex()).into())
    }

    /// Takes over a client's own id if it is 1 to 128 characters of `[A-Za-z0-9._-]`, which can
    /// forge neither a line of the log nor a header.
    #[must_use]
    pub fn from_client(value: &[u8]) -> Option<Self> {
        let fine = (1..=MAX_CLIENT_ID_BYTES).contains(&value.len())
            && value
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        fine.then(|| Self(String::from_utf8_lossy(value).into()))
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns 128 random bits from the operating system.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "a machine without randomness can hand out no id that is safe to use"
)]
pub fn random_bits() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// Returns 128 random bits as 32 hex digits.
///
/// ```
/// assert_eq!(base::id::random_hex().len(), 32);
/// ```
#[must_use]
pub fn random_hex() -> String {
    format!("{:032x}", u128::from_be_bytes(random_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_brings_its_own_id_when_it_is_harmless() {
        assert_eq!(
            RequestId::from_client(b"abc-1.2_3").map(|id| id.to_string()),
            Some("abc-1.2_3".into())
        );
        for bad in [&b""[..], b"a b", b"a\nb", "é".as_bytes(), &[b'a'; 129]] {
            assert_eq!(RequestId::from_client(bad), None);
        }
    }

    #[test]
    fn random_ids_differ() {
        assert_ne!(RequestId::random(), RequestId::random());
        assert_eq!(RequestId::random().as_str().len(), 36);
    }
}

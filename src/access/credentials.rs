//! The credentials in a request: the headers in which clients of every API send their keys.

use http::HeaderMap;
use http::header::HeaderValue;

/// The headers in which clients of every API send their keys.
pub const CREDENTIAL_HEADERS: &[&str] =
    &["authorization", "x-api-key", "x-goog-api-key", "api-key"];

/// The beginning of every key.
const OUR_PREFIX: &str = "trk_";

/// Takes the credentials out of a request's headers: none of them is any business of an upstream's.
/// Returns the one that looks like a key of this server, or else the first: some clients send a
/// placeholder beside it. `in_query` is one that the query had.
pub(super) fn take_credential(headers: &mut HeaderMap, in_query: Option<String>) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    for name in CREDENTIAL_HEADERS {
        found.extend(headers.get_all(*name).iter().map(key_of));
        headers.remove(*name);
    }
    found.extend(in_query);
    found.retain(|text| !text.is_empty());
    let ours = found.iter().position(|text| text.starts_with(OUR_PREFIX));
    (!found.is_empty()).then(|| found.swap_remove(ours.unwrap_or(0)))
}

/// Returns whether a request has any credentials.
#[must_use]
pub fn has_credentials(headers: &HeaderMap) -> bool {
    let mut names = CREDENTIAL_HEADERS.iter();
    names.any(|name| headers.contains_key(*name))
}

/// Returns a header's value without its scheme, whose name has any case (RFC 9110, 11.1).
fn key_of(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    let text = text.trim();
    let key = match text.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim_start(),
        _ => text,
    };
    key.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    #[test]
    fn a_key_of_ours_goes_before_a_placeholder_and_all_are_taken_out() {
        let mut headers = headers(&[
            ("authorization", "Bearer sk-placeholder"),
            ("x-api-key", "trk_1"),
            ("accept", "*/*"),
        ]);
        let found = take_credential(&mut headers, Some("trk_2".to_owned()));
        assert_eq!(found.as_deref(), Some("trk_1"));
        assert_eq!(headers.len(), 1);
    }

    #[test]
    fn the_scheme_has_any_case_and_need_not_be_there() {
        for value in ["bearer trk_1", "BEARER  trk_1", "trk_1"] {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_static(value));
            let found = take_credential(&mut headers, None);
            assert_eq!(found.as_deref(), Some("trk_1"), "{value}");
        }
        assert_eq!(
            take_credential(&mut HeaderMap::new(), Some(String::new())),
            None
        );
    }
}

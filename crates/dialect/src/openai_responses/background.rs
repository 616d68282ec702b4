//! A response that its upstream makes in the background, and streams to whoever asks for it: again
//! from any event on.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::json::{OrderedFields, object, with_fields};

/// The place of an event in the stream of a response.
#[derive(Debug, PartialEq, Eq)]
pub struct EventPlace<'a> {
    /// Its number.
    pub number: u64,
    /// The id of the response, in an event that has all of it.
    pub response_id: Option<Cow<'a, str>>,
    /// Set if nothing follows it.
    pub is_last: bool,
}

/// The fields of an event by which its place is known.
#[derive(Deserialize)]
struct PlacedEvent<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    sequence_number: u64,
    #[serde(borrow)]
    response: Option<IdentifiedResponse<'a>>,
}

#[derive(Deserialize)]
struct IdentifiedResponse<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// Returns the place of an event; `None` if it does not say it.
///
/// ```
/// use dialect::openai_responses::event_place;
///
/// let delta = br#"{"type":"response.output_text.delta","sequence_number":4,"delta":"x"}"#;
/// assert_eq!(event_place(delta).map(|place| place.number), Some(4));
/// assert_eq!(event_place(b"[DONE]"), None);
/// ```
#[must_use]
pub fn event_place(payload: &[u8]) -> Option<EventPlace<'_>> {
    let event: PlacedEvent<'_> = serde_json::from_slice(payload).ok()?;
    let is_last = matches!(
        &*event.kind,
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled"
    );
    Some(EventPlace {
        number: event.sequence_number,
        response_id: event.response.map(|response| response.id),
        is_last,
    })
}

/// Returns a request's body so that its upstream makes the response in the background; `None` for
/// one that is not to be stored. `is_own` says that the client wrote it.
///
/// # Errors
///
/// Never for a body that is an object.
pub fn in_background(body: &Bytes, is_own: bool) -> Result<Option<Bytes>, Failure> {
    let OrderedFields(fields) =
        serde_json::from_slice(body).map_err(|error| Failure::internal(error.into()))?;
    let is_kept_out =
        |(name, value): &(String, &RawValue)| name == "store" && value.get() == "false";
    if is_own && fields.iter().any(is_kept_out) {
        return Ok(None);
    }
    let changes = [("background", Some("true")), ("store", Some("true"))];
    with_fields(body, &changes).map(Some)
}

/// Returns an event whose response says that it is not made in the background; `None` if it has no
/// response that says so.
#[must_use]
pub fn in_foreground(payload: &[u8]) -> Option<Bytes> {
    memchr::memmem::find(payload, b"\"background\"")?;
    let OrderedFields(event) = serde_json::from_slice(payload).ok()?;
    let (_, response) = event.iter().find(|(name, _)| name == "response")?;
    let OrderedFields(fields) = serde_json::from_str(response.get()).ok()?;
    let says_so =
        |(name, value): &(String, &RawValue)| name == "background" && value.get() == "true";
    fields.iter().find(|field| says_so(field))?;
    let fields = fields.iter().map(|field| match says_so(field) {
        true => (field.0.as_str(), "false"),
        false => (field.0.as_str(), field.1.get()),
    });
    let response = object(fields);
    let response = std::str::from_utf8(&response).ok()?;
    let event = event.iter().map(|(name, value)| match name == "response" {
        true => (name.as_str(), response),
        false => (name.as_str(), value.get()),
    });
    Some(object(event))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_the_response_itself_says_that_it_is_in_the_background() {
        let event = |background: &str| {
            format!(
                r#"{{"type":"response.created","response":{{"id":"r","background":{background},"tools":[{{"background":true}}]}},"sequence_number":0}}"#
            )
        };
        let shown = in_foreground(event("true").as_bytes()).unwrap();
        assert_eq!(shown, event("false"));
        assert_eq!(in_foreground(event("false").as_bytes()), None);
        let delta = br#"{"type":"x.delta","delta":"\"background\":true"}"#;
        assert_eq!(in_foreground(delta), None);
    }

    #[test]
    fn what_its_client_does_not_want_stored_is_not_made_in_the_background() {
        let body = Bytes::from(r#"{"store":false,"input":"x"}"#);
        assert_eq!(in_background(&body, true).unwrap(), None);
        let wanted = r#"{"input":"x","background":true,"store":true}"#;
        assert_eq!(in_background(&body, false).unwrap().unwrap(), wanted);
        let silent = Bytes::from(r#"{"input":"x"}"#);
        assert_eq!(in_background(&silent, true).unwrap().unwrap(), wanted);
    }
}

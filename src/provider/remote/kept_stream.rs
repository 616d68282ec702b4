//! The stream of an upstream that keeps it for a while, as this server does with a linger: each
//! event has an id, and whoever names the last one gets what follows.

use std::time::Duration;

use bytes::Bytes;
use dialect::failure::Failure;
use dialect::sse;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::asking::{Asking, path_segment, without_ids};
use crate::provider::upstream::{Cancellation, RecognizedBody, Resumption};

/// The header of a response that names its stream.
const STREAM_ID: HeaderName = HeaderName::from_static("x-stream-id");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The longest id of an event, in bytes.
const MAX_EVENT_ID_BYTES: usize = 256;
/// The versions with which a base address may end. Streams have their own.
const VERSIONS: [&str; 2] = ["/v1", "/v1beta"];

/// A stream that its upstream keeps.
#[derive(Debug)]
pub(super) struct KeptStream {
    asking: Asking,
    /// The address of the stream.
    url: String,
    /// The id of the last event that was read.
    last: Option<HeaderValue>,
}

impl KeptStream {
    /// Returns the stream that a response names; `None` if it names none.
    pub(super) fn of(headers: &HeaderMap, asking: Asking) -> Option<Self> {
        let id = headers.get(STREAM_ID)?.to_str().ok()?;
        let base = asking.options.base_url.as_str();
        let root = VERSIONS
            .iter()
            .find_map(|version| base.strip_suffix(version));
        let url = format!("{}/v1/stream/{}", root.unwrap_or(base), path_segment(id)?);
        Some(Self {
            asking,
            url,
            last: None,
        })
    }
}

impl Resumption for KeptStream {
    fn note(&mut self, run: Bytes) -> Result<Bytes, Failure> {
        let last = sse::frames(&run).filter_map(|frame| frame.id).last();
        if let Some(id) = last {
            let id = Some(id).filter(|id| id.len() <= MAX_EVENT_ID_BYTES);
            self.last = id.and_then(|id| HeaderValue::from_bytes(id).ok());
        }
        Ok(without_ids(&run))
    }

    fn reopen(&mut self, pause: Duration) -> Option<RecognizedBody> {
        let last = self.last.clone()?;
        let (asking, url) = (self.asking.clone(), self.url.clone());
        Some(Box::pin(async move {
            tokio::time::sleep(pause).await;
            asking.stream(url, Some((LAST_EVENT_ID, last))).await
        }))
    }

    fn cancel(&mut self) -> Option<Cancellation> {
        let asking = self.asking.clone();
        let url = format!("{}/cancel", self.url);
        Some(Box::pin(asking.tell(Method::POST, url)))
    }
}

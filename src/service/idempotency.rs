//! Opening the stream that a generation writes, once for all requests under one idempotency key.

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use super::Service;
use super::attach::stream_failure;
use super::context::RequestContext;
use super::start::RoutedRequest;
use dialect::failure::Failure;
use dialect::plain::TextEncoding;
use dialect::sse;
use stream::{Head, IdempotencyKey, IdempotentCreate, Lifetime, Owner, StreamId, Writer};

/// The header under which a client may send a request again without asking again, per
/// [the IETF's draft](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The stream of a generation.
pub(super) enum StreamSlot {
    /// A new one.
    New(Writer),
    /// The one of an earlier request under the same key: it has been written, or is being.
    Old(StreamId),
}

/// Opens the stream of a generation.
pub(super) async fn open_stream(
    service: &Service,
    routed: &RoutedRequest,
    context: &RequestContext,
) -> Result<StreamSlot, Failure> {
    let mut head = Head::new(sse::MEDIA_TYPE, Lifetime::Idle(service.streaming.ttl));
    head.dialect = Some(routed.dialect.name.to_owned());
    head.model = Some(routed.model.clone());
    head.background = routed.request.background;
    head.owner = context.caller.owner().cloned();
    let id = StreamId::random();
    let of_ticket = context.caller.ticket_name();
    let sent = context.headers.get(IDEMPOTENCY_KEY);
    let key = of_ticket.as_ref().map(String::as_bytes);
    let Some(key) = key.or(sent.map(HeaderValue::as_bytes)) else {
        let opened = service.streams.write(&id, head);
        return opened.map(StreamSlot::New).map_err(stream_failure);
    };
    let owner = head.owner.as_ref().map_or("", Owner::as_str);
    let key = digest([owner.as_bytes(), routed.route.as_bytes(), key]);
    let size = routed.as_sent.iter().map(Bytes::len).sum();
    let (as_sent, encoding) = (routed.as_sent.clone(), context.preferences.encoding);
    let asked = move || request_digest(&as_sent, encoding);
    let asked = service.compute.run(size, asked).await?;
    let key = IdempotencyKey { key, asked };
    let opened = service.streams.write_once(&id, head, key).await;
    match opened.map_err(stream_failure)? {
        IdempotentCreate::Created(writer) => {
            context.caller.begin_stream(writer.log().id());
            Ok(StreamSlot::New(writer))
        }
        IdempotentCreate::Duplicate(id) => {
            // At another replica.
            context.caller.begin_stream(&id);
            Ok(StreamSlot::Old(id))
        }
        IdempotentCreate::Conflict => Err(Failure::conflict(
            "this idempotency-key has been used for another request".to_owned(),
        )),
    }
}

/// Returns a digest of what a request asks for.
fn request_digest(as_sent: &[Bytes], encoding: TextEncoding) -> String {
    let encoding: &[u8] = match encoding {
        TextEncoding::Text => b"text",
        TextEncoding::Json => b"json",
    };
    let parts = as_sent.iter().map(AsRef::as_ref);
    digest(std::iter::once(encoding).chain(parts))
}

/// Returns a digest of those parts and of where each ends.
fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    format!("{:x}", digest.finalize())
}

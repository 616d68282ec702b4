//! Asks for a streamed answer, and for one of which the rest can be asked for again if it breaks.

use std::sync::Arc;

use dialect::failure::Failure;

use super::asking::Asking;
use super::background::{BackgroundResponse, open_or_cancel, read_response_id};
use super::kept_stream::KeptStream;
use super::request::BuiltRequest;
use super::{build_request, exchange, headers};
use crate::config::ResumeBy;
use crate::provider::credentials::Credentials;
use crate::provider::upstream::{ResumableStream, Resumption};
use crate::provider::{Opened, StreamSource, UpstreamRequest};

/// Sends a request. Resolves when the upstream has accepted it.
pub(super) async fn open(
    asking: Asking,
    call: UpstreamRequest,
) -> Result<Opened<StreamSource>, Failure> {
    // The request's memory is free once the upstream has it.
    let _permit = call.permit.clone();
    let is_shown = call.request.background;
    let (built, credentials) = build_request(&asking.options, &asking.credentials, call).await?;
    let resume = built.resume;
    let sending = send(asking.clone(), (built, credentials), is_shown);
    match resume {
        Some(ResumeBy::Background) => open_or_cancel(&asking, sending).await,
        Some(ResumeBy::Stream) | None => sending.await,
    }
}

async fn send(
    asking: Asking,
    (built, credentials): (BuiltRequest, Arc<Credentials>),
    is_shown: bool,
) -> Result<Opened<StreamSource>, Failure> {
    let Asking {
        client,
        options,
        limits,
        ..
    } = &asking;
    let BuiltRequest {
        request,
        names,
        resume,
    } = built;
    let response = exchange(client, request, (options, *limits), &credentials).await?;
    let visible = headers::client_visible(response.headers(), &credentials);
    let (head, body) = response.into_parts();
    let source = asking.source(credentials.clone());
    let body = client.streamed(body);
    let mut body = source.stream_body(&head.headers, body).await?;
    let resumption: Option<Box<dyn Resumption>> = match resume {
        None => None,
        Some(ResumeBy::Stream) => match KeptStream::of(&head.headers, asking.clone()) {
            Some(kept) => Some(Box::new(kept)),
            None => None,
        },
        Some(ResumeBy::Background) => {
            let (id, whole) = read_response_id(body, limits.event).await?;
            body = whole;
            let response = |id: String| BackgroundResponse::new(asking.clone(), &id, is_shown);
            match id.and_then(response) {
                Some(response) => Some(Box::new(response)),
                None => None,
            }
        }
    };
    let reader = names.restore_in(options.side.event_reader(options.finish_rule));
    let frames = client.frames(body, limits.event, credentials);
    let frames = match resumption {
        Some(rest) => frames.resumable(ResumableStream::new(rest, client.tasks())),
        None => frames,
    };
    Ok(Opened {
        headers: visible,
        source: StreamSource::Frames(frames, options.dialect, reader),
    })
}

//! Generations that run in a task of their own and write a stream.
//!
//! The task owns the generation and the stream's writer from the start, so a client that leaves
//! while the upstream has not accepted yet takes nothing away from others who read the stream.

use http::HeaderMap;
use tokio::sync::oneshot;

use super::Service;
use super::attach::stream_failure;
use super::error::StartError;
use super::slots::LingerSlot;
use crate::generation::{DetachedGeneration, Generation, Linger};
use dialect::failure::Failure;
use stream::{Reader, Writer};

/// The reader of a client whose upstream has accepted, and the upstream's headers that it may see.
type OpenedReader = (Reader, HeaderMap);

/// Lets a generation write its stream, whoever reads it.
#[expect(
    clippy::disallowed_methods,
    reason = "a generation that outlives its client is ended by its linger, or by the shutdown"
)]
pub(super) fn detach(
    service: &Service,
    generation: Generation,
    writer: Writer,
    linger: Linger,
    slot: LingerSlot,
) {
    let detached = DetachedGeneration::new(
        generation,
        writer,
        service.streams.clone(),
        linger,
        service.draining.clone(),
    );
    service.tasks.spawn(async move {
        let _slot = slot;
        detached.run().await;
    });
}

/// Lets a generation write its stream; returns a reader of it once the upstream has accepted, or
/// after `sse.commit_after`. If the client leaves before (drops the future), the generation is
/// cancelled, unless others read its stream by then.
#[expect(
    clippy::disallowed_methods,
    reason = "ends when the client leaves, by the generation's linger, or by the shutdown"
)]
pub(super) async fn open_detached(
    service: &Service,
    mut generation: Generation,
    writer: Writer,
    linger: Linger,
    slot: LingerSlot,
) -> Result<OpenedReader, StartError> {
    let (mut client, answer) = oneshot::channel::<Result<OpenedReader, StartError>>();
    let (streams, draining) = (service.streams.clone(), service.draining.clone());
    let commit_after = service.commit_after;
    service.tasks.spawn(async move {
        let _slot = slot;
        let opened = tokio::time::timeout(commit_after, generation.opened());
        let headers = tokio::select! {
            opened = opened => match opened {
                Ok(Ok(headers)) => headers,
                Ok(Err(failure)) => {
                    let refused = StartError::of_generation(failure, generation.into());
                    // Without a client its outcome is that the client left.
                    let _ = client.send(Err(refused));
                    return;
                }
                Err(_elapsed) => HeaderMap::new(),
            },
            () = client.closed() => HeaderMap::new(),
        };
        let start = writer.log().head().at(0);
        let reader = Reader::attach(writer.log().clone(), start);
        let opened = reader.map(|reader| (reader, headers));
        let opened = opened.map_err(|error| stream_failure(error).into());
        // Where the client has left, this drops its reader.
        let has_client = client.send(opened).is_ok();
        if !has_client && writer.log().readers() == 0 {
            return;
        }
        generation.set_status(200);
        DetachedGeneration::new(generation, writer, streams, linger, draining)
            .run()
            .await;
    });
    let opened = answer.await.unwrap_or_else(|_| {
        Err(Failure::internal("the task of a generation ended without an answer".into()).into())
    })?;
    // The generation runs meanwhile.
    service.streams.announce(opened.0.log().id()).await;
    Ok(opened)
}

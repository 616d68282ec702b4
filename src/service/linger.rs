//! The linger of a generation: as its client asks for it, or as it is configured.

use super::Service;
use super::context::RequestContext;
use crate::generation::Linger;
use dialect::failure::Failure;

/// Returns the linger that holds for a request.
pub(super) fn effective_linger(
    context: &RequestContext,
    service: &Service,
) -> Result<Linger, Failure> {
    let longest = service.streaming.max_linger;
    match context.linger {
        Some(linger) if linger.duration() > longest => {
            let longest = humantime::format_duration(longest);
            Err(Failure::invalid(
                "linger",
                format!("`linger` is at most {longest} here (streams.max_linger)"),
            ))
        }
        Some(linger) => Ok(linger),
        None if context.is_event_source => Ok(Linger::OF_EVENT_SOURCE
            .max(Linger::new(service.streaming.linger))
            .min(Linger::new(longest))),
        None => Ok(Linger::new(service.streaming.linger)),
    }
}

//! Marks of clients that know an upstream's cache: the beginning of a request up to one is to be
//! cached.

use serde_json::{Value, json};

use super::{Part, Request};
use crate::json::Json;

/// The time for which an upstream is to cache the beginning of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheTtl {
    /// The upstream's own default: five minutes.
    Default,
    /// An hour.
    Hour,
}

impl CacheTtl {
    /// Parses Anthropic's `cache_control`, which gateways of other dialects take as well.
    pub(crate) fn parse(control: Json<'_>) -> Option<Self> {
        if !control.get("type").is("ephemeral") {
            return None;
        }
        Some(match control.get("ttl").is("1h") {
            true => Self::Hour,
            false => Self::Default,
        })
    }
}

/// Returns the value of `cache_control`.
pub(crate) fn cache_control(ttl: CacheTtl) -> Value {
    match ttl {
        CacheTtl::Default => json!({ "type": "ephemeral" }),
        CacheTtl::Hour => json!({ "type": "ephemeral", "ttl": "1h" }),
    }
}

impl Request {
    /// Marks the end of the request, as Anthropic's own `cache_control` of the whole body does.
    pub(crate) fn mark_end(&mut self, control: Json<'_>) {
        if let Some(ttl) = CacheTtl::parse(control)
            && let Some(last) = self.messages.last_mut()
        {
            last.parts.push(Part::CacheBreakpoint(ttl));
        }
    }

    /// Returns whether anything is marked to be cached.
    pub(crate) fn has_cache_breakpoint(&self) -> bool {
        let is_mark = |part: &Part| matches!(part, Part::CacheBreakpoint(_));
        self.parts().any(is_mark) || self.tools.iter().any(|tool| tool.cache.is_some())
    }
}

/// Returns the parts for which `says` is true, each with the mark behind it. Thoughts can't be
/// marked.
pub(crate) fn with_marks<'a>(
    parts: impl Iterator<Item = &'a Part>,
    says: impl Fn(&Part) -> bool,
) -> Vec<(&'a Part, Option<CacheTtl>)> {
    let mut said: Vec<(&Part, Option<CacheTtl>)> = Vec::new();
    for part in parts {
        match part {
            Part::CacheBreakpoint(ttl) => {
                if let Some((before, mark)) = said.last_mut()
                    && !matches!(before, Part::Reasoning { .. })
                {
                    *mark = Some(*ttl);
                }
            }
            part if says(part) => said.push((part, mark_within(part))),
            _ => {}
        }
    }
    said
}

/// Returns the mark in the result of a tool, which is the result's: what it holds has none.
fn mark_within(part: &Part) -> Option<CacheTtl> {
    let Part::ToolResult { content, .. } = part else {
        return None;
    };
    content.iter().rev().find_map(|part| match part {
        Part::CacheBreakpoint(ttl) => Some(*ttl),
        _ => None,
    })
}

//! Sources that stand beside the choices, as Perplexity has them: each chunk repeats all of them.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::chunk::{ChatChunk, says};
use crate::event::{Citation, Event};
use crate::json::value;
use crate::{EventSink, emit};

/// Largest list of sources that is kept, in bytes.
const MAX_SOURCES_BYTES: usize = 1 << 20;

/// The last lists of sources, as JSON; empty if there are none.
#[derive(Debug, Default)]
pub(super) struct Sources {
    urls: String,
    results: String,
}

impl Sources {
    /// Remembers the lists of a chunk.
    pub(super) fn remember(&mut self, chunk: &ChatChunk<'_>) {
        for (raw, known) in [
            (chunk.citations, &mut self.urls),
            (chunk.search_results, &mut self.results),
        ] {
            if let Some(raw) = raw.filter(|raw| says(*raw) && raw.get() != known.as_str())
                && raw.get().len() <= MAX_SOURCES_BYTES
            {
                known.clear();
                known.push_str(raw.get());
            }
        }
    }

    /// Emits the sources.
    pub(super) fn emit(&self, sink: &mut EventSink<'_>) {
        if sink.is_none() || (self.urls.is_empty() && self.results.is_empty()) {
            return;
        }
        let (urls, results) = (value(Some(&self.urls)), value(Some(&self.results)));
        let results: &[Value] = results.as_array().map_or(&[], Vec::as_slice);
        let mut cited: HashSet<&str> = HashSet::new();
        let mut by_url: HashMap<&str, &Value> = HashMap::new();
        for result in results {
            if let Some(url) = result["url"].as_str() {
                by_url.entry(url).or_insert(result);
            }
        }
        let listed = urls.as_array().into_iter().flatten();
        for source in listed.chain(results) {
            let url = source.as_str().or(source["url"].as_str());
            let Some(url) = url.filter(|url| cited.insert(url)) else {
                continue;
            };
            let result = by_url.get(url);
            let text = |name: &str| {
                let text = result.and_then(|result| result[name].as_str());
                text.unwrap_or_default().to_owned()
            };
            let citation = Citation {
                url: url.to_owned(),
                title: text("title"),
                quote: text("snippet"),
                span: None,
            };
            emit(sink, Event::Citation(citation));
        }
    }
}

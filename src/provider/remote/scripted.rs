//! A provider whose upstream is a script: requests are built as for any other, and what follows is
//! made up. For tests.

use std::fmt;
use std::future::{pending, ready};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use dialect::failure::Failure;
use dialect::families::Families;
use dialect::{Dialect, FinishRule};
use http::HeaderMap;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::super::credentials::Credentials;
use super::super::upstream::UpstreamBody;
use super::super::{
    CompleteSource, OpenFuture, Opened, Provider, StreamSource, UpstreamFrames, UpstreamRequest,
};
use super::options::RemoteOptions;
use super::request::build_request;
use super::{Addressing, Authorization};
use crate::compute::ComputePool;
use crate::config::AnswerLimits;
use crate::memory::MemoryBudget;

/// The longest event of a script.
const MAX_EVENT_BYTES: usize = 1 << 20;

static FAMILIES: LazyLock<Arc<Families>> = LazyLock::new(|| Arc::new(Families::built_in().clone()));

/// The end of a scripted answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScriptedEnd {
    /// The body ends.
    Closed,
    /// The connection is reset.
    Reset,
    /// Nothing more comes.
    Silent,
}

/// The answer to a request, whose body is given, or its refusal.
type Script = dyn Fn(&Value) -> Result<(Bytes, ScriptedEnd), Failure> + Send + Sync;

/// A provider whose upstream is a script.
pub(crate) struct ScriptedProvider {
    options: RemoteOptions,
    script: Box<Script>,
    seen: Mutex<Vec<Value>>,
}

impl fmt::Debug for ScriptedProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedProvider")
    }
}

impl ScriptedProvider {
    /// Returns a provider of that dialect and flavor.
    pub(crate) fn new(
        (dialect, flavor): (&str, &str),
        script: impl Fn(&Value) -> Result<(Bytes, ScriptedEnd), Failure> + Send + Sync + 'static,
    ) -> Option<Self> {
        let (dialect, side) = Dialect::with_upstream_of(dialect, flavor)?;
        Some(Self {
            options: RemoteOptions {
                name: "scripted".to_owned(),
                dialect,
                side,
                families: FAMILIES.clone(),
                base_url: "http://scripted.test".to_owned(),
                addressing: Addressing::Dialect,
                authorization: Authorization::Headers,
                headers: HeaderMap::new(),
                forward_headers: Vec::new(),
                finish_rule: FinishRule::Required,
                refuses_tools: false,
                limits: AnswerLimits {
                    event: MAX_EVENT_BYTES,
                    response: MAX_EVENT_BYTES,
                },
                memory: MemoryBudget::new(1 << 30),
                compute: ComputePool::default(),
            },
            script: Box::new(script),
            seen: Mutex::default(),
        })
    }

    /// Returns the bodies of all requests so far.
    pub(crate) fn seen(&self) -> Vec<Value> {
        let seen = self.seen.lock();
        seen.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Provider for ScriptedProvider {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn dialect(&self) -> Option<&'static Dialect> {
        Some(self.options.dialect)
    }

    fn takes_prefill(&self, model: &str) -> bool {
        let options = &self.options;
        let rules = options.families.rules(options.dialect.name, model);
        options.side.takes_prefill(model, &rules)
    }

    fn open_stream(&self, call: UpstreamRequest) -> OpenFuture<StreamSource> {
        let opened = build_request(&self.options, None, &call).and_then(|built| {
            let (request, names) = (built.request, built.names);
            let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.push(body.clone());
            drop(seen);
            let (bytes, end) = (self.script)(&body)?;
            let body = UpstreamBody::scripted(
                bytes,
                match end {
                    ScriptedEnd::Closed => None,
                    ScriptedEnd::Silent => Some(Box::pin(pending())),
                    ScriptedEnd::Reset => {
                        let reset = Failure::upstream_reset("reset by peer".into());
                        Some(Box::pin(ready(Err(reset))))
                    }
                },
            );
            let credentials = Arc::new(Credentials::from_headers(&HeaderMap::new()));
            let tasks = TaskTracker::new();
            let frames = UpstreamFrames::new(body, MAX_EVENT_BYTES, credentials, &tasks);
            let side = self.options.side;
            let reader = names.restore_in(side.event_reader(self.options.finish_rule));
            Ok(Opened {
                headers: HeaderMap::new(),
                source: StreamSource::Frames(frames, self.options.dialect, reader),
            })
        });
        Box::pin(ready(opened))
    }

    fn open_complete(&self, _call: UpstreamRequest) -> OpenFuture<CompleteSource> {
        let message = "the script has streams alone";
        Box::pin(ready(Err(Failure::internal(message.into()))))
    }
}

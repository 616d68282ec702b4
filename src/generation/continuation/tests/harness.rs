//! One answer that breaks, from scripted upstreams, as a client and the observers see it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::id::RequestId;
use bytes::{Bytes, BytesMut};
use dialect::event::{Event, FinishReason, Usage};
use dialect::failure::{Failure, Refusal};
use dialect::request::Request;
use dialect::{Dialect, ErrorReport, EventWriter, FinishRule, ResponseMeta, sse};
use http::HeaderMap;
use serde_json::{Value, json};

use super::super::super::{Generation, GenerationParams, GenerationTimeouts};
use crate::compute::ComputePool;
use crate::config::{Affinity, Choose, ContinuationRules, ContinueBy, RetryBudget, RoutingRules};
use crate::disconnect::Disconnect;
use crate::outcome::{Observer, Observers, Outcome};
use crate::provider::Provider;
use crate::provider::scripted::{ScriptedEnd, ScriptedProvider};
use crate::routing::{ModelLimits, ModelTargets, Plan, Target};
use crate::shutdown::AbortSignal;

/// Upstreams by dialect and flavor.
pub(super) const UPSTREAMS: [(&str, &str); 5] = [
    ("openai-chat", ""),
    ("openai-chat", "mistral"),
    ("openai-responses", ""),
    ("anthropic", ""),
    ("gemini", ""),
];
/// The tokens of the whole answer.
pub(super) const TOKENS: [&str; 12] = [
    "One",
    " two",
    ",",
    " thr",
    "ee —",
    " four",
    " ",
    "\"five\"",
    "\n\n",
    "* sechs",
    "\n",
    "* 七 sieben.",
];

/// The way in which the first stream breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Reset,
    Closed,
    Silent,
    ErrorFrame,
    BadJson,
}

/// An answer that breaks after some of its tokens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) client: &'static str,
    pub(super) upstream: (&'static str, &'static str),
    pub(super) by: ContinueBy,
    pub(super) broken: Broken,
    pub(super) cut: usize,
}

/// The facts of an outcome.
#[derive(Debug)]
pub(super) struct Noted {
    pub(super) code: &'static str,
    pub(super) attempts: usize,
    pub(super) output: Option<u64>,
    pub(super) continued: Option<(&'static str, usize)>,
}

#[derive(Debug, Default)]
struct Notebook(Mutex<Vec<Noted>>);

impl Observer for Notebook {
    fn on_outcome(&self, outcome: &Outcome) {
        let continued = outcome.continued.as_ref();
        self.0.lock().unwrap().push(Noted {
            code: outcome.end.code(),
            attempts: outcome.attempts.len(),
            output: outcome.usage.map(|usage| usage.output),
            continued: continued.map(|continued| (continued.by, continued.at)),
        });
    }
}

/// A generation that has ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) wire: String,
    pub(super) seen: Vec<Value>,
    pub(super) outcome: Noted,
}

/// The answer of an upstream to one request.
pub(super) type Scripted = Result<(Bytes, ScriptedEnd), Failure>;

impl Case {
    /// Returns the first stream.
    pub(super) fn first(&self) -> (Bytes, ScriptedEnd) {
        let mut bytes = BytesMut::from(&frames_of(self.upstream, &TOKENS[..self.cut], None)[..]);
        let end = match self.broken {
            Broken::Reset => ScriptedEnd::Reset,
            Broken::Closed => ScriptedEnd::Closed,
            Broken::Silent => ScriptedEnd::Silent,
            Broken::ErrorFrame => {
                let failure = Failure::upstream_reset("oops".into());
                writer(self.upstream.0).write_error(&failure, "r", &mut |name, data| {
                    sse::write_frame(&mut bytes, name, data);
                });
                ScriptedEnd::Closed
            }
            Broken::BadJson => {
                sse::write_frame(&mut bytes, None, b"{\"choices\":[{\"ind");
                ScriptedEnd::Silent
            }
        };
        (bytes.freeze(), end)
    }

    /// Runs the generation; `second` answers the second target's requests.
    pub(super) async fn run(
        &self,
        second: impl Fn(&Value) -> Scripted + Send + Sync + 'static,
    ) -> Run {
        let first = self.first();
        self.run_after(move |_: &Value| Ok(first.clone()), second)
            .await
    }

    /// Runs the generation of the usual request with a script for each target.
    pub(super) async fn run_after(
        &self,
        first: impl Fn(&Value) -> Scripted + Send + Sync + 'static,
        second: impl Fn(&Value) -> Scripted + Send + Sync + 'static,
    ) -> Run {
        run(self, &body_of(self.client), HeaderMap::new(), first, second).await
    }
}

/// Runs a generation whose first target has one script, and the second another.
pub(super) async fn run(
    case: &Case,
    body: &Value,
    headers: HeaderMap,
    first: impl Fn(&Value) -> Scripted + Send + Sync + 'static,
    second: impl Fn(&Value) -> Scripted + Send + Sync + 'static,
) -> Run {
    let one = Arc::new(ScriptedProvider::new(case.upstream, first).unwrap());
    let two = Arc::new(ScriptedProvider::new(case.upstream, second).unwrap());
    let target = |provider: &Arc<ScriptedProvider>| Target {
        continue_by: Some(case.by),
        ..Target::new(provider.clone() as Arc<dyn Provider>, "m")
    };
    let rules = RoutingRules {
        choose: Choose::First,
        attempts: 3,
        retry_budget: RetryBudget {
            share: 1.0,
            per_second: 1,
        },
        retry_uncertain: true,
        affinity: Affinity::None,
        max_wait: Duration::ZERO,
        max_waiting: 0,
        hedge: false,
        continuation: Some(ContinuationRules {
            turn: "It was cut off: {last_words}".into(),
        }),
    };
    let limits = Arc::new(ModelLimits::new(&rules));
    let model = ModelTargets::new(vec![target(&one), target(&two)], rules, limits);
    let notebook = Arc::new(Notebook::default());
    let observer: Arc<dyn Observer> = notebook.clone();
    let observers = Observers::from_iter([observer]);
    let params = params(
        case.client,
        body,
        headers,
        Plan::new(Arc::new(model)),
        observers,
    );
    let mut generation = Generation::start(params);
    let mut wire = Vec::new();
    while let Some(frames) = poll_fn(|cx| generation.poll_frames(cx)).await {
        wire.extend_from_slice(&frames);
    }
    drop(generation);
    let outcomes = std::mem::take(&mut *notebook.0.lock().unwrap());
    let [outcome] = outcomes.try_into().unwrap();
    Run {
        wire: String::from_utf8(wire).unwrap(),
        seen: [one.seen(), two.seen()].concat(),
        outcome,
    }
}

fn params(
    client: &str,
    body: &Value,
    headers: HeaderMap,
    plan: Plan,
    observers: Observers,
) -> GenerationParams {
    let dialect = Dialect::named(client).unwrap();
    let path = "/v1beta/models/m:streamGenerateContent";
    let body = Bytes::from(body.to_string());
    let mut request = dialect.client.parse_request(body, path).unwrap();
    request.stream = true;
    let request = Arc::new(request);
    let long = Duration::from_secs(60);
    GenerationParams {
        request_id: RequestId::random(),
        route: "/test",
        permit: None,
        compute: ComputePool::default(),
        plan,
        dialect,
        meta: ResponseMeta {
            request: request.clone(),
            model: "m".to_owned(),
            ..ResponseMeta::for_error()
        },
        request,
        headers,
        comments: true,
        timeouts: GenerationTimeouts {
            first_token: long,
            between_tokens: long,
            total: long * 10,
        },
        client_timeout: None,
        abort: AbortSignal::default(),
        disconnect: Disconnect::default(),
        observers,
        account: None,
    }
}

/// Returns a request of a client.
pub(super) fn body_of(client: &str) -> Value {
    match client {
        "plain" => json!({ "prompt": "Count" }),
        "openai-responses" => json!({ "model": "m", "input": "Count", "stream": true }),
        "gemini" => json!({ "contents": [{ "role": "user", "parts": [{ "text": "Count" }] }] }),
        "openai-chat" => json!({ "model": "m", "stream": true,
            "stream_options": { "include_usage": true },
            "messages": [{ "role": "user", "content": "Count" }] }),
        _ => json!({ "model": "m", "max_tokens": 1000, "stream": true,
            "messages": [{ "role": "user", "content": "Count" }] }),
    }
}

fn writer(dialect: &str) -> Box<dyn EventWriter> {
    let mut meta = ResponseMeta::for_error();
    meta.request = Arc::new(Request {
        include_usage: true,
        ..Request::default()
    });
    let dialect = Dialect::named(dialect).unwrap();
    dialect.client.event_writer(meta)
}

/// Returns the stream of an upstream that says this; it ends if it reports so many tokens.
pub(super) fn frames_of(upstream: (&str, &str), texts: &[&str], output: Option<u64>) -> Bytes {
    let events = texts.iter().map(|text| Event::Text((*text).into()));
    events_as_frames(upstream, events, output)
}

/// Returns the stream of an upstream with these events; it ends if it reports so many tokens.
pub(super) fn events_as_frames<'a>(
    upstream: (&str, &str),
    events: impl Iterator<Item = Event<'a>>,
    output: Option<u64>,
) -> Bytes {
    let mut out = BytesMut::new();
    let mut frame = |name: Option<&str>, data: &[u8]| sse::write_frame(&mut out, name, data);
    let mut writer = writer(upstream.0);
    for event in events {
        writer.write_event(&event, &mut frame).unwrap();
    }
    if let Some(output) = output {
        let usage = Usage {
            input: 20,
            output,
            ..Usage::default()
        };
        for event in [Event::Usage(usage), Event::Finish(FinishReason::Stop)] {
            writer.write_event(&event, &mut frame).unwrap();
        }
        writer.write_end(&mut frame);
    }
    out.freeze()
}

/// Returns the refusal of an upstream.
pub(super) fn refused_by(status: u16, message: &str) -> Failure {
    Failure::upstream_refused(Refusal {
        provider: "scripted".to_owned(),
        status,
        report: Some(ErrorReport {
            message: message.to_owned(),
            ..ErrorReport::default()
        }),
        ..Refusal::default()
    })
}

/// An answer as a client reads it.
#[derive(Debug, Default)]
pub(super) struct ReadAnswer {
    pub(super) text: String,
    pub(super) output: Option<u64>,
    pub(super) ends: usize,
    /// Set unless the ids differ, or the numbers of the frames don't follow each other.
    pub(super) is_one: bool,
}

/// Reads a client's stream by the rules of its dialect.
pub(super) fn read_answer(client: &str, wire: &str) -> Result<ReadAnswer, Failure> {
    let mut answer = ReadAnswer {
        is_one: true,
        ..ReadAnswer::default()
    };
    let dialect = Dialect::named(client).unwrap();
    let side = dialect.upstream;
    let mut reader = side.map(|side| side.event_reader(FinishRule::Required));
    let (mut ids, mut number) = (Vec::new(), 0);
    for data in sse::frames(wire.as_bytes()).filter_map(|frame| frame.data) {
        let value: Value = serde_json::from_slice(&data).unwrap_or_default();
        let own = [
            &value["id"],
            &value["responseId"],
            &value["response"]["id"],
            &value["message"]["id"],
        ];
        ids.extend(own.into_iter().filter_map(Value::as_str).map(str::to_owned));
        if let Some(own) = value["sequence_number"].as_u64() {
            answer.is_one &= own == number;
            number += 1;
        }
        let kind = value["type"].as_str().unwrap_or_default();
        let is_end = &*data == b"[DONE]"
            || matches!(kind, "message_stop" | "response.completed")
            || value["candidates"][0]["finishReason"].is_string();
        answer.ends += usize::from(is_end);
        let Some(reader) = &mut reader else {
            if !is_end {
                answer.text.push_str(std::str::from_utf8(&data).unwrap());
            }
            continue;
        };
        let mut sink = |event: Event<'_>| match event {
            Event::Text(text) => answer.text.push_str(&text),
            Event::Usage(usage) => answer.output = Some(usage.output),
            _ => {}
        };
        let seen = reader.read_payload(&data, Some(&mut sink))?;
        if let Some(failure) = seen.error {
            return Err(failure);
        }
    }
    if let Some(mut reader) = reader {
        reader.finish_stream(None)?;
    }
    ids.dedup();
    answer.is_one &= ids.len() <= 1;
    Ok(answer)
}

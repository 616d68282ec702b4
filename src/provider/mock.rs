//! The embedded model: asked by name, it shows any behaviour that a client must cope with.
//!
//! What it says is a function of the request alone; only its pace comes from the configuration. It
//! speaks events, so it stands behind every dialect; a server with nothing else configured is a
//! mock upstream in all of them.

mod text;

use std::time::Duration;

use async_stream::try_stream;
use http::HeaderMap;

use super::{
    CompleteSource, Events, OpenFuture, Opened, Provider, StreamSource, UpstreamRequest, WholeBody,
};
use crate::compute::ComputePool;
use dialect::ErrorReport;
use dialect::event::{Event, FinishReason, ReasoningState, StateOrigin, Usage};
use dialect::failure::{Failure, Refusal};
use dialect::request::{Operation, Part, Request};

/// Every name that the mock answers to, and what it does.
pub const MODELS: &[(&str, &str)] = &[
    ("mock", "a readable answer, at the configured pace"),
    ("mock-fast", "the same without delay"),
    ("mock-echo", "says the prompt back, without delay"),
    ("mock-error", "503 before the first token"),
    ("mock-ratelimit", "429 with retry-after"),
    ("mock-break", "dies after 10 tokens"),
    ("mock-stall", "falls silent after 10 tokens"),
    ("mock-tool", "calls the first tool offered"),
    ("mock-parallel", "calls every tool offered"),
    ("mock-think", "reasons, then answers"),
    ("mock-refusal", "refuses"),
    ("mock-length", "stops in the middle, as if for length"),
    ("mock-filter", "is stopped in the middle by a filter"),
];

/// After how many tokens `mock-break` and `mock-stall` fail.
const FAULT_AFTER: usize = 10;

/// The mock provider.
#[derive(Debug)]
pub struct Mock {
    pause: Duration,
    compute: ComputePool,
}

impl Mock {
    /// A mock that says so many tokens a second; 0 is as fast as they are read.
    #[must_use]
    pub fn new(tokens_per_second: u32, compute: ComputePool) -> Self {
        let pause = Duration::from_secs(1)
            .checked_div(tokens_per_second)
            .unwrap_or_default();
        Self { pause, compute }
    }

    /// Makes the answer of a request; for a large one beside the worker.
    fn open<S: Send + 'static>(
        &self,
        call: UpstreamRequest,
        answer: impl FnOnce(&UpstreamRequest, Duration) -> Result<S, Failure> + Send + 'static,
    ) -> OpenFuture<S> {
        let (compute, pause) = (self.compute.clone(), self.pause);
        Box::pin(async move {
            let size = call.request.size();
            let source = compute.run(size, move || answer(&call, pause)).await??;
            let headers = HeaderMap::new();
            Ok(Opened { headers, source })
        })
    }
}

/// Returns the events of the answer to a request.
fn answer(call: &UpstreamRequest, pause: Duration) -> Result<Events, Failure> {
    let model = call.model.as_str();
    let request = &call.request;
    if request.n > 1 {
        return Err(Failure::invalid(
            "n",
            "the mock gives one answer; `n` should be 1",
        ));
    }
    let script = script_for(model, request, pause)?;
    Ok(perform(script, request))
}

/// Returns the script that a model's name stands for.
fn script_for(model: &str, request: &Request, paced: Duration) -> Result<Script, Failure> {
    Ok(match model {
        "mock" => Script::say(text::answer(request), paced),
        "mock-fast" => Script::say(text::answer(request), Duration::ZERO),
        "mock-echo" => Script::say(request.last_user_text().to_owned(), Duration::ZERO),
        "mock-break" => Script {
            fault: Fault::Break,
            ..Script::say(text::answer(request), paced)
        },
        "mock-stall" => Script {
            fault: Fault::Stall,
            ..Script::say(text::answer(request), paced)
        },
        "mock-think" => Script {
            reasoning: text::reasoning(request),
            ..Script::say(text::answer(request), paced)
        },
        "mock-tool" => Script {
            calls: text::tool_calls(request, 1),
            ..Script::say(text::answer(request), paced)
        },
        "mock-parallel" => Script {
            calls: text::tool_calls(request, usize::MAX),
            ..Script::say(text::answer(request), paced)
        },
        "mock-refusal" => Script {
            refusal: text::REFUSAL,
            ..Script::say(String::new(), paced)
        },
        "mock-length" => Script {
            finish: FinishReason::Length,
            ..Script::say(text::half(request), paced)
        },
        "mock-filter" => Script {
            finish: FinishReason::ContentFilter,
            ..Script::say(text::half(request), paced)
        },
        "mock-error" => {
            return Err(refused(
                503,
                "the mock model is down, as its name says",
                None,
            ));
        }
        "mock-ratelimit" => {
            return Err(refused(
                429,
                "too many requests, as this model's name says",
                Some("1"),
            ));
        }
        _ => {
            let known: Vec<String> = MODELS.iter().map(|(name, _)| (*name).to_owned()).collect();
            return Err(Failure::unknown_model(model, &known));
        }
    })
}

impl Provider for Mock {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn open_stream(&self, call: UpstreamRequest) -> OpenFuture<StreamSource> {
        self.open(call, |call, pause| {
            answer(call, pause).map(StreamSource::Events)
        })
    }

    fn open_complete(&self, call: UpstreamRequest) -> OpenFuture<CompleteSource> {
        self.open(call, |call, pause| match call.request.operation {
            Operation::Generate => answer(call, pause).map(CompleteSource::Events),
            Operation::CountTokens => count(call),
        })
    }
}

fn count(call: &UpstreamRequest) -> Result<CompleteSource, Failure> {
    match call
        .dialect
        .client
        .encode_token_count(input_tokens(&call.request))
    {
        Some(body) => {
            let body = WholeBody {
                bytes: body.into(),
                permit: None,
            };
            Ok(CompleteSource::Body(body, call.dialect))
        }
        None => Err(Failure::internal(
            "no client of this dialect asks for a count".into(),
        )),
    }
}

/// Returns the usage that the mock counts for a request: the tokens of its texts.
fn input_tokens(request: &Request) -> u64 {
    fn count(part: &Part) -> u64 {
        match part {
            Part::Text(text) => text::tokens(text).count() as u64,
            Part::ToolResult { content, .. } => content.iter().map(count).sum(),
            _ => 0,
        }
    }
    request
        .messages
        .iter()
        .flat_map(|message| &message.parts)
        .map(count)
        .sum()
}

enum Fault {
    None,
    Break,
    Stall,
}

struct Script {
    pause: Duration,
    reasoning: String,
    text: String,
    refusal: &'static str,
    /// Tool calls in place of the text.
    calls: Vec<text::ToolCall>,
    finish: FinishReason,
    fault: Fault,
}

impl Script {
    fn say(text: String, pause: Duration) -> Self {
        Self {
            pause,
            reasoning: String::new(),
            text,
            refusal: "",
            calls: Vec::new(),
            finish: FinishReason::Stop,
            fault: Fault::None,
        }
    }
}

fn refused(status: u16, message: &str, retry_after: Option<&str>) -> Failure {
    Failure::upstream_refused(Refusal {
        provider: "mock".to_owned(),
        status,
        report: Some(ErrorReport {
            message: message.to_owned(),
            ..ErrorReport::default()
        }),
        retry_after: retry_after.map(str::to_owned),
        ..Refusal::default()
    })
}

fn perform(script: Script, request: &Request) -> Events {
    let limit = request.max_tokens.map_or(usize::MAX, |n| n as usize);
    let input = input_tokens(request);
    let stop = request.stop.clone();
    Box::pin(try_stream! {
        let mut said = 0_usize;
        let mut reasoned = 0_u64;
        let mut finish = script.finish;
        for token in text::tokens(&script.reasoning) {
            if said == limit {
                break;
            }
            pause(script.pause).await;
            said += 1;
            reasoned += 1;
            yield Event::Reasoning(token.to_owned().into());
        }
        if reasoned > 0 {
            yield Event::State(ReasoningState { origin: StateOrigin::Anthropic, value: text::SEAL.into() });
        }
        for token in text::tokens(script.refusal) {
            pause(script.pause).await;
            said += 1;
            yield Event::Refusal(token.to_owned().into());
        }
        if !script.calls.is_empty() {
            for (index, call) in (0..).zip(script.calls) {
                yield Event::ToolCall { index, id: call.id.into(), name: call.name.into() };
                for fragment in text::tokens(&call.arguments) {
                    pause(script.pause).await;
                    said += 1;
                    yield Event::ToolArguments { index, fragment: fragment.to_owned().into() };
                }
                yield Event::ToolEnd { index };
            }
            finish = FinishReason::ToolCalls;
        } else {
            let (answer, stopped) = text::until(&script.text, &stop);
            if stopped {
                finish = FinishReason::StopSequence;
            }
            for token in text::tokens(answer) {
                if said == limit {
                    finish = FinishReason::Length;
                    break;
                }
                if said == FAULT_AFTER {
                    match script.fault {
                        Fault::None => {}
                        Fault::Break => Err(Failure::upstream_reset("the mock broke, as its name says".into()))?,
                        Fault::Stall => std::future::pending().await,
                    }
                }
                pause(script.pause).await;
                said += 1;
                yield Event::Text(token.to_owned().into());
            }
        }
        yield Event::Finish(finish);
        let reasoning = (reasoned > 0).then_some(reasoned);
        yield Event::Usage(Usage { input, output: said as u64, reasoning, ..Usage::default() });
    })
}

async fn pause(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

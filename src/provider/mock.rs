//! The embedded model: asked by name, it shows any behaviour that a client must cope with.
//!
//! What it says is a function of the request alone; only its pace comes from the configuration. It
//! speaks events, so it stands behind every dialect; a server with nothing else configured is a
//! mock upstream in all of them.

mod script;
mod text;

use std::time::Duration;

use async_stream::try_stream;
use http::HeaderMap;

use super::{
    CompleteSource, Events, OpenFuture, Opened, Provider, StreamSource, UpstreamRequest, WholeBody,
};
use crate::compute::ComputePool;
use dialect::event::{Event, FinishReason, ReasoningState, StateOrigin, Usage};
use dialect::failure::Failure;
use dialect::request::{Operation, Part, Request};
use dialect::{FinishRule, ToolNames};

pub use script::MODELS;
use script::{Fault, Script, script_for};

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
            let answer = move || {
                call.request.check()?;
                answer(&call, pause)
            };
            let source = compute.run(size, answer).await??;
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

impl Provider for Mock {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn serves(&self, model: &str) -> bool {
        script::is_known(model)
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
    let tokens = input_tokens(&call.request);
    let body = WholeBody {
        bytes: call.dialect.encode_token_count(tokens)?,
        permit: None,
        names: ToolNames::default(),
        finish_rule: FinishRule::default(),
    };
    Ok(CompleteSource::Body(body, call.dialect))
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

fn perform(script: Script, request: &Request) -> Events {
    let limit = request.max_tokens.map_or(usize::MAX, |n| n as usize);
    let input = input_tokens(request);
    let stop = request.stop.clone();
    Box::pin(try_stream! {
        let mut said = 0_usize;
        let mut reasoned = 0_u64;
        let mut finish = script.finish;
        yield Event::Usage(Usage { input, ..Usage::default() });
        pause(script.delay).await;
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
                fail(script.fault, said).await?;
                pause(script.pause).await;
                said += 1;
                yield Event::Text(token.to_owned().into());
            }
        }
        if finish != FinishReason::Length {
            fail(script.fault, said).await?;
        }
        yield Event::Finish(finish);
        let reasoning = (reasoned > 0).then_some(reasoned);
        yield Event::Usage(Usage { input, output: said as u64, reasoning, ..Usage::default() });
    })
}

/// Fails after that many tokens, if the script says so.
async fn fail(fault: Fault, said: usize) -> Result<(), Failure> {
    match fault {
        Fault::Break(after) if after == said => Err(Failure::upstream_reset(
            "the mock broke, as its name says".into(),
        )),
        Fault::Stall(after) if after == said => std::future::pending().await,
        _ => Ok(()),
    }
}

async fn pause(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

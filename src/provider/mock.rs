//! The embedded model: asked by name, it shows any behaviour that a client must cope with.
//!
//! What it says is a function of the request alone; only its pace comes from the configuration. It speaks events, so it
//! stands behind every dialect; a server with nothing else configured is a mock upstream in all of them.

mod text;

use std::time::Duration;

use async_stream::try_stream;
use http::HeaderMap;

use super::{Call, Events, Opened, Opening, Provider, Upstream};
use crate::event::{Event, FinishReason, Usage};
use crate::failure::{Failure, Refusal};
use crate::request::Request;

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
    ("mock-think", "reasons, then answers"),
];

/// After how many tokens `mock-break` and `mock-stall` fail.
const FAULT_AFTER: usize = 10;

/// The mock provider.
#[derive(Debug)]
pub struct Mock {
    pause: Duration,
}

impl Mock {
    /// A mock that says so many tokens a second; 0 is as fast as they are read.
    #[must_use]
    pub fn new(tokens_per_second: u32) -> Self {
        let pause = Duration::from_secs(1).checked_div(tokens_per_second).unwrap_or_default();
        Self { pause }
    }

    fn answer(&self, call: &Call) -> Result<Events, Failure> {
        let model = call.model.as_str();
        let request = &call.request;
        if request.n > 1 {
            return Err(Failure::invalid("n", "the mock gives one answer; `n` should be 1"));
        }
        let paced = self.pause;
        let script = match model {
            "mock" => Script::say(text::answer(request), paced),
            "mock-fast" => Script::say(text::answer(request), Duration::ZERO),
            "mock-echo" => Script::say(request.last_user_text().to_owned(), Duration::ZERO),
            "mock-break" => Script { fault: Fault::Break, ..Script::say(text::answer(request), paced) },
            "mock-stall" => Script { fault: Fault::Stall, ..Script::say(text::answer(request), paced) },
            "mock-think" => Script { reasoning: text::reasoning(request), ..Script::say(text::answer(request), paced) },
            "mock-tool" => Script { tool: text::tool_call(request), ..Script::say(text::answer(request), paced) },
            "mock-error" => {
                return Err(refused(503, "the mock model is down, as its name says", None));
            }
            "mock-ratelimit" => {
                return Err(refused(429, "too many requests, as this model's name says", Some("1")));
            }
            _ => {
                let known = MODELS.iter().map(|(name, _)| (*name).to_owned()).collect();
                return Err(Failure::UnknownModel { model: model.to_owned(), known });
            }
        };
        Ok(perform(script, request))
    }
}

impl Provider for Mock {
    fn name(&self) -> &'static str {
        "mock"
    }

    fn open(&self, call: Call) -> Opening {
        let opened =
            self.answer(&call).map(|events| Opened { headers: HeaderMap::new(), upstream: Upstream::Events(events) });
        Box::pin(std::future::ready(opened))
    }
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
    /// A tool call in place of the text: id, name, arguments.
    tool: Option<text::ToolCall>,
    fault: Fault,
}

impl Script {
    fn say(text: String, pause: Duration) -> Self {
        Self { pause, reasoning: String::new(), text, tool: None, fault: Fault::None }
    }
}

fn refused(status: u16, message: &str, retry_after: Option<&str>) -> Failure {
    Failure::UpstreamRefused(Box::new(Refusal {
        provider: "mock".to_owned(),
        status,
        message: message.to_owned(),
        retry_after: retry_after.map(str::to_owned),
        ..Refusal::default()
    }))
}

fn perform(script: Script, request: &Request) -> Events {
    let limit = request.max_tokens.map_or(usize::MAX, |n| n as usize);
    let input = request.messages.iter().map(|m| text::tokens(&m.text).len() as u64).sum();
    Box::pin(try_stream! {
        let mut said = 0_usize;
        let mut reasoned = 0_u64;
        let mut finish = FinishReason::Stop;
        for token in text::tokens(&script.reasoning) {
            if said == limit {
                break;
            }
            pause(script.pause).await;
            said += 1;
            reasoned += 1;
            yield Event::Reasoning(token.to_owned().into());
        }
        if let Some(call) = script.tool {
            yield Event::ToolCall { index: 0, id: call.id.into(), name: call.name.into() };
            for fragment in text::tokens(&call.arguments) {
                pause(script.pause).await;
                said += 1;
                yield Event::ToolArguments { index: 0, fragment: fragment.to_owned().into() };
            }
            finish = FinishReason::ToolCalls;
        } else {
            for token in text::tokens(&script.text) {
                if said == limit {
                    finish = FinishReason::Length;
                    break;
                }
                if said == FAULT_AFTER {
                    match script.fault {
                        Fault::None => {}
                        Fault::Break => Err(Failure::UpstreamReset("the mock broke, as its name says".into()))?,
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
        yield Event::Usage(Usage { input, output: said as u64, cached: None, reasoning });
    })
}

async fn pause(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

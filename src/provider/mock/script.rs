//! The scripts of the mock: what each of its names stands for.

use std::time::Duration;

use dialect::ErrorReport;
use dialect::event::FinishReason;
use dialect::failure::{Failure, Refusal};
use dialect::request::{Message, Part, Request, Role};

use super::text::{self, ToolCall};

/// The names that the mock lists, and what it does by them. Where one ends in a number, so may
/// others.
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
    ("mock-break-3", "dies after 3 tokens"),
    ("mock-stall-3", "falls silent after 3 tokens"),
    ("mock-refuse-20", "503 to 20 of 100 requests, by chance"),
    ("mock-slow-3000", "its first token comes after 3000 ms"),
    (
        "mock-noprefill",
        "refuses to go on with a message of its own",
    ),
    ("mock-restarts", "starts over where it should go on"),
    ("mock-overlap-5", "repeats 5 characters where it goes on"),
];

/// The number of tokens after which `mock-break` and `mock-stall` fail.
const FAULT_AFTER: usize = 10;
/// The longest name of a model that is looked at, in bytes.
const MAX_NAME_LENGTH: usize = 32;

/// The fault of an answer, after so many tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Break(usize),
    Stall(usize),
}

/// The way in which an answer goes on that was begun before.
#[derive(Debug, Clone, Copy)]
enum GoesOn {
    /// With what follows.
    Exactly,
    /// From its start.
    Restarts,
    /// With the last characters once more.
    Overlaps(usize),
}

/// The course of an answer.
pub(super) struct Script {
    pub(super) pause: Duration,
    /// The time before the first token.
    pub(super) delay: Duration,
    pub(super) reasoning: String,
    pub(super) text: String,
    pub(super) refusal: &'static str,
    /// Tool calls in place of the text.
    pub(super) calls: Vec<ToolCall>,
    pub(super) finish: FinishReason,
    pub(super) fault: Fault,
}

impl Script {
    /// The readable answer, or the call that the request demands.
    fn answer(request: &Request, pause: Duration) -> Self {
        Self {
            calls: text::demanded_calls(request),
            ..Self::go_on(request, GoesOn::Exactly, pause)
        }
    }

    /// The readable answer or, where the request has its beginning, the rest of it.
    fn go_on(request: &Request, way: GoesOn, pause: Duration) -> Self {
        let text = rest(request, way, |question| text::answer(request, question));
        Self::say(text, pause)
    }

    fn say(text: String, pause: Duration) -> Self {
        Self {
            pause,
            delay: Duration::ZERO,
            reasoning: String::new(),
            text,
            refusal: "",
            calls: Vec::new(),
            finish: FinishReason::Stop,
            fault: Fault::None,
        }
    }
}

/// Returns true if the mock has a model of that name.
pub(super) fn is_known(name: &str) -> bool {
    let (base, number) = split_number(name);
    let takes_number = ["break", "stall", "refuse", "slow", "overlap"]
        .iter()
        .any(|fault| base.strip_prefix("mock-") == Some(fault));
    MODELS.iter().any(|(known, _)| *known == name) || (takes_number && number.is_some())
}

/// Returns a name without the number at its end, and the number.
fn split_number(name: &str) -> (&str, Option<u32>) {
    let split = name
        .rsplit_once('-')
        .filter(|_| name.len() <= MAX_NAME_LENGTH)
        .and_then(|(base, number)| Some((base, number.parse().ok()?)));
    match split {
        Some((base, number)) => (base, Some(number)),
        None => (name, None),
    }
}

/// Returns the script that a model's name stands for.
pub(super) fn script_for(
    model: &str,
    request: &Request,
    paced: Duration,
) -> Result<Script, Failure> {
    if !is_known(model) {
        let known: Vec<String> = MODELS.iter().map(|(name, _)| (*name).to_owned()).collect();
        return Err(Failure::unknown_model(model, &known));
    }
    let (base, number) = split_number(model);
    let after = number.map_or(FAULT_AFTER, |number| number as usize);
    let answer = || Script::go_on(request, GoesOn::Exactly, paced);
    Ok(match base {
        "mock-fast" => Script::answer(request, Duration::ZERO),
        "mock-echo" => {
            let text = rest(request, GoesOn::Exactly, str::to_owned);
            Script::say(text, Duration::ZERO)
        }
        "mock-break" => Script {
            fault: Fault::Break(after),
            ..answer()
        },
        "mock-stall" => Script {
            fault: Fault::Stall(after),
            ..answer()
        },
        "mock-slow" => Script {
            delay: Duration::from_millis(number.unwrap_or_default().into()),
            ..answer()
        },
        "mock-restarts" => Script::go_on(request, GoesOn::Restarts, paced),
        "mock-overlap" => Script::go_on(request, GoesOn::Overlaps(after), paced),
        "mock-noprefill" if is_prefilled(request) => return Err(no_prefill()),
        "mock-think" => Script {
            reasoning: text::reasoning(request),
            ..Script::answer(request, paced)
        },
        "mock-tool" => Script {
            calls: text::tool_calls(request, 1),
            ..answer()
        },
        "mock-parallel" => Script {
            calls: text::tool_calls(request, usize::MAX),
            ..answer()
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
        "mock-error" => return Err(down()),
        "mock-refuse" if fastrand::u32(..100) < number.unwrap_or_default() => return Err(down()),
        "mock-ratelimit" => {
            return Err(refused(
                429,
                "too many requests, as this model's name says",
                Some("1"),
            ));
        }
        _ => Script::answer(request, paced),
    })
}

/// Returns what is still to be said of an answer, which `answer` makes of a question. The request
/// has its beginning if it ends with a message of the model (a prefill), or with one that was cut
/// and then one of the user, who asks for the rest.
fn rest(request: &Request, way: GoesOn, answer: impl Fn(&str) -> String) -> String {
    let text_of = |message: &Message| -> String {
        let texts = message.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(&**text),
            _ => None,
        });
        texts.collect()
    };
    let (before, said) = match request.messages.as_slice() {
        [before @ .., said] if said.role == Role::Assistant => (before, said),
        [before @ .., said, asks]
            if said.role == Role::Assistant && asks.role == Role::User && !before.is_empty() =>
        {
            (before, said)
        }
        _ => return answer(&request.last_user_text()),
    };
    let question = before.iter().rev().find(|it| it.role == Role::User);
    let whole = answer(&question.map(Message::all_text).unwrap_or_default());
    let said = text_of(said);
    let Some(rest) = whole.strip_prefix(&said).filter(|rest| !rest.is_empty()) else {
        // What stands there is no beginning of this answer.
        return answer(&request.last_user_text());
    };
    match way {
        GoesOn::Exactly => rest.to_owned(),
        GoesOn::Restarts => whole,
        GoesOn::Overlaps(count) => {
            let starts = said.char_indices().rev().map(|(at, _)| at);
            let start = starts.take(count).last().unwrap_or(said.len());
            whole[start..].to_owned()
        }
    }
}

fn is_prefilled(request: &Request) -> bool {
    let last = request.messages.last();
    last.is_some_and(|message| message.role == Role::Assistant)
}

/// The refusal of models that take no prefill, in the words of those that do.
fn no_prefill() -> Failure {
    refused(
        400,
        "This model does not support assistant message prefill. The conversation must end with a user message.",
        None,
    )
}

fn down() -> Failure {
    refused(503, "the mock model is down, as its name says", None)
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn conversation(turns: &[(Role, &str)]) -> Request {
        let mut request = Request::prompt("");
        let message = |(role, text): &(Role, &str)| {
            let mut message = request.messages[0].clone();
            message.role = *role;
            message.parts = vec![Part::Text((*text).into())];
            message
        };
        request.messages = turns.iter().map(message).collect();
        request
    }

    fn text(model: &str, turns: &[(Role, &str)]) -> String {
        let script = script_for(model, &conversation(turns), Duration::ZERO);
        script.unwrap().text
    }

    const USER: (Role, &str) = (Role::User, "one two three four");
    const ASKS: (Role, &str) = (Role::User, "go on");

    #[test]
    fn an_answer_goes_on_after_a_prefill_and_after_a_turn_that_asks_for_the_rest() {
        let begun = (Role::Assistant, "one two");
        assert_eq!(text("mock-echo", &[USER]), USER.1);
        assert_eq!(text("mock-echo", &[USER, begun]), " three four");
        assert_eq!(text("mock-echo", &[USER, begun, ASKS]), " three four");
        // A whole answer, or another one, was not cut.
        for said in [USER.1, "two"] {
            let said = (Role::Assistant, said);
            assert_eq!(text("mock-echo", &[USER, said, ASKS]), "go on");
        }
        let whole = text("mock", &[USER]);
        let (said, rest) = whole.split_at(70);
        let turns = [USER, (Role::Assistant, said)];
        for model in [
            "mock",
            "mock-fast",
            "mock-break-3",
            "mock-slow-5",
            "mock-refuse-0",
        ] {
            assert_eq!(text(model, &turns), rest, "{model}");
        }
        assert_eq!(text("mock-restarts", &turns), whole);
        assert_eq!(text("mock-overlap-5", &turns), whole[65..]);
        assert_eq!(text("mock-overlap-0", &turns), rest);
        assert_eq!(text("mock-overlap-999", &turns), whole);
        assert_eq!(text("mock-overlap-5", &[USER]), whole);
    }

    #[test]
    fn one_takes_no_prefill_and_some_refuse_by_chance() {
        let turns = [USER, (Role::Assistant, "You said")];
        let refused = script_for("mock-noprefill", &conversation(&turns), Duration::ZERO);
        assert_eq!(refused.err().unwrap().status(), 400);
        let asked = [turns[0], turns[1], ASKS];
        assert!(text("mock-noprefill", &asked).starts_with(" “one"));
        let request = conversation(&[USER]);
        let refusals = |model| {
            let scripts = (0..1000).map(|_| script_for(model, &request, Duration::ZERO));
            scripts.filter(Result::is_err).count()
        };
        fastrand::seed(7);
        assert_eq!(
            (refusals("mock-refuse-0"), refusals("mock-refuse-100")),
            (0, 1000)
        );
        assert!((150..250).contains(&refusals("mock-refuse-20")));
    }

    #[test]
    fn numbers_belong_to_some_names_alone() {
        for name in [
            "mock-break-0",
            "mock-stall-99",
            "mock-slow-1",
            "mock-overlap-2",
            "mock",
        ] {
            assert!(is_known(name), "{name}");
        }
        for name in [
            "mock-fast-3",
            "mock-break-",
            "mock-break-x",
            "mock-break--1",
            "mock-slow",
            "mock-overlap",
            "mock-refuse",
            "mock-7",
            "gpt",
            "",
            "mock-break-99999999999999999999999999999999999999999",
        ] {
            assert!(!is_known(name), "{name}");
        }
    }
}

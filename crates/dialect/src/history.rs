//! The order of a conversation: every upstream wants the results of tool calls directly behind the
//! message with the calls, and clients of some dialects may have other messages between them.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use crate::request::{Message, Part, Request, Role};

/// The places of results that wait for their calls, by the calls' ids: each a message's number and
/// that of the part in it.
type Places<'a> = HashMap<&'a str, VecDeque<(usize, usize)>>;

/// Returns the request with each call's results directly behind it, in the order of the calls, and
/// with the calls before one message of results in one message.
pub(crate) fn ordered(request: &Request) -> Cow<'_, Request> {
    if is_ordered(&request.messages) {
        return Cow::Borrowed(request);
    }
    let messages = with_results_behind(&with_joined_calls(&request.messages));
    Cow::Owned(Request {
        messages,
        ..request.clone()
    })
}

fn calls(message: &Message) -> impl Iterator<Item = &str> {
    let is_own = message.role == Role::Assistant;
    message.parts.iter().filter_map(move |part| match part {
        Part::ToolCall { id, .. } if is_own => Some(id.as_str()),
        _ => None,
    })
}

fn results(message: &Message) -> impl Iterator<Item = (usize, &str)> {
    let parts = message.parts.iter().enumerate();
    parts.filter_map(|(at, part)| match part {
        Part::ToolResult { id, .. } => Some((at, id.as_str())),
        _ => None,
    })
}

/// Returns whether results come directly behind their calls, and in the same order.
fn is_ordered(messages: &[Message]) -> bool {
    // The calls that may still be answered here: in their order, and how often each id is there.
    let mut open: VecDeque<&str> = VecDeque::new();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut is_behind = false;
    for message in messages {
        let mut has_results = false;
        for (_, id) in results(message) {
            has_results = true;
            let Some(count) = counts.get_mut(id).filter(|count| **count > 0) else {
                // Nobody's, and left where it is, unless it came too late for its call.
                continue;
            };
            if !is_behind || open.front() != Some(&id) {
                return false;
            }
            *count -= 1;
            open.pop_front();
        }
        if has_results {
            continue;
        }
        let mut own = calls(message).peekable();
        if own.peek().is_some() {
            if !open.is_empty() {
                return false;
            }
            for id in own {
                *counts.entry(id).or_default() += 1;
                open.push_back(id);
            }
            is_behind = true;
        } else if !open.is_empty() {
            is_behind = false;
        }
    }
    true
}

/// Joins messages with calls that only system messages stand between, or none: their results come
/// behind all of them.
fn with_joined_calls(messages: &[Message]) -> Vec<Message> {
    let mut joined: Vec<Message> = Vec::with_capacity(messages.len());
    // The place of the last message but for system messages, if it has calls.
    let mut last_calls: Option<usize> = None;
    for message in messages {
        if message.role == Role::Assistant
            && let Some(at) = last_calls
        {
            joined[at].parts.extend(message.parts.iter().cloned());
            continue;
        }
        if message.role != Role::System {
            last_calls = calls(message).next().map(|_| joined.len());
        }
        joined.push(message.clone());
    }
    joined
}

/// Moves each result directly behind the message that has its call.
fn with_results_behind(messages: &[Message]) -> Vec<Message> {
    let mut places = Places::new();
    for (at, message) in messages.iter().enumerate() {
        for (part, id) in results(message) {
            places.entry(id).or_default().push_back((at, part));
        }
    }
    let mut moved: Vec<Vec<bool>> = messages
        .iter()
        .map(|message| vec![false; message.parts.len()])
        .collect();
    let mut out = Vec::with_capacity(messages.len());
    for (at, message) in messages.iter().enumerate() {
        let parts = message.parts.iter().zip(&moved[at]);
        let kept: Vec<Part> = parts
            .filter(|(_, moved)| !**moved)
            .map(|(part, _)| part.clone())
            .collect();
        if !kept.is_empty() || message.parts.is_empty() {
            out.push(Message {
                role: message.role,
                parts: kept,
            });
        }
        let mut answers = Vec::new();
        for id in calls(message) {
            let Some(waiting) = places.get_mut(id) else {
                continue;
            };
            while let Some((place, part)) = waiting.pop_front() {
                // One before its call is nobody's.
                if place > at {
                    answers.push(messages[place].parts[part].clone());
                    moved[place][part] = true;
                    break;
                }
            }
        }
        if !answers.is_empty() {
            out.push(Message {
                role: Role::Tool,
                parts: answers,
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(role: Role, text: &str) -> Message {
        Message::text(role, text)
    }

    fn called(ids: &[&str]) -> Message {
        let call = |id: &&str| Part::ToolCall {
            id: (*id).to_owned(),
            name: "f".to_owned(),
            arguments: "{}".to_owned(),
        };
        Message {
            role: Role::Assistant,
            parts: ids.iter().map(call).collect(),
        }
    }

    fn answered(ids: &[&str]) -> Message {
        let result = |id: &&str| Part::ToolResult {
            id: (*id).to_owned(),
            content: vec![Part::Text(format!("result of {id}"))],
            error: false,
        };
        Message {
            role: Role::Tool,
            parts: ids.iter().map(result).collect(),
        }
    }

    fn order(messages: Vec<Message>) -> Option<Vec<Message>> {
        let request = Request {
            messages,
            ..Request::default()
        };
        match ordered(&request) {
            Cow::Borrowed(_) => None,
            Cow::Owned(request) => Some(request.messages),
        }
    }

    #[test]
    fn what_is_in_order_stays() {
        for messages in [
            vec![],
            vec![said(Role::User, "hi"), called(&["a"]), answered(&["a"])],
            vec![
                called(&["a", "b"]),
                answered(&["a"]),
                answered(&["b"]),
                said(Role::User, "x"),
            ],
            vec![
                called(&["a"]),
                answered(&["a"]),
                called(&["a"]),
                answered(&["a"]),
            ],
            // A call without a result, and a result without a call.
            vec![called(&["a"]), said(Role::User, "x")],
            vec![said(Role::User, "x"), answered(&["a"]), called(&["b"])],
        ] {
            assert_eq!(order(messages.clone()), None, "{messages:?}");
        }
    }

    #[test]
    fn results_come_behind_their_calls_and_in_their_order() {
        let (user, system) = (said(Role::User, "u"), said(Role::System, "s"));
        let both = || vec![called(&["a", "b"]), answered(&["a", "b"])];
        for (messages, wanted) in [
            (
                vec![called(&["a"]), user.clone(), answered(&["a"])],
                vec![called(&["a"]), answered(&["a"]), user.clone()],
            ),
            (
                vec![called(&["a"]), system.clone(), answered(&["a"])],
                vec![called(&["a"]), answered(&["a"]), system.clone()],
            ),
            (vec![called(&["a", "b"]), answered(&["b", "a"])], both()),
            (
                vec![called(&["a", "b"]), answered(&["b"]), answered(&["a"])],
                both(),
            ),
            (
                vec![
                    called(&["a"]),
                    called(&["b"]),
                    answered(&["a"]),
                    answered(&["b"]),
                ],
                both(),
            ),
            (
                vec![
                    called(&["a"]),
                    system.clone(),
                    called(&["b"]),
                    answered(&["a", "b"]),
                ],
                vec![called(&["a", "b"]), answered(&["a", "b"]), system.clone()],
            ),
            (
                vec![
                    called(&["a", "b"]),
                    answered(&["a"]),
                    user.clone(),
                    answered(&["b"]),
                ],
                vec![called(&["a", "b"]), answered(&["a", "b"]), user.clone()],
            ),
            (
                vec![
                    called(&["a"]),
                    said(Role::User, "u"),
                    called(&["b"]),
                    answered(&["b"]),
                    answered(&["a"]),
                ],
                vec![
                    called(&["a"]),
                    answered(&["a"]),
                    user.clone(),
                    called(&["b"]),
                    answered(&["b"]),
                ],
            ),
        ] {
            assert_eq!(order(messages.clone()), Some(wanted), "{messages:?}");
        }
    }
}

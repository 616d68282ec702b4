//! What the targets share: a stream of any bytes, read by one dialect and written by all.

use std::sync::Arc;

use bytes::Bytes;
use dialect::event::Event;
use dialect::failure::Failure;
use dialect::request::Request;
use dialect::sse;
use dialect::{DIALECTS, Dialect, FinishRule, ResponseMeta, plain};

/// The payloads of a stream, one a line: read with and without a sink, which must agree; what is
/// read is written in every dialect, and every one that upstreams speak is read again.
pub fn check_stream(dialect: &Dialect, data: &[u8]) {
    let Some(side) = dialect.upstream else { return };
    let (mut loud, mut quiet) = (
        side.event_reader(FinishRule::Required),
        side.event_reader(FinishRule::Required),
    );
    let mut events: Vec<Event<'static>> = Vec::new();
    let mut calls = Vec::new();
    for payload in data.split(|byte| *byte == b'\n') {
        let mut sink = |event: Event<'_>| events.push(event.into_owned());
        let (said, silent) = (
            loud.read_payload(payload, Some(&mut sink)),
            quiet.read_payload(payload, None),
        );
        match (said, silent) {
            (Ok(said), Ok(silent)) => {
                assert_eq!((said.is_end, said.usage), (silent.is_end, silent.usage));
                // What is not read can't be found wrong.
                assert!(said.error.is_some() || silent.error.is_none(), "{silent:?}");
                if said.error.is_some() {
                    return;
                }
            }
            (Err(_), Err(_)) => break,
            (said, silent) => panic!("{said:?} is not {silent:?}"),
        }
        let _ = quiet.read_error(payload);
    }
    let ended = loud.finish_stream(Some(&mut |event| events.push(event.into_owned())));
    // What is only passed on is not judged: a call may have no name, or arguments that are no JSON.
    let passed_on = quiet.finish_stream(None);
    assert!(passed_on.is_ok() || ended.is_err());
    let is_judged = |failure: &Failure| failure.to_string().contains(" tool ");
    assert!(
        passed_on.is_err() || ended.as_ref().err().is_none_or(is_judged),
        "{ended:?}"
    );
    for event in &events {
        match event {
            Event::ToolCall { index, .. } => {
                assert_eq!(*index as usize, calls.len(), "calls are numbered from 0");
                calls.push(true);
            }
            Event::ToolArguments { index, .. } => {
                assert!(calls.get(*index as usize).is_some(), "of no call")
            }
            Event::ToolEnd { index } => {
                assert_eq!(
                    calls.get_mut(*index as usize).map(std::mem::take),
                    Some(true),
                    "a call ends once"
                );
            }
            _ => {}
        }
    }
    let ok = ended.is_ok();
    for other in DIALECTS {
        let mut wire = bytes::BytesMut::new();
        let mut writer = other.client.event_writer(meta());
        for event in &events {
            let _ = writer.write_event(event, &mut |name, data| {
                sse::write_frame(&mut wire, name, data)
            });
        }
        if ok {
            writer.write_end(&mut |name, data| sse::write_frame(&mut wire, name, data));
        }
        let Some(side) = other.upstream.filter(|_| ok) else {
            continue;
        };
        let (mut reader, mut ended) = (side.event_reader(FinishRule::Required), false);
        for frame in sse::frames(&wire) {
            if let Some(data) = frame.data {
                let seen = reader
                    .read_payload(&data, Some(&mut |_| {}))
                    .expect("what we write can be read");
                let is_of_arguments = |failure: &Failure| {
                    is_judged(failure) || failure.to_string().contains("MALFORMED_FUNCTION_CALL")
                };
                if seen.error.as_ref().is_some_and(is_of_arguments) {
                    // A call without a name, or whose arguments are not what they must be.
                    ended = false;
                    break;
                }
                assert!(seen.error.is_none(), "{:?}", seen.error);
                ended = seen.is_end || other.ends_without_mark;
            }
        }
        if ended {
            let finished = reader.finish_stream(None);
            assert!(
                finished.as_ref().err().is_none_or(is_judged),
                "{finished:?}"
            );
        }
    }
}

/// The meta data of an answer.
pub fn meta() -> ResponseMeta {
    ResponseMeta {
        id: "0".to_owned(),
        created: 0,
        model: "m".to_owned(),
        request: Arc::new(Request::prompt("p")),
        encoding: plain::TextEncoding::Text,
    }
}

/// A request's body, read by every dialect and written in every other.
pub fn check_request(data: &[u8]) {
    for dialect in DIALECTS {
        let path = "/v1beta/models/m:streamGenerateContent";
        let Ok(request) = dialect
            .client
            .parse_request(Bytes::copy_from_slice(data), path)
        else {
            continue;
        };
        for other in DIALECTS {
            let Some(side) = other.upstream else { continue };
            if let Ok(written) = dialect::translate(other, side, &request, "model") {
                other
                    .client
                    .parse_request(written.body, path)
                    .map(drop)
                    .unwrap_or_else(|failure| {
                        // What a client said badly stays bad, but it stays a request.
                        assert!(failure.param().is_some(), "{failure}");
                    });
            }
            if other == dialect {
                side.pass_through_body(&request, "another")
                    .expect("the body that was read");
            }
        }
    }
}

//! Runs that are passed through, translated, and broken by errors in every shape.

#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;

use base::id::RequestId;
use dialect::event::{Event, FinishReason};
use dialect::{Dialect, EventSink, FinishRule, ResponseMeta, openai_chat, plain};

use super::client::ClientWriter;
use super::pass_through::PassThrough;
use super::splice::Splice;
use super::step::{RelayStep, StreamEnd};
use super::translate::Translate;
use crate::disconnect::Disconnect;
use crate::generation::meter::{GenerationIdentity, Meter};
use crate::outcome::Observers;
use crate::shutdown::AbortSignal;

const RUN: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\n\
    : a comment\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n\
    data: [DONE]\n\n";

fn meter() -> Meter {
    let identity = GenerationIdentity {
        request_id: RequestId::random(),
        route: "/test",
        model: "m".to_owned(),
    };
    Meter::start(
        identity,
        Disconnect::default(),
        AbortSignal::default(),
        Observers::default(),
    )
}

fn client(dialect: &'static Dialect) -> ClientWriter {
    ClientWriter::new(dialect, ResponseMeta::for_error(), true)
}

fn pass(run: &Bytes, tap: EventSink<'_>) -> RelayStep {
    let reader = openai_chat::DIALECT.upstream.unwrap();
    let reader = reader.event_reader(FinishRule::Required);
    let mut relay = PassThrough::new(reader, &client(&openai_chat::DIALECT));
    relay.relay_run(run.clone(), false, &mut meter(), tap)
}

#[test]
fn a_run_of_the_same_dialect_is_passed_through_as_it_is_beside_a_tap() {
    let run = Bytes::from_static(RUN.as_bytes());
    let untapped = pass(&run, None);
    let mut text = String::new();
    let tapped = pass(
        &run,
        Some(&mut |event| {
            if let Event::Text(said) = event {
                text.push_str(&said);
            }
        }),
    );
    for step in [untapped, tapped] {
        assert_eq!(step.bytes.as_ptr(), run.as_ptr());
        assert_eq!(step.bytes.len(), run.len());
        assert!(step.has_payload);
        let complete = StreamEnd::Complete { already_sent: true };
        assert_eq!(format!("{:?}", step.end), format!("{:?}", Some(complete)));
    }
    assert_eq!(text, "Hello");
}

#[test]
fn a_run_of_another_dialect_is_written_anew() {
    let reader = openai_chat::DIALECT.upstream.unwrap();
    let mut relay = Translate::new(reader.event_reader(FinishRule::Required), false);
    let (mut client, mut meter) = (client(&plain::DIALECT), meter());
    let run = Bytes::from_static(RUN.as_bytes());
    let mut tapped = Vec::new();
    let tap: EventSink<'_> = Some(&mut |event| tapped.push(event.into_owned()));
    let step = relay.relay_run(&run, false, &mut client, &mut meter, tap);
    // The finish reason, which the reader holds back until the end mark, too.
    let finish = Event::Finish(FinishReason::Stop);
    assert_eq!(
        tapped,
        [Event::Text("Hel".into()), Event::Text("lo".into()), finish]
    );
    assert_eq!(step.bytes, "data: Hel\n\ndata: lo\n\n");
    assert!(matches!(
        step.end,
        Some(StreamEnd::Complete {
            already_sent: false
        })
    ));
    assert!(meter.has_content());
}

#[test]
fn an_error_in_any_frame_ends_the_stream_before_it() {
    for error in [
        "error: {\"message\":\"no\"}\n\n",
        "event: error\n\n",
        "{\"error\":{\"message\":\"no\"}}\n\n",
        "event: error\ndata: {\"choices\":[]}\n\n",
        "data: {not json\n\n",
    ] {
        let said = RUN.split_inclusive("\n\n").next().unwrap();
        let run = Bytes::from(format!("{said}{error}"));
        let step = pass(&run, None);
        assert_eq!(step.bytes, said, "{error}");
        let end = step.end;
        assert!(
            matches!(
                end,
                Some(StreamEnd::Failed {
                    already_sent: false,
                    ..
                })
            ),
            "{error}: {end:?}"
        );
    }
}

#[test]
fn a_splice_copies_only_what_is_edited() {
    let run = Bytes::from_static(b"one two three");
    assert_eq!(Splice::new(&run).finish(), None);
    let mut splice = Splice::new(&run);
    splice.truncate(7);
    let cut = splice.finish().unwrap();
    assert_eq!((cut.as_ptr(), cut.len()), (run.as_ptr(), 7));
    let mut splice = Splice::new(&run);
    splice.remove(&(3..7));
    assert_eq!(splice.finish().unwrap(), "one three");
    let mut splice = Splice::new(&run);
    splice.insert_event_name(&(4..7), b"{\"type\":\"ping\"}");
    assert_eq!(splice.finish().unwrap(), "one event: ping\ntwo three");
}

//! Every generation leaves exactly one outcome, however it ends.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests")]

mod admission;
mod fake;
mod hedging;
mod rates;

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;

use base::id::RequestId;
use dialect::failure::{Failure, classes};
use dialect::request::Request;
use dialect::{ResponseMeta, openai_chat};

use super::{
    CompleteGeneration, Generation, GenerationParams, GenerationTimeouts, RefusedGeneration,
};
use crate::compute::ComputePool;
use crate::disconnect::Disconnect;
use crate::outcome::{Observer, Observers, Outcome};
use crate::provider::mock::Mock;
use crate::routing::{Plan, Target};
use crate::shutdown::AbortSignal;

/// The facts of an outcome that the tests look at.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    code: &'static str,
    status: u16,
    payloads: u64,
    attempts: Vec<Option<&'static str>>,
}

#[derive(Debug, Default)]
struct Notebook(Mutex<Vec<Noted>>);

impl Observer for Notebook {
    fn on_outcome(&self, outcome: &Outcome) {
        let attempts = outcome.attempts.iter();
        self.0.lock().unwrap().push(Noted {
            code: outcome.end.code(),
            status: outcome.status,
            payloads: outcome.payloads,
            attempts: attempts
                .map(|attempt| attempt.failure.map(|class| class.code))
                .collect(),
        });
    }
}

impl Notebook {
    fn take(&self) -> Vec<Noted> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn params(model: &str, notebook: &Arc<Notebook>, disconnect: &Disconnect) -> GenerationParams {
    let mock = Arc::new(Mock::new(0, ComputePool::default()));
    params_of(Plan::of(Target::new(mock, model)), notebook, disconnect)
}

fn params_of(plan: Plan, notebook: &Arc<Notebook>, disconnect: &Disconnect) -> GenerationParams {
    let observer: Arc<dyn Observer> = notebook.clone();
    let long = Duration::from_secs(60);
    GenerationParams {
        request_id: RequestId::random(),
        route: "/test",
        permit: None,
        compute: ComputePool::default(),
        request: Arc::new(Request::prompt("Hello, how are you?")),
        plan,
        dialect: &openai_chat::DIALECT,
        meta: ResponseMeta::for_error(),
        headers: HeaderMap::new(),
        comments: true,
        timeouts: GenerationTimeouts {
            first_token: long,
            between_tokens: long,
            total: long,
        },
        client_timeout: None,
        abort: AbortSignal::default(),
        disconnect: disconnect.clone(),
        observers: Observers::from_iter([observer]),
        account: None,
    }
}

async fn read_all(generation: &mut Generation) -> String {
    let mut text = Vec::new();
    while let Some(frames) = poll_fn(|cx| generation.poll_frames(cx)).await {
        text.extend_from_slice(&frames);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_stream_that_is_complete_or_broken() {
    let notebook = Arc::new(Notebook::default());
    for (model, code, failure) in [
        ("mock-fast", "complete", None),
        ("mock-break", "upstream_reset", Some("upstream_reset")),
    ] {
        let mut generation = Generation::start(params(model, &notebook, &Disconnect::default()));
        generation.opened().await.unwrap();
        generation.set_status(200);
        let text = read_all(&mut generation).await;
        assert_eq!(text.contains("[DONE]"), failure.is_none(), "{text}");
        assert_eq!(
            notebook.take(),
            [],
            "only a dropped generation has an outcome"
        );
        drop(generation);
        let [noted] = notebook.take().try_into().unwrap();
        assert!(noted.payloads > 5, "{noted:?}");
        let expected = Noted {
            code,
            status: 200,
            payloads: noted.payloads,
            attempts: vec![failure],
        };
        assert_eq!(noted, expected);
    }
}

#[tokio::test]
async fn a_stream_whose_client_left_stalled_or_cancelled() {
    let notebook = Arc::new(Notebook::default());
    let stalled = Disconnect::default();
    stalled.set_stalled();
    let cancelled = Disconnect::default().for_request();
    cancelled.set_cancelled();
    for (disconnect, code) in [
        (Disconnect::default(), "client_left"),
        (stalled.for_stream(), "client_stall"),
        (cancelled, "cancelled"),
    ] {
        drop(Generation::start(params(
            "mock-fast",
            &notebook,
            &disconnect,
        )));
        let [noted] = notebook.take().try_into().unwrap();
        assert_eq!((noted.code, noted.status, noted.payloads), (code, 499, 0));
    }
    let mut stopped = Generation::start(params("mock-fast", &notebook, &Disconnect::default()));
    let last = stopped.stop(Failure::abandoned(Duration::from_secs(1)));
    assert!(String::from_utf8_lossy(&last).contains("abandoned"));
    drop(stopped);
    assert_eq!(notebook.take()[0].code, classes::ABANDONED.code);
}

#[tokio::test]
async fn a_refusal_is_recorded_with_the_status_that_the_client_got() {
    let notebook = Arc::new(Notebook::default());
    let params = || params("mock-error", &notebook, &Disconnect::default());
    let mut generation = Generation::start(params());
    let failure = generation.opened().await.unwrap_err();
    RefusedGeneration::from(generation).record(&failure, 503);
    let (failure, generation) = CompleteGeneration::start(params())
        .answer()
        .await
        .unwrap_err();
    generation.record(&failure, 503);
    let refused = Some("upstream_refused");
    for noted in notebook.take() {
        assert_eq!((noted.status, noted.attempts), (503, vec![refused]));
    }
}

#[tokio::test]
async fn a_complete_answer() {
    let notebook = Arc::new(Notebook::default());
    let params = params("mock-echo", &notebook, &Disconnect::default());
    let answer = CompleteGeneration::start(params).answer().await.unwrap();
    let body = String::from_utf8_lossy(&answer.body);
    assert!(body.contains("Hello, how are you?"), "{body}");
    let [noted] = notebook.take().try_into().unwrap();
    assert_eq!(
        (noted.code, noted.status, noted.attempts),
        ("complete", 200, vec![None])
    );
}

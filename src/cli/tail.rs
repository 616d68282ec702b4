//! `tokenrill tail URL`: the tokens of a stream in the terminal.
//!
//! Here reqwest-eventsource is the right tool: a person's one stream, read as a browser would read it. It never asks
//! again by itself: a second request would be a second generation.

use std::io::Write as _;
use std::process::ExitCode;

use futures_util::StreamExt;
use reqwest_eventsource::retry::Never;
use reqwest_eventsource::{Error, Event, EventSource};

/// Prints each token as it comes. Exit code 0 only if the stream was complete.
pub(super) async fn tail(url: &str) -> Result<ExitCode, String> {
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
    let mut source = EventSource::new(client.get(url)).map_err(|error| error.to_string())?;
    source.set_retry_policy(Box::new(Never));
    let mut out = std::io::stdout();
    while let Some(event) = source.next().await {
        match event {
            Ok(Event::Open) => {}
            Ok(Event::Message(message)) if message.data == "[DONE]" => {
                source.close();
                return written(writeln!(out));
            }
            Ok(Event::Message(message)) if message.event == "error" => {
                return Ok(broken(&mut out, &format!("the stream broke: {}", message.data)));
            }
            Ok(Event::Message(message)) => {
                if write!(out, "{}", message.data).and_then(|()| out.flush()).is_err() {
                    return Ok(ExitCode::FAILURE);
                }
            }
            Err(Error::InvalidStatusCode(status, response)) => {
                let body = response.text().await.unwrap_or_default();
                return Err(format!("{url} answers {status}: {body}"));
            }
            Err(Error::StreamEnded) => {
                return Ok(broken(&mut out, "the stream ended without [DONE]"));
            }
            Err(error) => return Ok(broken(&mut out, &format!("the stream broke: {error}"))),
        }
    }
    Ok(broken(&mut out, "the stream ended without [DONE]"))
}

fn written(result: std::io::Result<()>) -> Result<ExitCode, String> {
    Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn broken(out: &mut std::io::Stdout, why: &str) -> ExitCode {
    let _ = writeln!(out);
    let _ = writeln!(std::io::stderr(), "tokenrill: {why}");
    ExitCode::FAILURE
}

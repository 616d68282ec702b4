//! `tokenrill tail URL`: the tokens of a stream in the terminal, whole even if its connection
//! isn't.
//!
//! Here reqwest-eventsource is the right tool: a person's one stream, read as a browser would read
//! it. Only its reconnecting is done here, one source for each connection: its own gives up at the
//! first 503, and would ask again where no event had an id, which is a second generation and not
//! the rest of the first.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use futures_util::StreamExt;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use reqwest_eventsource::retry::Never;
use reqwest_eventsource::{Error, Event, EventSource};

use base::id::random_hex;

/// Until a stream says otherwise by `retry:`, as it is with browsers.
const RETRY: Duration = Duration::from_secs(1);
/// Between two attempts there is never more, whoever says so.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// And never less.
const SHORTEST_RETRY: Duration = Duration::from_millis(50);
/// A server that can't be reached is not waited for longer.
const CONNECT: Duration = Duration::from_secs(10);
/// A silent server is asked for a sign of life after so long, and again as often.
const PROBE: Duration = Duration::from_secs(10);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Asked again under the same key before anything came, a tokenrill goes on with the generation
/// that it has begun.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const X_LINGER: HeaderName = HeaderName::from_static("x-linger");

/// The arguments of `tokenrill tail`.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// The stream, such as http://127.0.0.1:8080/stream?prompt=Hello
    url: String,
    /// Send this header too, such as 'authorization: Bearer …'
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Time for which the answer is generated on while nobody reads it, such as 1m
    #[arg(long, value_name = "DURATION")]
    linger: Option<HeaderValue>,
    /// Begin after this event
    #[arg(long, value_name = "ID")]
    last_event_id: Option<HeaderValue>,
    /// Give up when the stream could not be resumed for so long
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    patience: Duration,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("should be a name, a colon and a value")?;
    let name = name
        .trim()
        .parse()
        .map_err(|_| "has a name that is none for a header")?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| "has a value that no header can carry")?;
    Ok((name, value))
}

/// The way in which one connection ended.
enum End {
    /// The answer is complete.
    Complete,
    /// It is over, and all of it was read before.
    NothingLeft,
    /// It is over, and this is why it is not complete.
    Broken(String),
    /// The server won't: what it said.
    Refused(String),
    /// The connection broke, or there was none: the rest may be had by another. With a time, not
    /// before.
    Cut(String, Option<Duration>),
    /// Nobody reads what we print.
    NobodyReads,
}

/// The state of a stream across its connections.
struct Reader {
    out: std::io::Stdout,
    /// The last event that was printed.
    id: Option<HeaderValue>,
    /// The wait before the next connection, as the stream asked for.
    retry: Duration,
    /// The last data that was no end: an error in a dialect that has no name for it.
    last: String,
    /// Set if this connection delivered anything.
    heard: bool,
    /// Set if any connection delivered anything.
    begun: bool,
    /// Set if the server accepted any connection.
    opened: bool,
}

/// Returns the HTTP client, with the headers of every request.
fn client(tail: &Tail) -> Result<Client, String> {
    let mut headers: HeaderMap = tail.headers.iter().cloned().collect();
    if let Some(linger) = &tail.linger {
        headers.insert(X_LINGER, linger.clone());
    }
    if let Ok(key) = HeaderValue::try_from(random_hex()) {
        headers.entry(IDEMPOTENCY_KEY).or_insert(key);
    }
    Client::builder()
        .no_proxy()
        // Keys in headers are for the server that was named.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT)
        .tcp_keepalive(PROBE)
        .tcp_keepalive_interval(PROBE)
        .tcp_keepalive_retries(3)
        .default_headers(headers)
        .build()
        .map_err(|error| error.to_string())
}

/// Prints each token as it comes. Exit code 0 only if the stream was complete.
pub(super) async fn tail(tail: &Tail) -> Result<ExitCode, String> {
    let client = client(tail)?;
    let id = tail.last_event_id.clone();
    let mut reader = Reader {
        out: std::io::stdout(),
        id,
        retry: RETRY,
        last: String::new(),
        heard: false,
        begun: false,
        opened: false,
    };
    let (mut failing, mut failures) = (None, 0);
    loop {
        let end = reader.connection(&client, &tail.url).await?;
        let (why, wait) = match end {
            End::Complete => return Ok(reader.finish(None)),
            End::NothingLeft => return Ok(reader.finish(reader.nameless_error())),
            End::Broken(why) => return Ok(reader.finish(Some(why))),
            End::NobodyReads => return Ok(ExitCode::FAILURE),
            End::Refused(why) if reader.id == tail.last_event_id => return Err(why),
            End::Refused(why) => {
                return Ok(reader.finish(Some(format!("the stream can't be resumed: {why}"))));
            }
            End::Cut(why, wait) => (why, wait),
        };
        if reader.id.is_none() && (reader.begun || !reader.opened) {
            return Ok(reader.finish(Some(format!(
                "the stream broke, and can't be resumed: {why}"
            ))));
        }
        if std::mem::take(&mut reader.heard) {
            (failing, failures) = (None, 0);
        }
        let since = *failing.get_or_insert_with(Instant::now);
        let pause = wait
            .unwrap_or_else(|| reader.retry.saturating_mul(1 << failures.min(5)))
            .clamp(SHORTEST_RETRY, LONGEST_RETRY);
        if since.elapsed() + pause > tail.patience {
            return Ok(reader.finish(Some(format!(
                "the stream broke, and could not be resumed: {why}"
            ))));
        }
        failures += 1;
        tokio::time::sleep(pause).await;
    }
}

impl Reader {
    /// Reads what comes over one connection, from after the last event.
    async fn connection(&mut self, client: &Client, url: &str) -> Result<End, String> {
        let mut request = client.get(url);
        if let Some(id) = &self.id {
            request = request.header(LAST_EVENT_ID, id);
        }
        let mut source = EventSource::new(request).map_err(|error| error.to_string())?;
        source.set_retry_policy(Box::new(Never));
        while let Some(event) = source.next().await {
            let message = match event {
                Ok(Event::Open) => {
                    self.opened = true;
                    continue;
                }
                Ok(Event::Message(message)) => message,
                Err(error) => return Ok(self.failed(url, error).await),
            };
            (self.heard, self.begun) = (true, true);
            match (message.event.as_str(), message.data.as_str()) {
                (_, "[DONE]")
                | ("message_stop" | "response.completed" | "response.incomplete", _) => {
                    return Ok(End::Complete);
                }
                ("error" | "response.failed", why) => {
                    return Ok(End::Broken(format!("the stream broke: {why}")));
                }
                (_, text) => {
                    if write!(self.out, "{text}")
                        .and_then(|()| self.out.flush())
                        .is_err()
                    {
                        return Ok(End::NobodyReads);
                    }
                }
            }
            self.last = message.data;
            // An empty one takes the position away: there is none to resume from.
            self.id = HeaderValue::try_from(message.id)
                .ok()
                .filter(|id| !id.is_empty());
            self.retry = message.retry.unwrap_or(self.retry);
        }
        Ok(End::Cut("it ended without [DONE]".to_owned(), None))
    }

    async fn failed(&self, url: &str, error: Error) -> End {
        match error {
            Error::InvalidStatusCode(StatusCode::NO_CONTENT, _) => End::NothingLeft,
            Error::InvalidStatusCode(status, response) => {
                let wait = response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|value| value.to_str().ok()?.parse().ok());
                let body = response.text().await.unwrap_or_default();
                let said = format!("{url} answers {status}: {}", body.trim_end());
                // It may be just starting, or what stands before it.
                let passing = matches!(status.as_u16(), 408 | 429 | 500 | 502..=504);
                if passing && self.id.is_some() {
                    End::Cut(said, wait.map(Duration::from_secs))
                } else {
                    End::Refused(said)
                }
            }
            Error::InvalidContentType(kind, _) => {
                End::Refused(format!("{url} answers with {kind:?}, not a stream"))
            }
            // Asked again, it would end so again.
            Error::StreamEnded if self.id.is_none() => End::Broken(
                "the stream broke, and can't be resumed: it ended without [DONE]".to_owned(),
            ),
            Error::StreamEnded => End::Cut("it ended without [DONE]".to_owned(), None),
            error => End::Cut(chain(&error), None),
        }
    }

    /// Dialects whose errors are data like any other end without a mark, too.
    fn nameless_error(&self) -> Option<String> {
        let last: serde_json::Value = serde_json::from_str(&self.last).ok()?;
        last.get("error")
            .map(|error| format!("the stream broke: {error}"))
    }

    /// Ends the line, and says why if the stream is not whole.
    fn finish(&self, broken: Option<String>) -> ExitCode {
        let ended = writeln!(&self.out);
        match broken {
            Some(why) => {
                let _ = writeln!(std::io::stderr(), "tokenrill: {why}");
                ExitCode::FAILURE
            }
            None if ended.is_ok() => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        }
    }
}

/// An error with what caused it: reqwest's own words are only the outermost.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut words: Vec<String> = causes.map(ToString::to_string).collect();
    words.dedup_by(|later, earlier| earlier.contains(later.as_str()));
    words.join(": ")
}

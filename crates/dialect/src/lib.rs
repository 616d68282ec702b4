//! The wire formats of LLM APIs, as codecs and nothing else.
//!
//! A [`Dialect`] has up to two sides. [`ClientSide`] parses a client's request and encodes its
//! response; [`UpstreamSide`] encodes a request for an upstream and parses the response. Bytes in,
//! bytes out, no I/O: any dialect stands in front of any other, and all are tested without a
//! network. They meet only in [`request`] and [`event`], so N clients and M upstreams cost N + M
//! codecs.
//!
//! | module | subject |
//! | --- | --- |
//! | [`request`], [`event`], [`Answer`] | neutral requests, streams, complete answers |
//! | [`plain`], [`openai_chat`], [`openai_responses`], [`anthropic`], [`gemini`] | the dialects |
//! | [`sse`] | Server-Sent Events: bytes to frames and back |
//! | [`json`] | bounded JSON of requests; the cursor over payloads |
//! | [`families`] | what models refuse and want, as data |
//! | [`failure`] | errors as data: code, kind, status, blame, retry |
//!
//! A request from one dialect to another:
//!
//! ```
//! use bytes::Bytes;
//! use dialect::{Dialect, openai_chat, translate};
//!
//! let body = r#"{"model": "fast", "messages": [{"role": "user", "content": "Hello"}]}"#;
//! let client = openai_chat::DIALECT.client;
//! let request = client.parse_request(Bytes::from(body), "/v1/chat/completions")?;
//!
//! let (gemini, upstream) = Dialect::with_upstream("gemini").unwrap();
//! let payload = translate(gemini, upstream, &request, "gemini-2.5-flash")?;
//! assert_eq!(payload.body, r#"{"contents":[{"role":"user","parts":[{"text":"Hello"}]}]}"#);
//! # Ok::<(), dialect::failure::Failure>(())
//! ```
//!
//! A payload of an upstream's stream, through events, to frames for a client:
//!
//! ```
//! use dialect::{Dialect, FinishRule, ResponseMeta, plain, sse};
//!
//! let (_, upstream) = Dialect::with_upstream("anthropic").unwrap();
//! let mut reader = upstream.event_reader(FinishRule::Required);
//! let mut writer = plain::DIALECT.client.event_writer(ResponseMeta::for_error());
//! let mut wire = bytes::BytesMut::new();
//!
//! let payload = br#"{"type":"content_block_delta","index":0,
//!     "delta":{"type":"text_delta","text":"Hi"}}"#;
//! let mut events = Vec::new();
//! let info = reader.read_payload(payload, Some(&mut |event| events.push(event.into_owned())))?;
//! assert!(info.has_content);
//! for event in &events {
//!     writer.write_event(event, &mut |name, data| sse::write_frame(&mut wire, name, data))?;
//! }
//! assert_eq!(&wire[..], b"data: Hi\n\n");
//! # Ok::<(), dialect::failure::Failure>(())
//! ```
//!
//! **Adding a dialect**: a file beside the others with a [`Dialect`], and its line in [`DIALECTS`].
//! Routes, configuration, error shapes and the tests of every pair go through that list.

pub mod event;
pub mod failure;
pub mod families;
pub mod request;
pub mod sse;

mod answer;
pub mod anthropic;
mod block_calls;
mod body_kind;
mod call_arguments;
mod codec;
mod continuation;
mod continued_note;
pub mod converse;
mod counts;
mod custom_input;
mod error_report;
mod finish;
pub mod gemini;
mod history;
pub mod json;
mod json_values;
mod logprobs;
pub mod ollama;
mod openai;
pub mod openai_chat;
pub mod openai_responses;
mod parameters;
mod payload_builder;
pub mod plain;
mod replay;
mod restoring_reader;
mod seal;
mod text_digest;
mod tool_names;
mod tool_schema;
mod tools;
mod value_size;

use crate::event::Event;
use crate::failure::Failure;
use crate::families::{Families, Family};
use crate::request::{Loss, Request, Unsupported};

pub use answer::Answer;
pub use body_kind::{BodyKind, skip_blanks};
pub use codec::{
    AnswerFolder, ClientSide, DONE, EventReader, EventSink, EventWriter, FinishRule, FrameSink,
    MAX_HELD_BYTES, PassThroughPosition, PayloadInfo, ResponseMeta, UnaskedUsage, UpstreamPayload,
    UpstreamSide,
};
pub(crate) use codec::{MAX_CALLS, emit, too_many_error};
pub use continuation::Continuation;
pub use continued_note::ContinuedNote;
pub use counts::token_count;
pub use error_report::ErrorReport;
pub use json_values::JsonValues;
pub use parameters::Parameters;
pub use replay::{JsonReply, JsonShape, read_json_payloads, read_json_reply, write_json_frame};
pub use seal::SealKey;
pub use tool_names::{ToolNameRule, ToolNames};

/// All dialects.
///
/// ```
/// let names: Vec<&str> = dialect::DIALECTS.iter().map(|dialect| dialect.name).collect();
/// assert_eq!(names, ["plain", "openai-chat", "openai-responses", "anthropic", "gemini"]);
/// ```
pub static DIALECTS: &[&Dialect] = &[
    &plain::DIALECT,
    &openai_chat::DIALECT,
    &openai_responses::DIALECT,
    &anthropic::DIALECT,
    &gemini::DIALECT,
];

/// A wire format: its name, its codecs and the facts that its clients rely on.
#[derive(Debug)]
pub struct Dialect {
    /// Name in the configuration.
    pub name: &'static str,
    /// Codec for clients of this dialect.
    pub client: &'static dyn ClientSide,
    /// Codec for upstreams of this dialect, if there are any.
    pub upstream: Option<&'static dyn UpstreamSide>,
    /// Routes on which clients speak it, as axum spells them; empty if it has handlers of its own.
    pub endpoints: &'static [&'static str],
    /// Clients may ask for an answer again by its id, so the id of a streamed answer names its
    /// stream.
    pub retrieves_by_id: bool,
    /// Every frame carries an `event:` field that repeats its payload's `type`; clients read
    /// either.
    pub names_events: bool,
    /// A complete stream simply ends, without an end mark.
    pub ends_without_mark: bool,
    /// An error that ends a stream is repeated as bare JSON, for clients that know no other.
    pub repeats_errors_bare: bool,
    /// Bytes that keep a silent connection open: a whole frame or a comment that clients skip. Sent
    /// only between events.
    pub heartbeat: &'static [u8],
}

/// A heartbeat that any client written to the SSE standard skips.
pub(crate) const COMMENT_HEARTBEAT: &[u8] = b": heartbeat\n\n";

impl PartialEq for Dialect {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Dialect {}

impl Dialect {
    /// Returns a dialect that only upstreams speak: its client side is that of Chat Completions,
    /// and has no endpoint.
    const fn of_upstreams(name: &'static str, side: &'static dyn UpstreamSide) -> Self {
        Self {
            name,
            client: openai_chat::DIALECT.client,
            upstream: Some(side),
            endpoints: &[],
            retrieves_by_id: false,
            names_events: false,
            ends_without_mark: false,
            repeats_errors_bare: false,
            heartbeat: COMMENT_HEARTBEAT,
        }
    }

    /// Returns the dialect of that name and its codec for upstreams, if it has one.
    #[must_use]
    pub fn with_upstream(name: &str) -> Option<(&'static Dialect, &'static dyn UpstreamSide)> {
        let dialect = DIALECTS.iter().find(|dialect| dialect.name == name)?;
        Some((dialect, dialect.upstream?))
    }

    /// Returns the dialect of that name and its codec for the upstreams of a flavor: that of all,
    /// where the flavor asks for nothing else.
    #[must_use]
    pub fn with_upstream_of(
        name: &str,
        flavor: &str,
    ) -> Option<(&'static Dialect, &'static dyn UpstreamSide)> {
        // Dialects of upstreams alone.
        for own in [&ollama::DIALECT, &converse::DIALECT] {
            if flavor == own.name && name == flavor {
                return Some((own, own.upstream?));
            }
        }
        let (dialect, side) = Self::with_upstream(name)?;
        let hosted = match dialect {
            dialect if *dialect == openai_chat::DIALECT => openai_chat::hosted(flavor),
            dialect if *dialect == openai_responses::DIALECT => openai_responses::hosted(flavor),
            _ => None,
        };
        Some((dialect, hosted.unwrap_or(side)))
    }

    /// Returns a count of tokens as its clients read it.
    ///
    /// # Errors
    ///
    /// When its clients ask for none.
    pub fn encode_token_count(&self, tokens: u64) -> Result<bytes::Bytes, Failure> {
        let count = self.client.encode_token_count(tokens);
        let count = count.ok_or_else(|| {
            Failure::internal(format!("{} has no counts of tokens", self.name).into())
        })?;
        Ok(count.into())
    }

    /// Returns the dialect of that name.
    ///
    /// ```
    /// let gemini = dialect::Dialect::named("gemini").unwrap();
    /// assert!(gemini.ends_without_mark);
    /// assert!(dialect::Dialect::named("telnet").is_none());
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Dialect> {
        DIALECTS
            .iter()
            .find(|dialect| dialect.name == name)
            .copied()
    }

    /// Returns the kind of content that clients of this dialect don't get of an event.
    ///
    /// ```
    /// use dialect::event::Event;
    /// use dialect::request::Image;
    ///
    /// let image = Event::Image(Image::from_url("data:image/png;base64,AA"));
    /// let omitted = |name| dialect::Dialect::named(name).unwrap().omitted(&image);
    /// assert_eq!(omitted("anthropic").as_deref(), Some("image"));
    /// assert_eq!(omitted("gemini"), None);
    /// ```
    #[must_use]
    pub fn omitted(&self, event: &Event<'_>) -> Option<String> {
        match event {
            Event::Unsupported(kind) => Some(kind.to_string()),
            Event::Image(image) if !self.client.has_place_for(image) => Some("image".to_owned()),
            _ => None,
        }
    }

    /// Returns the names of all dialects that upstreams speak.
    pub fn upstream_names() -> impl Iterator<Item = &'static str> {
        DIALECTS
            .iter()
            .filter(|dialect| dialect.upstream.is_some())
            .map(|dialect| dialect.name)
    }
}

/// Returns the dialect in which a client at that path expects its errors.
#[must_use]
pub fn dialect_for_path(path: &str) -> &'static Dialect {
    const PREFIXES: &[(&str, &Dialect)] = &[
        ("/v1/chat/completions", &openai_chat::DIALECT),
        ("/v1/responses", &openai_responses::DIALECT),
        ("/v1/messages", &anthropic::DIALECT),
        ("/v1beta/", &gemini::DIALECT),
    ];
    if let Some((_, dialect)) = PREFIXES.iter().find(|(prefix, _)| path.starts_with(prefix)) {
        return dialect;
    }
    match path.rsplit_once(':').map(|(_, method)| method) {
        Some(method) if method.ends_with("Content") || method == "countTokens" => &gemini::DIALECT,
        // A stream belongs to no model API.
        _ if path.starts_with("/v1/stream/") || !path.starts_with("/v1/") => &plain::DIALECT,
        _ => &openai_chat::DIALECT,
    }
}

/// Encodes a neutral request for an upstream of another dialect than the client's.
///
/// # Errors
///
/// A 400 that names the feature which the upstream's dialect lacks.
///
/// # Examples
///
/// ```
/// use dialect::{Dialect, request::Request, translate};
///
/// let (anthropic, upstream) = Dialect::with_upstream("anthropic").unwrap();
/// let request = Request::prompt("Hello");
/// let payload = translate(anthropic, upstream, &request, "claude-sonnet-5")?;
/// assert!(payload.dropped.is_empty());
/// assert!(payload.body.windows(5).any(|window| window == b"Hello"));
/// # Ok::<(), dialect::failure::Failure>(())
/// ```
pub fn translate(
    to: &Dialect,
    upstream: &dyn UpstreamSide,
    request: &Request,
    model: &str,
) -> Result<UpstreamPayload, Failure> {
    let rules = Families::built_in().rules(to.name, model);
    translate_by(to, upstream, request, model, &rules)
}

/// Encodes a neutral request for an upstream of another dialect, by these rules for its model.
///
/// # Errors
///
/// A 400 that names the feature which the upstream's dialect lacks.
pub fn translate_by(
    to: &Dialect,
    upstream: &dyn UpstreamSide,
    request: &Request,
    model: &str,
    rules: &Family,
) -> Result<UpstreamPayload, Failure> {
    let refuse = |param: &str, lacks: &str| {
        let message = format!("the provider of this model ({}) {lacks}", to.name);
        Err(Failure::invalid(param, message))
    };
    let is_refused = |part: &&Unsupported| part.loss == Loss::Essential;
    if let Some(part) = request.unsupported.iter().find(is_refused) {
        let lacks = format!("has no equivalent of {}", part.described());
        return refuse(&part.param, &lacks);
    }
    if let Some(file) = request.find_file(|file| !upstream.takes_file(file)) {
        let param = &file.param;
        let lacks = match file.is_stored() {
            true => {
                format!("can't read the files of OpenAI's store: `{param}` names one by its id")
            }
            false => format!("takes no file of type `{}`: `{param}`", file.media_type),
        };
        return refuse(&file.param, &lacks);
    }
    if request.n > 1 {
        return refuse("n", &format!("gives one answer, not `n` = {}", request.n));
    }
    if let Some(param) = request.logprobs.and_then(|asked| asked.param)
        && !upstream.takes_logprobs()
    {
        return refuse(param, &format!("has no equivalent of `{param}`"));
    }
    request.check()?;
    let request = history::ordered(request);
    let loses_logprobs = request.logprobs.is_some() && !upstream.takes_logprobs();
    let (request, names) = ToolNames::fit(&request, upstream.tool_name_rule());
    let mut written = upstream.encode_request(&request, model, rules)?;
    written.names = names;
    let mut schemas = request.tools.iter().map(|tool| &tool.parameters);
    if to != &gemini::DIALECT && schemas.any(tool_schema::has_alternatives) {
        written
            .dropped
            .push("alternatives at the top of a tool's schema".to_owned());
    }
    if loses_logprobs {
        written.dropped.push("logprobs".to_owned());
    }
    written
        .dropped
        .extend(request.unsupported.iter().map(Unsupported::log_name));
    Ok(written)
}

//! Responses over a WebSocket: the message with which a client asks for one, and what is kept of a
//! response so that the next one on the same socket can go on from it.
//!
//! Not here: the socket, and which response a client may go on from.

mod capture;

use bytes::Bytes;
use memchr::memmem;
use serde_json::value::RawValue;

pub use self::capture::{EventKind, KeptResponse, ResponseCapture};
use crate::failure::Failure;
use crate::json::{self, Json, RequestFields, quote};

/// The longest `stream_id`, in bytes.
const MAX_STREAM_ID: usize = 256;
/// Fields of a message that a request over HTTP doesn't have, or that say how it is answered.
const SOCKET_FIELDS: &[&str] = &["type", "stream_id", "generate", "stream", "background"];
const PREVIOUS_ID: &str = "previous_response_id";

/// A client's message.
#[derive(Debug)]
pub enum SocketMessage {
    /// Asks for a response.
    Create(ResponseCreate),
    /// Tells that the client has read a response; nothing follows from it.
    Acknowledgement,
}

/// A message that can't be read.
#[derive(Debug)]
pub struct UnreadableMessage {
    /// The failure.
    pub failure: Failure,
    /// The id of the stream to which it belongs, if that could be read.
    pub stream_id: Option<String>,
}

/// A `response.create`.
#[derive(Debug)]
pub struct ResponseCreate {
    /// The stream in which it has its turn; the unnamed one if there is none.
    pub stream_id: Option<String>,
    /// The id of the response that it goes on from.
    pub previous_response_id: Option<String>,
    /// Set if a response is wanted, and not only that its input is kept.
    pub generate: bool,
    /// Set unless the client forbids its upstream to keep the response.
    pub store: bool,
    /// The name of the model.
    pub model: Option<String>,
    message: Bytes,
}

/// The beginning of a conversation that a request goes on with.
#[derive(Debug)]
pub enum Origin {
    /// There is none: the request holds all of it.
    Start,
    /// The upstream has it, under the id that the request names. It is known here, or not.
    Upstream(Option<ItemLists>),
    /// It is sent again, before the request's own input.
    Replay {
        /// The items.
        items: ItemLists,
        /// Set for an upstream that refuses reasoning without its encrypted content.
        needs_encrypted_reasoning: bool,
    },
}

/// A request over HTTP that says the same as a message.
#[derive(Debug)]
pub struct EquivalentRequest {
    /// The body.
    pub body: Bytes,
    /// The input of the whole conversation, if that is known.
    pub input: Option<ItemLists>,
}

/// Lists of items that follow each other.
#[derive(Debug, Clone, Default)]
pub struct ItemLists {
    lists: Vec<Bytes>,
    /// The bytes that the lists hold in memory.
    size: usize,
}

impl ItemLists {
    /// Returns the bytes that the lists hold in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Adds a list, which holds that many bytes in memory.
    fn push(&mut self, list: Bytes, size: usize) {
        if !elements(&list).is_empty() {
            self.lists.push(list);
            self.size += size;
        }
    }
}

/// Parses a client's message.
///
/// # Errors
///
/// When it is no JSON object, has an unknown `type`, or a wrong field.
pub fn parse_socket_message(message: Bytes) -> Result<SocketMessage, UnreadableMessage> {
    let unnamed = |failure| UnreadableMessage {
        failure,
        stream_id: None,
    };
    let mut fields = RequestFields::parse(&message).map_err(unnamed)?;
    let stream_id = parse_stream_id(fields.raw("stream_id")).map_err(unnamed)?;
    let create = parse_create(&mut fields, stream_id.clone(), message.clone());
    create.map_err(|failure| UnreadableMessage { failure, stream_id })
}

fn parse_create(
    fields: &mut RequestFields<'_>,
    stream_id: Option<String>,
    message: Bytes,
) -> Result<SocketMessage, Failure> {
    match fields.json("type").text().as_deref() {
        Some("response.create") => {}
        Some("response.processed") => return Ok(SocketMessage::Acknowledgement),
        _ => {
            let message = "`type` should be \"response.create\"; nothing else is asked for here";
            return Err(Failure::invalid("type", message));
        }
    }
    let previous: Option<String> = fields.take(PREVIOUS_ID, "the id of a response")?;
    Ok(SocketMessage::Create(ResponseCreate {
        stream_id,
        previous_response_id: previous.filter(|id| !id.is_empty()),
        generate: fields.take("generate", "true or false")?.unwrap_or(true),
        store: fields.json("store").as_bool().unwrap_or(true),
        model: fields.model()?,
        message,
    }))
}

fn parse_stream_id(id: Option<&RawValue>) -> Result<Option<String>, Failure> {
    let id = Json::from(id);
    if id.is_null() {
        return Ok(None);
    }
    let is_fine = |c: u8| c.is_ascii_alphanumeric() || b"_-.".contains(&c);
    id.text()
        .filter(|id| (1..=MAX_STREAM_ID).contains(&id.len()) && id.bytes().all(is_fine))
        .map(|id| Some(id.into_owned()))
        .ok_or_else(Failure::invalid_stream_id)
}

impl ResponseCreate {
    /// Returns the size of the message, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.message.len()
    }

    /// Returns the equivalent request over HTTP; a `model` takes the place of the message's own.
    ///
    /// # Errors
    ///
    /// When it goes on from items, and its input is neither text nor a list.
    pub fn into_request(
        self,
        origin: Origin,
        model: Option<&str>,
    ) -> Result<EquivalentRequest, Failure> {
        let mut input = Json::NULL;
        let mut out = vec![b'{'];
        let keeps_id = matches!(origin, Origin::Upstream(_));
        json::parse_object(&self.message)?.each_field(|name, value| {
            let name = String::from_utf8_lossy(name);
            let is_left_out = SOCKET_FIELDS.contains(&&*name)
                || (name == PREVIOUS_ID && !keeps_id)
                || (name == "model" && model.is_some());
            match &*name {
                "input" => input = value,
                _ if is_left_out => {}
                _ => write_field(&mut out, &name, value.raw()),
            }
        });
        if let Some(model) = model {
            write_field(
                &mut out,
                "model",
                &serde_json::Value::from(model).to_string(),
            );
        }
        write_field(&mut out, "stream", "true");
        let own = own_items(input);
        let list = match &origin {
            Origin::Start | Origin::Upstream(_) => None,
            Origin::Replay { .. } if own.is_none() => {
                let message = "`input` should be a string, or a list of items";
                return Err(Failure::invalid("input", message));
            }
            Origin::Replay {
                items,
                needs_encrypted_reasoning,
            } => Some(joined(items, *needs_encrypted_reasoning, own.as_deref())),
        };
        let sent = list.as_deref().unwrap_or(input.raw());
        let is_missing = sent == "null";
        if !is_missing {
            write_field(&mut out, "input", sent);
        }
        let place = out.len() - sent.len()..out.len();
        out.push(b'}');
        let body = Bytes::from(out);
        // A list is kept where it lies in the body; but not many bodies for a few items of each.
        let whole = match origin {
            Origin::Upstream(None) => None,
            Origin::Upstream(Some(mut items)) => own.map(|own| {
                let own = Bytes::from(own);
                let size = own.len();
                items.push(own, size);
                items
            }),
            Origin::Start | Origin::Replay { .. } => own.map(|own| {
                let mut items = ItemLists::default();
                match !is_missing && sent.starts_with('[') {
                    true => items.push(body.slice(place), body.len()),
                    false => {
                        let size = own.len();
                        items.push(own.into(), size);
                    }
                }
                items
            }),
        };
        Ok(EquivalentRequest { body, input: whole })
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, json: &str) {
    if out.len() > 1 {
        out.push(b',');
    }
    quote(out, name);
    out.push(b':');
    out.extend_from_slice(json.as_bytes());
}

/// Returns an input as a list of items; none if it is no input.
fn own_items(input: Json<'_>) -> Option<String> {
    if input.is_list() {
        return Some(input.raw().to_owned());
    }
    if input.is_null() {
        return Some("[]".to_owned());
    }
    input.text()?;
    let text = input.raw();
    Some(format!(
        r#"[{{"type":"message","role":"user","content":{text}}}]"#
    ))
}

/// Returns one list of all items.
fn joined(items: &ItemLists, needs_encrypted_reasoning: bool, own: Option<&str>) -> String {
    let mut out = String::with_capacity(items.size + own.map_or(0, str::len));
    out.push('[');
    let mut add = |items: &str| {
        if !items.is_empty() {
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(items);
        }
    };
    for list in &items.lists {
        match needs_encrypted_reasoning && memmem::find(list, b"\"reasoning\"").is_some() {
            true => Json::of_valid(text(list))
                .items()
                .filter(|item| !is_lost_reasoning(*item))
                .for_each(|item| add(item.raw())),
            false => add(elements(list)),
        }
    }
    add(elements(own.unwrap_or("[]").as_bytes()));
    out.push(']');
    out
}

/// Returns whether an item only names reasoning that its upstream has not kept.
fn is_lost_reasoning(item: Json<'_>) -> bool {
    let is_empty = |name| item.get(name).is_empty();
    item.get("type").is("reasoning") && is_empty("encrypted_content") && is_empty("content")
}

/// Returns the elements of a list as they are written.
fn elements(list: &[u8]) -> &str {
    let list = text(list).trim_ascii();
    list.get(1..list.len().saturating_sub(1))
        .unwrap_or_default()
        .trim_ascii()
}

/// Returns JSON, which was read before, as text.
fn text(json: &[u8]) -> &str {
    std::str::from_utf8(json).unwrap_or("[]")
}

#[cfg(test)]
mod tests;

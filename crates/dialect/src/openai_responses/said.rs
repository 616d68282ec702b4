//! The texts that a stream has said, by item and part. Texts that come whole later, at the end of a
//! part, of an item or of the answer, add only what was not said before.

use std::borrow::Cow;

use serde_json::Value;

use super::answer::{SaidBefore, item_events, item_texts};
use super::payload::{ItemAliases, ItemKey};
use crate::event::Event;
use crate::failure::Failure;
use crate::text_digest::TextDigest;
use crate::{EventSink, MAX_CALLS, MAX_HELD_BYTES, emit, too_many_error};

/// The text of which a piece is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextKind {
    Text,
    Refusal,
    /// A summary of the reasoning.
    Summary,
    /// The reasoning itself.
    Reasoning,
}

impl TextKind {
    fn event(self, text: Cow<'_, str>) -> Event<'_> {
        match self {
            TextKind::Text => Event::Text(text),
            TextKind::Refusal => Event::Refusal(text),
            TextKind::Summary | TextKind::Reasoning => Event::Reasoning(text),
        }
    }

    fn channel(self) -> Channel {
        match self {
            TextKind::Text | TextKind::Refusal => Channel::Text,
            TextKind::Summary | TextKind::Reasoning => Channel::Thought,
        }
    }
}

/// One of the two texts that an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channel {
    Text,
    Thought,
}

impl Channel {
    /// Returns the channel of an item's texts; `None` for an item of another kind.
    fn of(item: &Value) -> Option<Self> {
        match item["type"].as_str() {
            Some("message") => Some(Channel::Text),
            Some("reasoning") => Some(Channel::Thought),
            _ => None,
        }
    }
}

/// The items of one answer that are no calls.
#[derive(Debug, Default)]
pub(super) struct SaidItems {
    items: Vec<SaidItem>,
    parts: Vec<SaidPart>,
    /// All that was said, by channel.
    digests: [TextDigest; 2],
    /// Number of citations that were emitted.
    citations: usize,
    /// Size of the ids, in bytes.
    held: usize,
}

#[derive(Debug)]
struct SaidItem {
    /// Output index, or the id if the index is missing.
    key: ItemKey,
    id: String,
    digests: [TextDigest; 2],
    citations: usize,
    /// The kind of its reasoning: some upstreams send it in two.
    thought: Option<TextKind>,
    is_done: bool,
}

/// A part of an item: one of its texts, or of its summaries.
#[derive(Debug)]
struct SaidPart {
    item: usize,
    channel: Channel,
    /// Its index, if its events have one.
    place: Option<u64>,
    digest: TextDigest,
}

/// The part of a whole answer that is still to be told.
#[derive(Debug)]
pub(super) struct AnswerRest {
    /// The number of bytes to be left out, by channel; `None` if the answer does not begin with
    /// what was said.
    skipped: [Option<usize>; 2],
    /// Every item that was said is in the answer by its id, by channel.
    is_named: [bool; 2],
    /// A reasoning item was told.
    has_thought: bool,
    citations: usize,
}

impl SaidItems {
    /// Checks that there are not more items or parts than any model makes.
    ///
    /// # Errors
    ///
    /// When there are, or when their ids are too large.
    pub(super) fn check_size(&self) -> Result<(), Failure> {
        if self.items.len() > MAX_CALLS || self.parts.len() > MAX_CALLS {
            return Err(too_many_error("items"));
        }
        match self.held > MAX_HELD_BYTES {
            true => Err(Failure::response_too_large(MAX_HELD_BYTES)),
            false => Ok(()),
        }
    }

    /// Takes the id of an item.
    fn name(&mut self, at: usize, id: &str) {
        let known = &mut self.items[at].id;
        if known != id {
            self.held += id.len();
            id.clone_into(known);
        }
    }

    /// Returns the key that an item's events share. Of an item whose beginning was not announced
    /// some pieces may have come under its id alone, and others under its index.
    pub(super) fn shared_key(&self, key: ItemKey, id: &str, aliases: &ItemAliases) -> ItemKey {
        let is_by_id = |item: &SaidItem| matches!(&item.key, ItemKey::Id(known) if known == id);
        if !id.is_empty() && self.items.iter().any(is_by_id) {
            return ItemKey::Id(id.to_owned());
        }
        match aliases.shared(key, id) {
            key @ ItemKey::Id(_) if !id.is_empty() => {
                let known = self.items.iter().find(|item| item.id == id);
                known.map_or(key, |item| item.key.clone())
            }
            key => key,
        }
    }

    /// Takes note of an item that begins.
    pub(super) fn begin(&mut self, key: ItemKey, item: &Value) {
        let at = self.find(key);
        self.name(at, item["id"].as_str().unwrap_or_default());
    }

    /// Takes note of a part that begins: another one may have had its index.
    pub(super) fn begin_part(&mut self, key: &ItemKey, channel: Channel, place: Option<u64>) {
        let Some(item) = self.items.iter().position(|item| item.key == *key) else {
            return;
        };
        if let Some(part) = self.find_part(item, channel, place) {
            self.parts[part].digest = TextDigest::default();
        }
    }

    /// Emits a piece of a part.
    pub(super) fn say(
        &mut self,
        (key, id): (ItemKey, &str),
        kind: TextKind,
        place: Option<u64>,
        text: Cow<'_, str>,
        sink: &mut EventSink<'_>,
    ) {
        let at = self.find(key);
        if self.items[at].id.is_empty() {
            self.name(at, id);
        }
        self.say_of(at, kind, place, text, sink);
    }

    /// Emits of a whole part what was not said before.
    pub(super) fn complete_part(
        &mut self,
        key: ItemKey,
        kind: TextKind,
        place: Option<u64>,
        whole: &str,
        sink: &mut EventSink<'_>,
    ) {
        let at = self.find_whole(key, kind.channel(), Some(place), &[whole.into()]);
        let said = self.digest(at, kind.channel(), Some(place));
        if let Some(rest) = said.rest(whole).filter(|rest| !rest.is_empty()) {
            self.say_of(at, kind, place, rest.into(), sink);
        }
    }

    /// Emits of a whole item what was not said before.
    pub(super) fn complete(&mut self, key: ItemKey, item: &Value, sink: &mut EventSink<'_>) {
        let texts = item_texts(item);
        let channel = Channel::of(item);
        let at = match channel {
            Some(channel) => self.find_whole(key, channel, None, &texts),
            None => self.find(key),
        };
        self.name(at, item["id"].as_str().unwrap_or_default());
        let known = &mut self.items[at];
        if std::mem::replace(&mut known.is_done, true) && channel.is_none() {
            return;
        }
        if known.key == ItemKey::Id(String::new()) {
            // Others without a name may follow.
            known.key = ItemKey::Unnamed(at);
        }
        if channel == Some(Channel::Thought) {
            known.thought.get_or_insert(TextKind::Summary);
        }
        let before = SaidBefore {
            bytes: channel.map_or(0, |channel| {
                skipped(known.digests[channel as usize], &texts).unwrap_or(usize::MAX)
            }),
            citations: known.citations,
            has_state: false,
        };
        let mut noting = |event: Event<'_>| {
            self.note(at, &event);
            emit(sink, event);
        };
        item_events(item, before, &mut Some(&mut noting));
    }

    /// Compares a whole answer's output with what was said.
    pub(super) fn compare(&self, output: &[Value]) -> AnswerRest {
        let of_channel = |channel: Channel| {
            let items = output
                .iter()
                .filter(move |item| Channel::of(item) == Some(channel));
            let texts: Vec<_> = items.clone().flat_map(item_texts).collect();
            let ids: Vec<_> = items.filter_map(|item| item["id"].as_str()).collect();
            let mut said = self.items.iter();
            let is_named = said.all(|item| {
                item.digests[channel as usize].is_empty() || ids.contains(&item.id.as_str())
            });
            (skipped(self.digests[channel as usize], &texts), is_named)
        };
        let (texts, thoughts) = (of_channel(Channel::Text), of_channel(Channel::Thought));
        AnswerRest {
            skipped: [texts.0, thoughts.0],
            is_named: [texts.1, thoughts.1],
            has_thought: self.items.iter().any(|item| item.thought.is_some()),
            citations: self.citations,
        }
    }

    /// Emits of an item of a whole answer what was not said before.
    pub(super) fn complete_last(
        &self,
        place: u64,
        item: &Value,
        rest: &mut AnswerRest,
        sink: &mut EventSink<'_>,
    ) {
        let id = item["id"].as_str().unwrap_or_default();
        let known = self.items.iter().find(|known| match id {
            "" => known.key == ItemKey::Place(place),
            id => known.id == id,
        });
        let Some(channel) = Channel::of(item) else {
            if !known.is_some_and(|known| known.is_done) {
                item_events(item, SaidBefore::default(), sink);
            }
            return;
        };
        let texts = item_texts(item);
        let length: usize = texts.iter().map(|text| text.len()).sum();
        let bytes = match (&mut rest.skipped[channel as usize], known) {
            (Some(skipped), _) => {
                let bytes = length.min(*skipped);
                *skipped -= bytes;
                bytes
            }
            (None, Some(known)) => {
                skipped(known.digests[channel as usize], &texts).unwrap_or(usize::MAX)
            }
            // Ids can be trusted if all that was said is there by its own.
            (None, None) if !id.is_empty() && rest.is_named[channel as usize] => 0,
            (None, None) => usize::MAX,
        };
        let before = SaidBefore {
            bytes,
            citations: rest.citations,
            has_state: rest.has_thought,
        };
        rest.citations = item_events(item, before, sink);
    }

    fn say_of(
        &mut self,
        at: usize,
        kind: TextKind,
        place: Option<u64>,
        text: Cow<'_, str>,
        sink: &mut EventSink<'_>,
    ) {
        let channel = kind.channel();
        if channel == Channel::Thought && *self.items[at].thought.get_or_insert(kind) != kind {
            return;
        }
        let part = match self.find_part(at, channel, place) {
            Some(part) => part,
            None => {
                let has_text = !self.items[at].digests[channel as usize].is_empty();
                if has_text && channel == Channel::Thought {
                    let between = Event::Reasoning("\n\n".into());
                    self.note(at, &between);
                    emit(sink, between);
                }
                self.parts.push(SaidPart {
                    item: at,
                    channel,
                    place,
                    digest: TextDigest::default(),
                });
                self.parts.len() - 1
            }
        };
        self.parts[part].digest.push(&text);
        let event = kind.event(text);
        self.note(at, &event);
        emit(sink, event);
    }

    /// Counts an event of an item.
    fn note(&mut self, at: usize, event: &Event<'_>) {
        let item = &mut self.items[at];
        let (channel, text) = match event {
            Event::Text(text) | Event::Refusal(text) => (Channel::Text, text),
            Event::Reasoning(text) => (Channel::Thought, text),
            Event::Citation(_) => {
                item.citations += 1;
                self.citations += 1;
                return;
            }
            _ => return,
        };
        item.digests[channel as usize].push(text);
        self.digests[channel as usize].push(text);
    }

    /// Emits a citation of an item's text.
    pub(super) fn cite(&mut self, key: ItemKey, citation: Event<'_>, sink: &mut EventSink<'_>) {
        let at = self.find(key);
        self.note(at, &citation);
        emit(sink, citation);
    }

    /// Returns the place of the item of that key, which begins if there is none.
    fn find(&mut self, key: ItemKey) -> usize {
        let known = self.items.iter().position(|item| item.key == key);
        known.unwrap_or_else(|| {
            self.held += key.size();
            self.items.push(SaidItem {
                key,
                id: String::new(),
                digests: <[TextDigest; 2]>::default(),
                citations: 0,
                thought: None,
                is_done: false,
            });
            self.items.len() - 1
        })
    }

    /// Returns the place of the item of which a whole, or the whole of a part, is there. Its pieces
    /// may have come without a name, or under an id that no other event has.
    fn find_whole(
        &mut self,
        key: ItemKey,
        channel: Channel,
        part: Option<Option<u64>>,
        texts: &[Cow<'_, str>],
    ) -> usize {
        let has_text = |item: &SaidItem| !item.digests[channel as usize].is_empty();
        let by_key = self
            .items
            .iter()
            .position(|item| item.key == key && has_text(item));
        let is_same = |at: &usize| {
            let item = &self.items[*at];
            let is_open = !item.is_done && has_text(item);
            is_open
                && match (&item.key, &key) {
                    (ItemKey::Place(_), ItemKey::Place(_)) => false,
                    (ItemKey::Id(id), _) if id.is_empty() => true,
                    _ => {
                        let said = self.digest(*at, channel, part);
                        !said.is_empty() && said.begins(texts)
                    }
                }
        };
        by_key
            .or_else(|| (0..self.items.len()).rev().find(is_same))
            .unwrap_or_else(|| self.find(key))
    }

    /// Returns the digest of an item, or of one of its parts.
    fn digest(&self, at: usize, channel: Channel, part: Option<Option<u64>>) -> TextDigest {
        match part {
            None => self.items[at].digests[channel as usize],
            Some(place) => self
                .find_part(at, channel, place)
                .map_or_else(TextDigest::default, |part| self.parts[part].digest),
        }
    }

    /// Returns the place of a part. Where some events of an item have no index of it, they are of
    /// the last one.
    fn find_part(&self, item: usize, channel: Channel, place: Option<u64>) -> Option<usize> {
        let is_this = |part: &SaidPart| {
            let is_same = part.place == place || part.place.is_none() || place.is_none();
            part.item == item && part.channel == channel && is_same
        };
        self.parts.iter().rposition(is_this)
    }
}

/// Returns the number of bytes that were said of these texts; `None` if they do not begin with it.
fn skipped(said: TextDigest, texts: &[Cow<'_, str>]) -> Option<usize> {
    said.begins(texts).then_some(said.len())
}

//! `[[families]]`: what families of models refuse and want, besides those that are known.

use std::collections::BTreeMap;

use dialect::families::{Family, ReasoningHistory, ReasoningOff, SystemPlace};
use toml::Value;

use super::flavors::UPSTREAM_DIALECTS;
use super::key::Default::{Required, Said};
use super::key::{Key, Kind};
use super::reader::{Reader, wrong};

pub(super) const FAMILIES: Key = Key::new(
    "families",
    Kind::Tables,
    Said("those that are known"),
    "what families of models refuse and want: see [`[[families]]`](#families)",
);

pub(super) const FAMILY_KEYS: &[Key] = &[
    MODELS,
    DIALECTS,
    DROP,
    RENAME,
    EFFORTS,
    SYSTEM,
    REASONING_HISTORY,
    MAX_STOP,
    MAX_USER,
    MIN_THINKING,
    PREFILL,
    THOUGHT_SIGNATURES,
    REASONS,
    OFF,
];

const KNOWN: super::key::Default = Said("as another family has it");

const MODELS: Key = Key::new(
    "models",
    Kind::List,
    Required,
    "patterns of the provider's names for models, without their maker; `*` stands for any letters",
);
const DIALECTS: Key = Key::new(
    "dialects",
    Kind::List,
    Said("all"),
    "the dialects of the providers for which it holds",
);
const DROP: Key = Key::new(
    "drop",
    Kind::List,
    KNOWN,
    "fields of the provider's dialect that are left out, such as `[\"temperature\"]`",
);
const RENAME: Key = Key::new(
    "rename",
    Kind::Texts,
    KNOWN,
    "fields that have another name, such as `{ max_tokens = \"max_completion_tokens\" }`",
);
const EFFORTS: Key = Key::new(
    "efforts",
    Kind::Texts,
    KNOWN,
    "words for the effort that are sent as another, such as `{ minimal = \"low\" }`",
);
const SYSTEM: Key = Key::new(
    "system",
    Kind::Word(&["keep", "join", "user"]),
    KNOWN,
    "system messages after the first: where they are, in one at the beginning, or as the user's",
);
const REASONING_HISTORY: Key = Key::new(
    "reasoning_history",
    Kind::Word(&["none", "turn", "all", "required"]),
    KNOWN,
    "the turns whose reasoning is sent back; `\"required\"` gives calls without any an empty one",
);
const MAX_STOP: Key = Key::new(
    "max_stop",
    Kind::Number(0, 1000),
    KNOWN,
    "the most stop sequences",
);
const MAX_USER: Key = Key::new(
    "max_user",
    Kind::Number(40, 4096),
    KNOWN,
    "the longest name of a user, in characters; a longer one is sent as a digest",
);
const MIN_THINKING: Key = Key::new(
    "min_thinking",
    Kind::Number(0, 1_000_000),
    KNOWN,
    "the smallest thinking budget that Gemini's model takes",
);
const PREFILL: Key = Key::new(
    "prefill",
    Kind::Flag,
    KNOWN,
    "an Anthropic model goes on with an answer that the request begins; without, it is asked to",
);
const THOUGHT_SIGNATURES: Key = Key::new(
    "thought_signatures",
    Kind::Flag,
    KNOWN,
    "calls that came from elsewhere get Gemini's placeholder for a thought signature",
);
const REASONS: Key = Key::new(
    "reasons",
    Kind::Flag,
    KNOWN,
    "the model reasons without being asked to, and may be silent for long",
);
const OFF: Key = Key::new(
    "off",
    Kind::Word(&["effort", "thinking", "enable_thinking"]),
    KNOWN,
    "the way to tell the model not to reason: the effort `none`, `thinking` of the type `disabled`, or `enable_thinking: false`",
);

/// Reads the families that can be read.
pub(super) fn families(reader: &mut Reader<'_>, dialects: &[&'static str]) -> Vec<Family> {
    let count = reader.read(&FAMILIES, |value| match value {
        Value::Array(list) => Ok(list.len()),
        _ => Err("should be a list, as in [[families]]".to_owned()),
    });
    (0..count.unwrap_or(0))
        .filter_map(|at| family(reader, &format!("{}.{at}", FAMILIES.path), dialects))
        .collect()
}

fn family(reader: &mut Reader<'_>, at: &str, dialects: &[&'static str]) -> Option<Family> {
    let Some(Value::Table(_)) = reader.get(at) else {
        // Reported with the unknown keys.
        return None;
    };
    let reader = &mut reader.within(at.to_owned());
    let models = texts(reader, &MODELS);
    if models.as_ref().is_none_or(Vec::is_empty) {
        reader.report_missing(&MODELS, "such as models = [\"my-model*\"]");
    }
    let of_dialects = texts(reader, &DIALECTS).unwrap_or_default();
    if let Some(unknown) = of_dialects.iter().find(|name| {
        !dialects.contains(&name.as_str()) && !UPSTREAM_DIALECTS.contains(&name.as_str())
    }) {
        let path = reader.path(&DIALECTS);
        let known = dialects.join(", ");
        reader.report(
            &path,
            format!("there is no dialect `{unknown}` (there are: {known})"),
        );
    }
    Some(Family {
        models: models?,
        dialects: of_dialects,
        drop: texts(reader, &DROP),
        rename: text_table(reader, &RENAME),
        efforts: text_table(reader, &EFFORTS),
        system: reader.word(&SYSTEM).map(|word| match word {
            "join" => SystemPlace::Join,
            "user" => SystemPlace::User,
            _ => SystemPlace::Keep,
        }),
        reasoning_history: reader.word(&REASONING_HISTORY).map(|word| match word {
            "none" => ReasoningHistory::None,
            "turn" => ReasoningHistory::Turn,
            "required" => ReasoningHistory::Required,
            _ => ReasoningHistory::All,
        }),
        max_stop: reader.number(&MAX_STOP),
        max_user: reader.number(&MAX_USER),
        min_thinking: reader
            .number(&MIN_THINKING)
            .and_then(|tokens| u32::try_from(tokens).ok()),
        prefill: given_flag(reader, &PREFILL),
        thought_signatures: given_flag(reader, &THOUGHT_SIGNATURES),
        reasons: given_flag(reader, &REASONS),
        off: reader.word(&OFF).map(|word| match word {
            "thinking" => ReasoningOff::Thinking,
            "enable_thinking" => ReasoningOff::EnableThinking,
            _ => ReasoningOff::Effort,
        }),
    })
}

fn given_flag(reader: &mut Reader<'_>, key: &Key) -> Option<bool> {
    reader.read(key, |value| {
        value.as_bool().ok_or_else(|| wrong("true or false", value))
    })
}

/// Reads a list of texts.
pub(super) fn texts(reader: &mut Reader<'_>, key: &Key) -> Option<Vec<String>> {
    const WANT: &str = "a list of texts, as in [\"temperature\"]";
    reader.read(key, |value| {
        let list = value.as_array().ok_or_else(|| wrong(WANT, value))?;
        let text = |value: &Value| {
            let text = value.as_str().filter(|text| !text.is_empty());
            text.map(str::to_owned).ok_or_else(|| wrong(WANT, value))
        };
        list.iter().map(text).collect()
    })
}

/// Reads a table of texts.
pub(super) fn text_table(reader: &mut Reader<'_>, key: &Key) -> Option<BTreeMap<String, String>> {
    const WANT: &str = "a table of texts, as in { max_tokens = \"max_completion_tokens\" }";
    reader.read(key, |value| {
        let table = value.as_table().ok_or_else(|| wrong(WANT, value))?;
        let entry = |(name, value): (&String, &Value)| {
            let text = value.as_str().filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| wrong(WANT, value))?;
            Ok((name.clone(), text.to_owned()))
        };
        table.iter().map(entry).collect()
    })
}

//! The file of clients' keys (`auth.keys_file`): a digest of each, whose it is, and what it may do.
//!
//! It is read at the start and again whenever its content changes, so it is no part of the
//! configuration's own file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use toml::Value;
use toml::value::{Datetime, Offset};

use super::auth::{MODELS, Team};
use super::digest::KeyDigest;
use super::key::Default::{Required, Said, Value as Is};
use super::key::{Key, Keys, Kind};
use super::limits::{BUDGET_KEYS, LIMIT_KEYS, LIMITS, Limits, limits};
use super::model_patterns::{ModelPatterns, model_patterns};
use super::problems::{ConfigError, Problem, Problems};
use super::reader::{Reader, among, wrong};
use super::source::Source;
use super::unknown::{check_entries, unknown};
use base::suggest::did_you_mean;

/// A key of a client, as its file has it.
#[derive(Debug, Clone)]
pub struct ClientKey {
    /// The id, which is a part of the key and no secret.
    pub id: String,
    /// The digest.
    pub digest: KeyDigest,
    /// The digest of the key before, while both are good.
    pub old: Option<OldDigest>,
    /// The name, for people.
    pub name: String,
    /// The name of its team.
    pub team: Option<String>,
    /// The models that it may use, of those that its team may.
    pub models: ModelPatterns,
    /// The role of its holder.
    pub role: KeyRole,
    /// It is good from then on.
    pub not_before: Option<SystemTime>,
    /// It is good until then.
    pub expires: Option<SystemTime>,
    /// It is not good at all.
    pub disabled: bool,
    /// Its limits.
    pub limits: Limits,
}

/// The digest of a key that another has taken the place of.
#[derive(Debug, Clone)]
pub struct OldDigest {
    /// The digest.
    pub digest: KeyDigest,
    /// The time until which it is good.
    pub until: SystemTime,
}

/// The role of a key's holder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyRole {
    /// It may ask models.
    #[default]
    User,
    /// It may also see what others do.
    Viewer,
    /// It may also change what others may do.
    Admin,
}

impl KeyRole {
    /// The words for roles.
    pub const WORDS: &'static [&'static str] = &["user", "viewer", "admin"];

    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Viewer => "viewer",
            Self::Admin => "admin",
        }
    }

    /// Returns the role of a word; of any other, a user's.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "admin" => Self::Admin,
            "viewer" => Self::Viewer,
            _ => Self::User,
        }
    }
}

/// Letters and digits of an id.
const ID_LENGTH: usize = 12;

/// All keys of the file.
pub(super) const KEY_FILE: Keys = Keys {
    sections: &[&[CLIENT_KEYS]],
    provider: &[],
    model: &[],
    target: &[],
    family: &[],
    team: &[],
    client_key: &[
        ID, DIGEST, OLD_DIGEST, OLD_UNTIL, NAME, TEAM, MODELS, ROLE, NOT_BEFORE, EXPIRES, DISABLED,
        LIMITS,
    ],
    limits: LIMIT_KEYS,
    budget: BUDGET_KEYS,
};

const CLIENT_KEYS: Key = Key::new("keys", Kind::Tables, Said("none"), "the keys");
const ID: Key = Key::new(
    "id",
    Kind::Text,
    Required,
    "the twelve letters and digits after `trk_`: what the key is called in logs, and by `tokenrill keys`",
);
const DIGEST: Key = Key::new(
    "digest",
    Kind::Text,
    Required,
    "`\"sha256:…\"`, the digest of the key; the key itself stands nowhere",
);
const OLD_DIGEST: Key = Key::new(
    "old_digest",
    Kind::Text,
    Said("none"),
    "the digest of the key before, after `tokenrill keys rotate`",
);
const OLD_UNTIL: Key = Key::new(
    "old_until",
    Kind::Time,
    Said("none"),
    "the time until which that one is good too",
);
const NAME: Key = Key::new("name", Kind::Text, Required, "whose it is, for people");
const TEAM: Key = Key::new(
    "team",
    Kind::Text,
    Said("none"),
    "the name of one of the [`[[teams]]`](#teams)",
);
const ROLE: Key = Key::new(
    "role",
    Kind::Word(KeyRole::WORDS),
    Is("user"),
    "what its holder may see and change of this server",
);
const NOT_BEFORE: Key = Key::new(
    "not_before",
    Kind::Time,
    Said("always"),
    "the time from which on it is good",
);
const EXPIRES: Key = Key::new(
    "expires",
    Kind::Time,
    Said("never"),
    "the time until which it is good, such as `2027-03-01T00:00:00Z`",
);
const DISABLED: Key = Key::new(
    "disabled",
    Kind::Flag,
    Is("false"),
    "it is not good, and what runs for it is cut: what `tokenrill keys revoke` sets",
);

/// Reads the file of keys; `teams` are those of the configuration.
///
/// # Errors
///
/// Everything that is wrong, each on one line.
pub fn load_keys(file: &Path, teams: &[Team]) -> Result<Vec<ClientKey>, ConfigError> {
    let (mut problems, env) = (Problems::default(), BTreeMap::new());
    if !file.exists() {
        let problem =
            "there is no such file; `tokenrill keys new --name NAME` makes it, with its first key";
        problems.add(Problem::new(None, "", file.display(), problem));
        return Err(problems.into_error());
    }
    let keys = Source::load(Some(file), &env, KEY_FILE, &mut problems).map(|source| {
        report_unknown_keys(&source, &mut problems);
        client_keys(&mut Reader::new(&source, &env, &mut problems), teams)
    });
    match keys {
        Some(keys) if problems.is_empty() => Ok(keys),
        _ => Err(problems.into_error()),
    }
}

fn report_unknown_keys(source: &Source, problems: &mut Problems) {
    let known = [CLIENT_KEYS.path];
    for (name, value) in &source.table {
        match value {
            Value::Array(keys) if known.contains(&name.as_str()) => {
                check_entries(source, (name, KEY_FILE.client_key), keys, problems);
            }
            _ if known.contains(&name.as_str()) => {}
            _ => {
                let nearest = did_you_mean(name, &known);
                problems.add(source.problem(name, unknown(nearest, &known)));
            }
        }
    }
}

fn client_keys(reader: &mut Reader<'_>, teams: &[Team]) -> Vec<ClientKey> {
    let count = reader.read(&CLIENT_KEYS, |value| match value {
        Value::Array(list) => Ok(list.len()),
        _ => Err("should be a list, as in [[keys]]".to_owned()),
    });
    let mut ids = BTreeSet::new();
    (0..count.unwrap_or(0))
        .filter_map(|at| {
            let at = format!("{}.{at}", CLIENT_KEYS.path);
            client_key(reader, &at, teams, &mut ids)
        })
        .collect()
}

fn client_key(
    reader: &mut Reader<'_>,
    at: &str,
    teams: &[Team],
    ids: &mut BTreeSet<String>,
) -> Option<ClientKey> {
    let Some(Value::Table(_)) = reader.get(at) else {
        // Reported with the unknown keys.
        return None;
    };
    let reader = &mut reader.within(at.to_owned());
    let id = id(reader, ids);
    let name = reader.text(&NAME);
    if name.is_none() {
        reader.report_missing(&NAME, "such as name = \"ci\"");
    }
    let digest = digest(reader, &DIGEST);
    if digest.is_none() {
        let such_as = "such as digest = \"sha256:…\"; `tokenrill keys new` writes it";
        reader.report_missing(&DIGEST, such_as);
    }
    Some(ClientKey {
        old: old_digest(reader),
        team: team(reader, teams),
        models: model_patterns(reader, &MODELS),
        role: reader
            .word(&ROLE)
            .map(KeyRole::from_word)
            .unwrap_or_default(),
        not_before: time(reader, &NOT_BEFORE),
        expires: time(reader, &EXPIRES),
        disabled: reader.flag(&DISABLED),
        limits: limits(reader),
        id: id?,
        name: name?,
        digest: digest?,
    })
}

fn id(reader: &mut Reader<'_>, ids: &mut BTreeSet<String>) -> Option<String> {
    let id = reader.read(&ID, |value| {
        let text = value.as_str().filter(|text| {
            text.len() == ID_LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric())
        });
        let want = "twelve letters and digits, as `tokenrill keys new` makes them";
        text.map(str::to_owned).ok_or_else(|| wrong(want, value))
    });
    match &id {
        None => reader.report_missing(&ID, "the twelve letters and digits after `trk_`"),
        Some(id) if !ids.insert(id.clone()) => {
            let path = reader.path(&ID);
            reader.report(&path, format!("there is a key `{id}` already"));
        }
        Some(_) => {}
    }
    id
}

/// Reads a digest. An error never repeats what stands there: it may be a key.
fn digest(reader: &mut Reader<'_>, key: &Key) -> Option<KeyDigest> {
    reader.read(key, |value| {
        let digest = value.as_str().and_then(|text| text.parse().ok());
        let want = "should be `sha256:` and 64 hex digits, and never a key";
        digest.ok_or_else(|| want.to_owned())
    })
}

fn old_digest(reader: &mut Reader<'_>) -> Option<OldDigest> {
    let (digest, until) = (digest(reader, &OLD_DIGEST), time(reader, &OLD_UNTIL));
    match (digest, until) {
        (Some(digest), Some(until)) => Some(OldDigest { digest, until }),
        (Some(_), None) if reader.is_sound(&reader.path(&OLD_UNTIL)) => {
            let path = reader.path(&OLD_DIGEST);
            reader.report(
                &path,
                "stands alone; old_until should say how long it is good",
            );
            None
        }
        _ => None,
    }
}

fn team(reader: &mut Reader<'_>, teams: &[Team]) -> Option<String> {
    let name = reader.text(&TEAM)?;
    let known: Vec<&str> = teams.iter().map(|team| team.name.as_str()).collect();
    if !known.contains(&name.as_str()) {
        let path = reader.path(&TEAM);
        let known = match known.is_empty() {
            true => "; the configuration has no [[teams]]".to_owned(),
            false => among(&name, &known),
        };
        reader.report(&path, format!("there is no team `{name}`{known}"));
    }
    Some(name)
}

/// Reads a time.
fn time(reader: &mut Reader<'_>, key: &Key) -> Option<SystemTime> {
    reader.read(key, |value| {
        let time = value.as_datetime().and_then(system_time);
        let want = "a time with its offset, such as 2027-03-01T00:00:00Z, without quotes";
        time.ok_or_else(|| wrong(want, value))
    })
}

/// Returns a time of TOML that says which it is everywhere; none before 1970.
fn system_time(time: &Datetime) -> Option<SystemTime> {
    let (date, clock) = (time.date?, time.time?);
    let offset = match time.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let utc = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year,
        date.month,
        date.day,
        clock.hour,
        clock.minute,
        clock.second.unwrap_or_default()
    );
    let local = humantime::parse_rfc3339(&utc).ok()?;
    let seconds = local.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let seconds = seconds.checked_add_signed(-offset * 60)?;
    Some(UNIX_EPOCH + Duration::from_secs(seconds))
}

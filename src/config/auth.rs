//! `[auth]` and `[[teams]]`: who may ask, and the teams that keys belong to. The keys themselves
//! stand in a file of their own (`client_keys`).

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use toml::Value;

use super::Secret;
use super::key::Default::{Required, Said, Value as Is};
use super::key::{Key, Kind};
use super::limits::{LIMITS, Limits, limits};
use super::model_patterns::{ModelPatterns, model_patterns};
use super::reader::Reader;

/// The rules by which clients are told apart.
#[derive(Debug, Clone)]
pub struct Auth {
    /// The file of keys: with it every client must have one.
    pub keys_file: Option<PathBuf>,
    /// Clients without keys are wanted, on any address.
    pub open: bool,
    /// The most sockets that have not said yet who they are.
    pub max_pending: NonZeroUsize,
    /// The secrets of tickets: the first signs, all are good. No tickets if there is none.
    pub ticket_secrets: Vec<Secret>,
}

/// A team: what its keys have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Team {
    /// The name.
    pub name: String,
    /// The models that its keys may use.
    pub models: ModelPatterns,
    /// The limits that its keys share.
    pub limits: Limits,
}

pub(super) const KEYS: &[Key] = &[KEYS_FILE, OPEN, MAX_PENDING, TICKET_SECRETS];

const KEYS_FILE: Key = Key::new(
    "auth.keys_file",
    Kind::Text,
    Said("none: clients need no key"),
    "the file of the clients' keys, which `tokenrill keys` writes: with it every request needs one. See [keys.md](keys.md)",
);
const OPEN: Key = Key::new(
    "auth.open",
    Kind::Flag,
    Is("false"),
    "clients need no key although `listen` is not a loopback address and a provider has a key: everyone who reaches the address spends it",
);
const MAX_PENDING: Key = Key::new(
    "auth.max_pending",
    Kind::Number(1, 1_000_000),
    Is("256"),
    "the most [sockets](websocket.md) that were opened without a key and have not sent one yet; each has five seconds",
);

const TICKET_SECRETS: Key = Key::new(
    "auth.tickets.secret_file",
    Kind::Text,
    Said("none: there are no tickets"),
    "the file of the secret that signs [tickets](keys.md#tickets), in at least 32 characters; the one before may follow in another line",
);

/// The shortest secret of tickets, in bytes.
const MIN_SECRET_LENGTH: usize = 32;
/// The most secrets that are good at a time.
const MAX_SECRETS: usize = 2;

pub(super) const TEAMS: Key = Key::new(
    "teams",
    Kind::Tables,
    Said("none"),
    "the teams that keys belong to: see [`[[teams]]`](#teams)",
);

pub(super) const TEAM_KEYS: &[Key] = &[NAME, MODELS, LIMITS];

const NAME: Key = Key::new("name", Kind::Text, Required, "what a key's `team` names");
pub(super) const MODELS: Key = Key::new(
    "models",
    Kind::List,
    Said("all"),
    "the models that may be asked for, such as `[\"gpt-*\", \"clever\"]`; `*` stands for any letters. A key may use what its team may use too",
);

pub(super) fn auth(reader: &mut Reader<'_>) -> Auth {
    let keys_file = reader.text(&KEYS_FILE).map(PathBuf::from);
    let open = reader.flag(&OPEN);
    if keys_file.is_some() && open {
        let problem =
            "stands beside auth.keys_file: with keys the server is not open; give one of the two";
        reader.report(OPEN.path, problem);
    }
    if keys_file.is_none() && !open && reader.has_value("auth") && reader.is_sound("auth") {
        let problem =
            "names no keys_file, as in keys_file = \"keys.toml\"; without it every client may ask";
        reader.report("auth", problem);
    }
    Auth {
        keys_file,
        open,
        ticket_secrets: ticket_secrets(reader),
        max_pending: reader.count(&MAX_PENDING).unwrap_or(NonZeroUsize::MIN),
    }
}

/// Reads the secrets of tickets, a line each. No error repeats them.
fn ticket_secrets(reader: &mut Reader<'_>) -> Vec<Secret> {
    let Some(file) = reader.text(&TICKET_SECRETS) else {
        return Vec::new();
    };
    let text =
        std::fs::read_to_string(&file).map_err(|error| format!("can't read {file}: {error}"));
    let secrets = text.and_then(|text| {
        let lines: Vec<&str> = text.split_whitespace().collect();
        let are_long = lines.iter().all(|line| line.len() >= MIN_SECRET_LENGTH);
        match (1..=MAX_SECRETS).contains(&lines.len()) && are_long {
            true => Ok(lines.into_iter().map(|line| Secret::new(line.to_owned())).collect()),
            false => Err(format!(
                "{file} should hold a secret of at least {MIN_SECRET_LENGTH} characters, and perhaps \
                 the one before in another line: `openssl rand -base64 32` makes one"
            )),
        }
    });
    secrets.unwrap_or_else(|problem| {
        reader.report(TICKET_SECRETS.path, problem);
        Vec::new()
    })
}

/// Reads the teams that can be read.
pub(super) fn teams(reader: &mut Reader<'_>) -> Vec<Team> {
    let count = reader.read(&TEAMS, |value| match value {
        Value::Array(list) => Ok(list.len()),
        _ => Err("should be a list, as in [[teams]]".to_owned()),
    });
    let mut names = BTreeSet::new();
    (0..count.unwrap_or(0))
        .filter_map(|at| team(reader, &format!("{}.{at}", TEAMS.path), &mut names))
        .collect()
}

fn team(reader: &mut Reader<'_>, at: &str, names: &mut BTreeSet<String>) -> Option<Team> {
    let Some(Value::Table(_)) = reader.get(at) else {
        // Reported with the unknown keys.
        return None;
    };
    let reader = &mut reader.within(at.to_owned());
    let name = reader.text(&NAME);
    match &name {
        None => reader.report_missing(&NAME, "such as name = \"search\""),
        Some(name) if !names.insert(name.clone()) => {
            let path = reader.path(&NAME);
            reader.report(&path, format!("there is a team `{name}` already"));
        }
        Some(_) => {}
    }
    Some(Team {
        name: name?,
        models: model_patterns(reader, &MODELS),
        limits: limits(reader),
    })
}

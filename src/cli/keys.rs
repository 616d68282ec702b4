//! `tokenrill keys`: makes, lists, rotates and revokes the keys of clients, in the file that
//! `auth.keys_file` names. A running server sees the change by itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Subcommand;

use super::{Arguments, Complaint, load, print_in_time};
use crate::access::{ApiKey, Key, KeyFile, NewKey};
use crate::config::{ClientKey, Config, KeyRole, load_keys};

/// The longest time that a key may be given: longer ones are typing errors.
const MAX_LIFETIME: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key and print it, once: nothing keeps it
    New {
        /// Whose it is, for people
        #[arg(long)]
        name: String,
        /// One of the configuration's teams
        #[arg(long)]
        team: Option<String>,
        /// The models that it may use, as in gpt-*,clever [default: all]
        #[arg(long, value_delimiter = ',')]
        models: Vec<String>,
        /// What its holder may see and change of the server
        #[arg(long, default_value = "user", value_parser = clap::builder::PossibleValuesParser::new(KeyRole::WORDS))]
        role: String,
        /// How long it is good, such as 30d, or until when [default: for ever]
        #[arg(long, value_parser = parse_expiry)]
        expires: Option<SystemTime>,
    },
    /// List the keys
    List,
    /// Give a key's holder another one and print it, once; what belongs to the key stays
    Rotate {
        /// The twelve letters and digits after trk_
        id: String,
        /// How long the one before stays good
        #[arg(long, default_value = "1d", value_parser = humantime::parse_duration)]
        overlap: Duration,
    },
    /// Revoke a key: what runs for it is cut
    Revoke {
        /// The twelve letters and digits after trk_
        id: String,
    },
}

/// Does what a command says.
pub(super) fn run(arguments: &Arguments, command: &KeysCommand) -> Result<ExitCode, Complaint> {
    let (config, _file) = load(arguments)?;
    let path = config.auth.keys_file.clone().ok_or(
        "there is no file for keys: add [auth] with keys_file = \"keys.toml\" to the configuration",
    )?;
    let open = || KeyFile::open(&path, &config.teams).map_err(|error| error.to_string());
    match command {
        KeysCommand::New {
            name,
            team,
            models,
            role,
            expires,
        } => {
            let new = NewKey {
                name: checked_name(name)?,
                team: team.clone(),
                models: models.iter().map(String::as_str).collect(),
                role: KeyRole::from_word(role),
                expires: *expires,
            };
            let key = open()?.append(&new).map_err(|error| error.to_string())?;
            let file = path.display();
            hand_over(
                &key,
                format!("this is the key of {name}, `{}` in {file}", key.id()),
            )
        }
        KeysCommand::List => list(&config, path),
        KeysCommand::Rotate { id, overlap } => {
            let rotated = open()?.rotate(id, *overlap);
            let key = rotated.map_err(|error| error.to_string())?;
            let overlap = humantime::format_duration(*overlap);
            let hint =
                format!("this is the new key of `{id}`; the one before is good for {overlap}");
            hand_over(&key, hint)
        }
        KeysCommand::Revoke { id } => {
            open()?.revoke(id).map_err(|error| error.to_string())?;
            let hint =
                format!("tokenrill: `{id}` is revoked; running servers see it within seconds\n");
            print_in_time(std::io::stderr(), hint);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Prints a key, alone on stdout.
fn hand_over(key: &ApiKey, hint: String) -> Result<ExitCode, Complaint> {
    let hint = format!("tokenrill: {hint}; it is shown this once\n");
    print_in_time(std::io::stderr(), hint);
    let mut out = std::io::stdout();
    let written = writeln!(out, "{}", key.expose()).and_then(|()| out.flush());
    let id = key.id();
    written.map_err(|error| format!("the key could not be printed: {error}; revoke `{id}`"))?;
    Ok(ExitCode::SUCCESS)
}

fn list(config: &Config, path: PathBuf) -> Result<ExitCode, Complaint> {
    let keys = load_keys(&path, &config.teams).map_err(|error| error.to_string())?;
    let now = SystemTime::now();
    let rows = keys.iter().map(|key| {
        let team = key.team.as_deref().unwrap_or("-");
        let (role, models) = (key.role.as_str(), &key.models);
        let (id, name, state) = (&key.id, &key.name, state(key, now));
        format!("{id}  {name}  team {team}  {role}  {models}  {state}\n")
    });
    print_in_time(std::io::stdout(), rows.collect());
    Ok(ExitCode::SUCCESS)
}

fn state(key: &ClientKey, now: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds;
    match (key.disabled, key.expires) {
        (true, _) => "revoked".to_owned(),
        (false, Some(expires)) if expires <= now => format!("expired {}", time(expires)),
        (false, Some(expires)) => format!("until {}", time(expires)),
        (false, None) => "for ever".to_owned(),
    }
}

/// Returns a name that stays on its line.
fn checked_name(name: &str) -> Result<String, Complaint> {
    match name.trim() {
        "" => Err("--name should say whose key it is".to_owned()),
        name if name.contains(char::is_control) => {
            Err("--name should be one line of text".to_owned())
        }
        name => Ok(name.to_owned()),
    }
}

/// Parses how long a key is good, or until when.
fn parse_expiry(text: &str) -> Result<SystemTime, String> {
    if let Ok(lifetime) = humantime::parse_duration(text) {
        let fine = !lifetime.is_zero() && lifetime <= MAX_LIFETIME;
        return match fine {
            true => Ok(SystemTime::now() + lifetime),
            false => Err("should be more than nothing, and at most a hundred years".to_owned()),
        };
    }
    humantime::parse_rfc3339_weak(text)
        .map_err(|_| "should be a time such as 30d, or 2027-03-01T00:00:00Z".to_owned())
}

/// Returns the line that says what a key may do.
pub(super) fn effective(key: &Key) -> String {
    let Key { id, name, .. } = key;
    let of_team = key.team.as_ref().map_or(String::new(), |team| {
        format!("; team {}: {}", team.name, team.limits)
    });
    let (models, limits) = (key.allowed(), &key.limits);
    format!("key {id} of {name}: {models}; {limits}{of_team}\n")
}

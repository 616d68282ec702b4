//! The fingerprint of a configuration: enough of each value to see that it has changed, and none of
//! the secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml::{Table, Value};

type ValueDigest = [u8; 32];

/// The values of a configuration, as far as a change of one must be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprint {
    values: BTreeMap<String, ValueDigest>,
    files: Vec<PathBuf>,
}

/// The keys whose files hold certificates, besides all those that end in `_file`.
const CERTIFICATE_KEYS: [&str; 2] = ["tls.cert", "tls.key"];
/// A file that is read again by itself.
const KEYS_FILE: &str = "auth.keys_file";

impl Fingerprint {
    /// Returns the fingerprint of all values, and of the files that hold secrets.
    pub(super) fn new(table: &Table) -> Self {
        let mut fingerprint = Self::default();
        fingerprint.add_table("", table);
        fingerprint
    }

    fn add_table(&mut self, path: &str, table: &Table) {
        for (key, value) in table {
            let path = match path.is_empty() {
                true => key.clone(),
                false => format!("{path}.{key}"),
            };
            self.add(path, value);
        }
    }

    fn add(&mut self, path: String, value: &Value) {
        if let Value::Table(table) = value {
            return self.add_table(&path, table);
        }
        let mut digest = Sha256::new();
        digest.update(value.to_string());
        let names_file = path.ends_with("_file") && path != KEYS_FILE;
        let names_certificate = CERTIFICATE_KEYS.contains(&path.as_str());
        if let Value::String(file) = value
            && (names_file || names_certificate)
        {
            self.files.push(PathBuf::from(file));
            // A certificate's content is no value: it is taken without the rest.
            if names_file && let Ok(secret) = std::fs::read(file) {
                digest.update(secret);
            }
        }
        self.values.insert(path, digest.finalize().into());
    }

    /// Returns the files that hold secrets and certificates.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Returns the keys whose values differ in another configuration, in the order of names.
    #[must_use]
    pub fn changes(&self, other: &Self) -> BTreeSet<String> {
        let all = self.values.keys().chain(other.values.keys());
        let changed = all.filter(|key| self.values.get(*key) != other.values.get(*key));
        changed.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn fingerprint(text: &str) -> Fingerprint {
        Fingerprint::new(&toml::from_str(text).unwrap())
    }

    #[test]
    fn what_was_added_changed_and_removed_is_named_and_nothing_else() {
        let before = fingerprint("drain = \"1s\"\nworkers = 1\n[sse]\nheartbeat = \"5s\"");
        let after = fingerprint("drain = \"1s\"\n[sse]\nheartbeat = \"6s\"\ncommit_after = \"1s\"");
        let changes: Vec<String> = before.changes(&after).into_iter().collect();
        assert_eq!(changes, ["sse.commit_after", "sse.heartbeat", "workers"]);
        assert!(before.changes(&before).is_empty());
    }

    #[test]
    fn the_content_of_a_secret_counts_and_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let text = format!("[providers.a]\napi_key_file = \"{}\"", file.display());
        std::fs::write(&file, "secret-one").unwrap();
        let before = fingerprint(&text);
        std::fs::write(&file, "secret-two").unwrap();
        let after = fingerprint(&text);
        assert!(before.changes(&after).contains("providers.a.api_key_file"));
        assert_eq!(after.files().collect::<Vec<_>>(), [file.as_path()]);
        assert!(!format!("{after:?}").contains("secret-two"));
    }
}

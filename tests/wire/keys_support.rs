//! A server whose clients need keys, and the command that makes them.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::*;

/// The section that wants keys.
pub(crate) const AUTH: &str = "[auth]\nkeys_file = \"keys.toml\"\n";

/// A folder with a configuration that wants keys.
pub(crate) struct Keyed {
    pub(crate) folder: TempDir,
}

impl Keyed {
    /// The mock behind keys, with more of a configuration.
    pub(crate) fn mock(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("c.toml"), format!("{AUTH}{config}")).expect("a config");
        Self { folder }
    }

    /// A provider `up` behind keys: the model `m` is its `real`, every other goes as it is.
    pub(crate) fn before(upstream: &Upstream, config: &str) -> Self {
        let url = upstream.base_url();
        Self::mock(&format!(
            "{config}\n[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"{url}\"\napi_key_env = \"UP_KEY\"\n\
             [[models]]\nname = \"m\"\ntargets = [{{ provider = \"up\", model = \"real\" }}]\n\
             [[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n"
        ))
    }

    /// Makes a key.
    pub(crate) fn key(&self, name: &str, more: &[&str]) -> String {
        new_key(self.folder.path(), name, more)
    }

    /// Starts the server.
    pub(crate) fn start(self) -> Server {
        self.start_with(&[])
    }

    pub(crate) fn start_with(self, env: &[(&str, &str)]) -> Server {
        Server::in_folder(self.folder, &[&[("UP_KEY", UP_KEY)], env].concat())
    }
}

/// Runs `tokenrill keys` in a folder.
pub(crate) fn keys(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tokenrill"))
        .args([&["keys", "--config", "c.toml"], arguments].concat())
        .current_dir(folder)
        .env("UP_KEY", UP_KEY)
        .output()
        .expect("the binary starts")
}

/// Makes a key by the command, which prints it alone.
pub(crate) fn new_key(folder: &Path, name: &str, more: &[&str]) -> String {
    printed_key(&keys(folder, &[&["new", "--name", name], more].concat()))
}

/// The key that a command printed.
pub(crate) fn printed_key(output: &Output) -> String {
    let says = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{says}");
    let key = String::from_utf8(output.stdout.clone()).expect("text");
    let key = key.strip_suffix('\n').expect("a line").to_owned();
    assert!(key.starts_with("trk_") && key.len() == 66, "{key}");
    assert!(!says.contains(&key), "the key is shown twice: {says}");
    key
}

/// The id of a key.
pub(crate) fn id(key: &str) -> &str {
    &key[4..16]
}

/// The header that a client of OpenAI's API sends.
pub(crate) fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

/// A GET with headers.
pub(crate) fn get(server: &Server, path: &str, headers: &str) -> Client {
    let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\n{headers}\r\n");
    Client::send(server.address, request.as_bytes())
}

//! `pass_through`: the paths whose requests go to a provider as they are.

use super::key::Default::Said;
use super::key::{Key, Kind};
use super::reader::{Reader, wrong};

pub(super) const PASS_THROUGH: Key = Key::new(
    "pass_through",
    Kind::List,
    Said("[those of the README](../README.md#endpoints)"),
    "the paths whose requests and answers are passed on as they are, to a provider of the path's own dialect: `[\"/v1/embeddings\", \"/v1/audio/*\"]`; `[]` is none",
);

/// The paths that are passed on by default.
pub const DEFAULT_PATHS: &[&str] = &[
    "/v1/embeddings",
    "/v1/completions",
    "/v1/responses/compact",
    "/v1/audio/*",
    "/v1/images/*",
    "/v1/rerank",
    "/v1/moderations",
    "/v1/messages/batches",
    "/v1/messages/batches/*",
    "/v1/files",
    "/v1/files/*",
];

/// The paths whose requests are passed on as they are. One that ends with `/*` is every path below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassThrough(Vec<String>);

impl Default for PassThrough {
    fn default() -> Self {
        Self(DEFAULT_PATHS.iter().map(|&path| path.to_owned()).collect())
    }
}

impl PassThrough {
    /// Returns whether a request at that path is passed on. A path with other characters than
    /// ordinary ones, or with dots for a name, is not: an upstream might read another path out of
    /// it.
    ///
    /// ```
    /// use tokenrill::config::PassThrough;
    ///
    /// let paths = PassThrough::default();
    /// assert!(paths.contains("/v1/embeddings") && paths.contains("/v1/audio/speech"));
    /// for other in ["/v1/audio", "/v1/audio/", "/v1/audio/../models", "/v1/audio/%2e%2e/models"] {
    ///     assert!(!paths.contains(other), "{other}");
    /// }
    /// ```
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        let is_listed = |listed: &String| match listed.strip_suffix('*') {
            Some(folder) => path
                .strip_prefix(folder)
                .is_some_and(|below| below.split('/').all(is_plain)),
            None => path == listed,
        };
        self.0.iter().any(is_listed)
    }
}

/// Returns whether a part of a path is a plain name.
fn is_plain(part: &str) -> bool {
    !part.is_empty()
        && !part.bytes().all(|byte| byte == b'.')
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:~".contains(&byte))
}

/// Reads the paths.
pub(super) fn pass_through(reader: &mut Reader<'_>) -> PassThrough {
    let list = reader.read(&PASS_THROUGH, |value| {
        const WANT: &str = "a list of paths, as in [\"/v1/embeddings\", \"/v1/audio/*\"]";
        let list = value.as_array().ok_or_else(|| wrong(WANT, value))?;
        let paths = list.iter().map(|path| {
            let path = path.as_str().filter(|path| is_path(path));
            path.map(str::to_owned).ok_or_else(|| wrong(WANT, value))
        });
        paths.collect::<Result<Vec<String>, String>>()
    });
    list.map_or_else(PassThrough::default, PassThrough)
}

fn is_path(path: &str) -> bool {
    let path = path.strip_suffix("/*").unwrap_or(path);
    let below = path
        .strip_prefix("/v1/")
        .or_else(|| path.strip_prefix("/v1beta/"));
    below.is_some_and(|below| below.split('/').all(is_plain))
}

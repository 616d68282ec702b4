//! The scripts, and the digests by which a server knows them.

use std::sync::LazyLock;

use redis::Script;

/// A script, whose first line says what a Redis without memory does with it. One that grows what is
/// stored is refused as a whole: without such a line it may go on once it has deleted something.
macro_rules! script {
    ($file:literal, $first_line:literal) => {
        LazyLock::new(|| {
            CachedScript::new(concat!(
                $first_line,
                include_str!("../prelude.lua"),
                include_str!(concat!("../", $file))
            ))
        })
    };
    (growing $file:literal) => {
        script!($file, "#!lua\n")
    };
    ($file:literal) => {
        script!($file, "#!lua flags=allow-oom\n")
    };
}
pub(super) static COMMIT: LazyLock<CachedScript> = script!(growing "commit.lua");
/// The same for a stream that is there and gets no records: it can be closed and ended at any time.
pub(super) static COMMIT_HEAD: LazyLock<CachedScript> = script!("commit.lua");
pub(super) static KEEP: LazyLock<CachedScript> = script!("keep.lua");
pub(super) static LOOK: LazyLock<CachedScript> = script!("look.lua");
pub(super) static DELETE: LazyLock<CachedScript> = script!("delete.lua");
pub(super) static CANCEL: LazyLock<CachedScript> = script!("cancel.lua");

/// A script, and the digest by which a server knows it that has seen it before.
pub(super) struct CachedScript {
    pub(super) text: &'static str,
    pub(super) digest: String,
}

impl CachedScript {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            digest: Script::new(text).get_hash().to_owned(),
        }
    }
}

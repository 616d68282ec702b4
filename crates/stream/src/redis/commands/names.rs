//! The commands for names of streams: plain keys with a lifetime.

use std::time::Duration;

use super::{StoreError, StreamCommands, decode, millis};

impl StreamCommands {
    /// Takes a name if nobody has it; else says what was put there.
    pub(in crate::redis) async fn take(
        &self,
        key: &str,
        what: &str,
        keep: Duration,
        within: Duration,
    ) -> Result<Option<String>, StoreError> {
        let mut set = redis::cmd("SET");
        // The answer is what was there before.
        set.arg(key)
            .arg(what)
            .arg("NX")
            .arg("GET")
            .arg("PX")
            .arg(millis(keep));
        let before: Option<String> = decode(self.link.call(&set, within).await?)?;
        // A first answer may have been lost.
        Ok(before.filter(|before| before != what))
    }

    /// Puts something under a name, whoever has it.
    pub(in crate::redis) async fn put(
        &self,
        key: &str,
        what: &str,
        keep: Duration,
        within: Duration,
    ) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(key).arg(what).arg("PX").arg(millis(keep));
        self.link.call(&set, within).await?;
        Ok(())
    }

    /// Returns the value of a key.
    pub(in crate::redis) async fn get(
        &self,
        key: &str,
        within: Duration,
    ) -> Result<Option<String>, StoreError> {
        let mut get = redis::cmd("GET");
        get.arg(key);
        decode(self.link.call(&get, within).await?)
    }

    /// Sets the remaining lifetime of a key; zero deletes it.
    pub(in crate::redis) async fn keep_name(
        &self,
        key: &str,
        keep: Duration,
        within: Duration,
    ) -> Result<(), StoreError> {
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(key).arg(millis(keep));
        self.link.call(&expire, within).await?;
        Ok(())
    }
}

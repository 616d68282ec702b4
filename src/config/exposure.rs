//! The rule for servers that everyone may ask: not on an address that others reach, with a key that
//! others would spend.

use std::net::SocketAddr;

use super::Config;

impl Config {
    /// Checks that not everyone who reaches an address spends the key of a provider.
    ///
    /// # Errors
    ///
    /// The problem, and what would be right, on one line.
    pub fn check_exposure(&self, listen: SocketAddr) -> Result<(), String> {
        if listen.ip().to_canonical().is_loopback()
            || self.auth.keys_file.is_some()
            || self.auth.open
        {
            return Ok(());
        }
        let has_secret = |(_, provider): &(&_, &super::Provider)| {
            provider.api_key.is_some() || provider.access.is_some() || !provider.headers.is_empty()
        };
        let Some((name, _)) = self.providers.iter().find(has_secret) else {
            return Ok(());
        };
        Err(format!(
            "everyone who reaches {listen} would spend the key of provider `{}`: give clients keys \
             ([auth] with keys_file = \"keys.toml\", then `tokenrill keys new --name NAME`), listen \
             on a loopback address, or say auth.open = true",
            name.as_str()
        ))
    }
}

//! The linger: a duration as clients and the configuration write it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The time that a generation may run on without a reader. At zero, a client that leaves cancels
/// its upstream at once.
///
/// ```
/// use std::time::Duration;
/// use tokenrill::generation::Linger;
///
/// let linger: Linger = "2m".parse()?;
/// assert_eq!(linger.duration(), Duration::from_secs(120));
/// assert_eq!("90".parse::<Linger>()?.to_string(), "1m 30s");
/// assert!("0".parse::<Linger>()?.is_none());
/// # Ok::<(), tokenrill::generation::ParseLingerError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Linger(Duration);

/// The error for text that is not a linger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "`linger` should be a duration such as \"15s\" or \"2m\", or a number of seconds; 0 is none"
)]
pub struct ParseLingerError;

impl Linger {
    /// The default of a browser's `EventSource`, which reconnects by itself.
    pub const OF_EVENT_SOURCE: Self = Self(Duration::from_secs(15));

    /// The linger without a limit.
    pub const UNLIMITED: Self = Self(Duration::MAX);

    /// Returns a linger of this duration; zero is none.
    #[must_use]
    pub fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// Returns whether a client that leaves ends its generation.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.0.is_zero()
    }

    /// Returns the duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Linger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Linger {
    type Err = ParseLingerError;

    fn from_str(text: &str) -> Result<Self, ParseLingerError> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text
                .parse()
                .map(|seconds| Self(Duration::from_secs(seconds)))
                .map_err(|_| ParseLingerError);
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| ParseLingerError)
    }
}

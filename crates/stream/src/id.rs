//! The ids of streams, and offsets within them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use serde::{Deserialize, Serialize};

use base::id::random_bits;

/// Names a stream. Ours are unguessable; those of a `PUT` are whatever its client chose.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(Arc<str>);

/// In front of our own ids.
const PREFIX: &str = "stm_";
/// The length of the random part of our own ids: 128 bits in base64.
const RANDOM_LENGTH: usize = 22;
/// The longest id that a client may choose, in bytes.
const LONGEST: usize = 128;

impl StreamId {
    /// A new id: `stm_` and 128 random bits.
    #[must_use]
    pub fn random() -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random_bits())).into())
    }

    /// Returns the random part of an id made by [`StreamId::random`], to name something else after
    /// it.
    #[must_use]
    pub fn random_part(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or(&self.0)
    }

    /// Returns whether it looks like one made by [`StreamId::random`].
    pub(super) fn is_ours(&self) -> bool {
        self.0.len() == PREFIX.len() + RANDOM_LENGTH && self.0.starts_with(PREFIX)
    }

    /// The id whose random part that is.
    #[must_use]
    pub fn of_random_part(part: &str) -> Option<Self> {
        Self::from_client(&format!("{PREFIX}{part}"))
    }

    /// An id from outside: 1 to 128 of `[A-Za-z0-9._~-]`, nothing that would mean something else in
    /// a header, a query or a path.
    #[must_use]
    pub fn from_client(value: &str) -> Option<Self> {
        let fine = (1..=LONGEST).contains(&value.len())
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-'))
            && !matches!(value, "." | "..");
        fine.then(|| Self(value.into()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads `<stream-id>.<offset>`, the id of an SSE frame.
    #[must_use]
    pub fn of_event(value: &str) -> Option<(Self, Offset)> {
        let (id, offset) = value.rsplit_once('.')?;
        Some((Self::from_client(id)?, offset.parse().ok()?))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a stream: between two records. Opaque to clients; as text it sorts as the records do,
/// per [Durable Streams](https://github.com/durable-streams/durable-streams/blob/main/PROTOCOL.md).
///
/// The epoch is the time of the stream's creation, so that an offset of a deleted stream is not
/// taken for one of a later stream of the same id.
///
/// ```
/// use stream::Offset;
///
/// let offset = Offset { epoch: 0x6a00_0000, position: 12 };
/// assert_eq!(offset.to_string(), "6a000000_00000000000c");
/// assert_eq!("6a000000_00000000000c".parse(), Ok(offset));
/// assert!("12".parse::<Offset>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset {
    /// In Unix seconds.
    pub epoch: u32,
    /// The number of records before it.
    pub position: u64,
}

impl Offset {
    /// Its length as text.
    pub const LENGTH: usize = 8 + 1 + 12;
    /// The position of a reader that was told of the loss of a stream's writer, behind all that any
    /// writer reaches: only by it can it be told apart from one that has every record and was not.
    pub const AFTER_LOSS: u64 = (1 << 48) - 1;

    /// Writes the offset's text.
    #[inline]
    pub fn write_to(self, text: &mut [u8; Self::LENGTH]) {
        // By hand: it is written for every record, and std takes ten times as long to pad a number.
        write_hex(&mut text[..8], u64::from(self.epoch));
        text[8] = b'_';
        write_hex(&mut text[9..], self.position);
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; Self::LENGTH];
        self.write_to(&mut text);
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

/// Writes a number's last digits, as many as there is room for. 2^48 records are more than any
/// stream has.
#[inline]
fn write_hex(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number % 16) as usize];
        number /= 16;
    }
}

/// Text that is no offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an offset of any stream here")]
pub struct ParseOffsetError;

impl FromStr for Offset {
    type Err = ParseOffsetError;

    /// Only what [`Offset`] prints is read: two spellings of one place would not sort.
    fn from_str(text: &str) -> Result<Self, ParseOffsetError> {
        let lower_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let (epoch, position) = text.split_once('_').ok_or(ParseOffsetError)?;
        if epoch.len() != 8 || position.len() != 12 || !lower_hex(epoch) || !lower_hex(position) {
            return Err(ParseOffsetError);
        }
        let epoch = u32::from_str_radix(epoch, 16).map_err(|_| ParseOffsetError)?;
        let position = u64::from_str_radix(position, 16).map_err(|_| ParseOffsetError)?;
        Ok(Self { epoch, position })
    }
}

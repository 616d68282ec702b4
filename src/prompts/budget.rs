//! The bounds of one rendering: time, steps, and sizes of what it reads and writes.
//!
//! The engine counts its instructions, but one instruction may read a whole text: a filter, a
//! test, an operator. So the clock is looked at in each round of a loop and before each call, and
//! no single call gets more than a prompt's worth of input.

use std::fmt::{self, Write as _};
use std::io;
use std::time::{Duration, Instant};

use minijinja::value::{ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};

/// The longest that a rendering may take.
pub(super) const RENDER_TIMEOUT: Duration = Duration::from_secs(1);
/// The most instructions of a rendering.
pub(super) const MAX_STEPS: u64 = 1_000_000;
/// The longest text that a template may become.
pub(super) const MAX_PROMPT_BYTES: usize = 8 << 20;
/// The most that one call of a filter may read.
const MAX_CALL_BYTES: usize = 2 * MAX_PROMPT_BYTES;
/// The most that all calls together may read and write.
const MAX_TOTAL_BYTES: usize = 32 * MAX_PROMPT_BYTES;
/// Cost of an item of a list beside its text.
const ITEM_BYTES: usize = 8;
/// The deepest nesting of lists that a filter is given; their readers recurse.
const MAX_LIST_NESTING: usize = 32;

/// The account of one rendering, in its engine's state.
#[derive(Debug)]
pub(super) struct Budget {
    until: Instant,
    /// The bytes that calls have read and written.
    total: usize,
    /// The bytes of values printed so far, also into captured text (`{% set %}…{% endset %}`).
    printed: usize,
}

impl Budget {
    /// Returns the account of a rendering, whose time begins when it is first asked for.
    pub(super) fn of<'a>(state: &'a mut State<'_, '_>) -> &'a mut Self {
        state.get_or_insert_extension_with(|| Self {
            until: Instant::now() + RENDER_TIMEOUT,
            total: 0,
            printed: 0,
        })
    }

    /// Counts bytes that are read or written, and looks at the clock.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        self.total = self.total.saturating_add(bytes);
        if self.total > MAX_TOTAL_BYTES || Instant::now() >= self.until {
            return Err(too_slow());
        }
        Ok(())
    }

    /// Counts a value that is printed.
    pub(super) fn print(&mut self, bytes: usize) -> Result<(), Error> {
        self.printed = self.printed.saturating_add(bytes);
        if self.printed > MAX_PROMPT_BYTES {
            return Err(too_long());
        }
        self.charge(0)
    }

    /// Begins another text of the same rendering.
    pub(super) fn begin_text(&mut self) {
        self.printed = 0;
    }
}

/// The error of a rendering that takes too long.
pub(super) fn too_slow() -> Error {
    Error::new(ErrorKind::OutOfFuel, "too slow")
}

/// The error of a text that would become too long.
pub(super) fn too_long() -> Error {
    Error::new(ErrorKind::WriteFailure, "too long")
}

/// Returns the size of what a call reads, if it may read that much.
pub(super) fn weigh(values: &[Value]) -> Result<usize, Error> {
    let mut left = MAX_CALL_BYTES;
    for value in values {
        take_weight(value, 0, &mut left)?;
    }
    Ok(MAX_CALL_BYTES - left)
}

fn take_weight(value: &Value, depth: usize, left: &mut usize) -> Result<(), Error> {
    let own = ITEM_BYTES + value.as_bytes().map_or(0, <[u8]>::len);
    *left = left.checked_sub(own).ok_or_else(too_slow)?;
    let Some(object) = value.as_object() else {
        return Ok(());
    };
    if depth == MAX_LIST_NESTING {
        return Err(too_slow());
    }
    match object.repr() {
        ObjectRepr::Plain => Ok(()),
        ObjectRepr::Map => object.try_iter_pairs().map_or(Ok(()), |mut pairs| {
            pairs.try_for_each(|(key, value)| {
                take_weight(&key, depth + 1, left)?;
                take_weight(&value, depth + 1, left)
            })
        }),
        _ => object.try_iter().map_or(Ok(()), |mut items| {
            items.try_for_each(|item| take_weight(&item, depth + 1, left))
        }),
    }
}

/// Returns the size of a call's result as far as it is known without reading it.
pub(super) fn weigh_result(value: &Value) -> usize {
    match value.as_bytes() {
        Some(text) => text.len(),
        None if value.as_object().is_some() => value.len().unwrap_or(0).saturating_mul(ITEM_BYTES),
        None => 0,
    }
}

/// Returns the length of a value's text, unless it is longer than a prompt may be.
pub(super) fn printed_bytes(value: &Value) -> Result<usize, Error> {
    struct Counter(usize);
    impl fmt::Write for Counter {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 += text.len();
            if self.0 > MAX_PROMPT_BYTES {
                return Err(fmt::Error);
            }
            Ok(())
        }
    }
    match value.kind() {
        ValueKind::Number | ValueKind::Bool => Ok(0),
        ValueKind::String => Ok(value.as_str().map_or(0, str::len)),
        _ => {
            let mut counter = Counter(0);
            write!(counter, "{value}").map_err(|_| too_long())?;
            Ok(counter.0)
        }
    }
}

/// A text that refuses to grow beyond [`MAX_PROMPT_BYTES`]: a client chooses what a loop repeats,
/// and how often.
#[derive(Debug, Default)]
pub(super) struct BoundedText(Vec<u8>);

impl BoundedText {
    pub(super) fn trimmed(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}

impl io::Write for BoundedText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_PROMPT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! The seam of a continued answer: from which word on the text of another attempt is new.
//!
//! Models that are asked to go on do, or repeat the last words, or begin again from the start. So
//! text is held until it is clear where the new part begins. What does not fit is never shown, and
//! nothing is compared but letter by letter.

use dialect::failure::Failure;

/// The most text that is held while it is not clear where the new part begins, in bytes.
const MAX_HELD_BYTES: usize = 4096;
/// The length of the end of the answer within which repeated words are looked for, in bytes.
const TAIL_BYTES: usize = 4096;
/// Repeated words that are at least so long are no coincidence, in characters.
const MIN_REPEATED_CHARS: usize = 8;
/// A whole line that is repeated may be shorter, in characters.
const MIN_REPEATED_LINE_CHARS: usize = 4;
/// Text that shares so much with the start of the answer begins it again, in characters.
const MIN_RESTART_CHARS: usize = 24;

/// The join of the answer so far and the text of another attempt.
#[derive(Debug)]
pub(super) struct Seam {
    /// Set if the model was given the answer as its own: then it knows best what comes next.
    is_prefill: bool,
    /// The line that opened the block of code within which the answer broke off, where the model
    /// may open that once more.
    fence: Option<String>,
    stage: Stage,
    /// Text that is not known to be new.
    held: String,
}

#[derive(Debug)]
enum Stage {
    /// The text may repeat something.
    Undecided,
    /// The text repeats the answer from its start, so far up to that place.
    Repeating(usize),
    /// The text is new, but for white space with which the answer ended: so much of that has been
    /// repeated.
    WhiteSpace(usize),
}

/// The place in the held text at which the new part begins.
enum NewPart {
    /// More text decides.
    Unknown,
    At(usize),
    /// Nowhere: it begins the answer again, in other words.
    Nowhere,
}

/// The relation of some text to the answer so far.
enum Relation {
    /// More text decides.
    Open,
    /// It repeats that many bytes of the end of the answer, or all of it.
    Repeats(usize),
    /// It begins the answer again, in other words.
    BeginsAnew,
    /// It has nothing to do with it.
    New,
}

impl Seam {
    pub(super) fn new(said: &str, is_prefill: bool) -> Self {
        let fence = (!is_prefill).then(|| open_fence(said)).flatten();
        Self {
            is_prefill,
            fence: fence.map(|line| format!("{line}\n")),
            stage: Stage::Undecided,
            held: String::new(),
        }
    }

    /// Adds text. Returns the new part once it is known where that begins.
    ///
    /// # Errors
    ///
    /// When the text can't be joined to the answer so far.
    pub(super) fn push(&mut self, said: &str, text: &str) -> Result<Option<String>, Failure> {
        if let Stage::Repeating(at) = self.stage {
            let rest = said.trim_end().get(at..).unwrap_or_default();
            if rest.len() > text.len() && rest.starts_with(text) {
                self.stage = Stage::Repeating(at + text.len());
                return Ok(None);
            }
            let new = text.strip_prefix(rest).ok_or_else(begins_anew)?;
            self.held.push_str(new);
            self.stage = Stage::WhiteSpace(0);
        } else {
            self.held.push_str(text);
        }
        self.advance(said, false)
    }

    /// Returns what is new of the text that is held: no more will come before something else.
    ///
    /// # Errors
    ///
    /// When the text can't be joined to the answer so far.
    pub(super) fn settle(&mut self, said: &str) -> Result<String, Failure> {
        if let Stage::Repeating(_) = self.stage {
            return Err(begins_anew());
        }
        let new = self.advance(said, true)?;
        Ok(new.unwrap_or_default())
    }

    fn advance(&mut self, said: &str, is_last: bool) -> Result<Option<String>, Failure> {
        let body = said.trim_end();
        if let Stage::Undecided = self.stage {
            let is_full = self.held.len() > MAX_HELD_BYTES;
            let text = self.held.trim_start();
            if is_full && !is_last && body.len() > text.len() && body.starts_with(text) {
                self.stage = Stage::Repeating(text.len());
                self.held.clear();
                return Ok(None);
            }
            let is_last = is_last || is_full;
            match self.new_part(body, is_last) {
                NewPart::Unknown => return Ok(None),
                NewPart::Nowhere => return Err(begins_anew()),
                NewPart::At(at) => {
                    self.held.drain(..at);
                    self.stage = Stage::WhiteSpace(0);
                }
            }
        }
        let Stage::WhiteSpace(repeated) = self.stage else {
            return Ok(None);
        };
        let white = said.get(body.len() + repeated..).unwrap_or_default();
        let shared: usize = white
            .chars()
            .zip(self.held.chars())
            .take_while(|(one, other)| one == other)
            .map(|(one, _)| one.len_utf8())
            .sum();
        self.held.drain(..shared);
        if self.held.is_empty() && !is_last && shared < white.len() {
            self.stage = Stage::WhiteSpace(repeated + shared);
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.held)))
    }

    /// Finds the place at which the held text becomes new; `body` is the answer so far, without
    /// white space at its end.
    fn new_part(&self, body: &str, is_last: bool) -> NewPart {
        let held = self.held.as_str();
        if body.is_empty() {
            return NewPart::At(0);
        }
        let lead = held.len() - held.trim_start().len();
        if lead == held.len() {
            return if is_last {
                NewPart::At(0)
            } else {
                NewPart::Unknown
            };
        }
        let mut starts = vec![0, lead];
        let mut after_fence = None;
        if let Some(line) = &self.fence {
            let text = &held[lead..];
            if line.len() > text.len() && line.starts_with(text) && !is_last {
                return NewPart::Unknown;
            }
            if text.starts_with(line.as_str()) {
                after_fence = Some(lead + line.len());
            }
        }
        starts.extend(after_fence);
        starts.dedup();
        let mut found = NewPart::At(after_fence.unwrap_or(0));
        for start in starts {
            match self.relation(body, &held[start..], is_last) {
                Relation::Open => return NewPart::Unknown,
                Relation::Repeats(length) => return NewPart::At(start + length),
                Relation::BeginsAnew => found = NewPart::Nowhere,
                Relation::New => {}
            }
        }
        found
    }

    fn relation(&self, body: &str, text: &str, is_last: bool) -> Relation {
        if text.is_empty() {
            return if is_last {
                Relation::New
            } else {
                Relation::Open
            };
        }
        // One that was given the answer as its own may well begin with the same sign: `##`.
        let may_repeat_all = !self.is_prefill || is_telling(body);
        if text.starts_with(body) && may_repeat_all {
            return Relation::Repeats(body.len());
        }
        let is_shorter = body.len() > text.len();
        if is_shorter && body.starts_with(text) && !is_last {
            return Relation::Open;
        }
        let tail = tail(body);
        let (length, may_grow) = overlap(tail.as_bytes(), text.as_bytes());
        if may_grow && !is_last {
            return Relation::Open;
        }
        let repeated = text.get(..length).unwrap_or_default();
        if self.is_repetition(body, repeated) {
            return Relation::Repeats(length);
        }
        let shared = text.chars().zip(body.chars());
        let shared = shared.take_while(|(one, other)| one == other).count();
        if shared >= MIN_RESTART_CHARS {
            return Relation::BeginsAnew;
        }
        Relation::New
    }

    /// Returns whether words with which the answer ends and the text begins are said twice, and
    /// are not a part of both.
    fn is_repetition(&self, body: &str, words: &str) -> bool {
        let length = words.chars().count();
        if has_period(words.as_bytes()) {
            // Such as a ruled line, or a refrain: it may well go on.
            return false;
        }
        if length >= MIN_REPEATED_CHARS {
            return true;
        }
        let before = &body[..body.len() - words.len()];
        let is_line = before.is_empty() || before.ends_with('\n');
        !self.is_prefill && is_line && length >= MIN_REPEATED_LINE_CHARS && is_telling(words)
    }
}

fn begins_anew() -> Failure {
    Failure::upstream_error("the model began its answer again, in other words")
}

/// Returns the end of a text, from a character on.
fn tail(text: &str) -> &str {
    let mut from = text.len().saturating_sub(TAIL_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// Returns whether a text has enough in it to be known again.
fn is_telling(text: &str) -> bool {
    let mut letters = text.chars().filter(|letter| letter.is_alphanumeric());
    let first = letters.next();
    first.is_some_and(|first| letters.any(|letter| letter != first))
}

/// Returns the line that opened the block of code within which the text ends, if that names a
/// language: a line without one may as well close a block.
fn open_fence(text: &str) -> Option<&str> {
    let mut open = None;
    for line in text.lines().filter(|line| line.starts_with("```")) {
        open = match open {
            None => Some(line.trim_end()),
            Some(_) => None,
        };
    }
    open.filter(|line| line.len() > "```".len())
}

/// Returns for each length of a pattern's beginning the longest shorter one that it ends with.
fn borders(pattern: &[u8]) -> Vec<usize> {
    let mut borders = vec![0; pattern.len()];
    let mut length = 0;
    for at in 1..pattern.len() {
        while length > 0 && pattern[at] != pattern[length] {
            length = borders[length - 1];
        }
        if pattern[at] == pattern[length] {
            length += 1;
        }
        borders[at] = length;
    }
    borders
}

/// Returns the length of the longest beginning of `text` with which `tail` ends, and whether more
/// text could make that longer. Takes time in proportion to both.
fn overlap(tail: &[u8], text: &[u8]) -> (usize, bool) {
    if text.is_empty() {
        return (0, false);
    }
    let borders = borders(text);
    let (mut length, mut may_grow) = (0, false);
    for (at, byte) in tail.iter().enumerate() {
        while length > 0 && (length == text.len() || text[length] != *byte) {
            length = borders[length - 1];
        }
        if text[length] == *byte {
            length += 1;
        }
        may_grow |= length == text.len() && at + 1 < tail.len();
    }
    (length, may_grow)
}

/// Returns whether a text is a shorter one, twice or more.
fn has_period(text: &[u8]) -> bool {
    let period = text.len() - borders(text).last().copied().unwrap_or_default();
    text.len() >= 2 * period
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Returns what is new of a text that comes in pieces of that many characters.
    fn new_part(said: &str, text: &str, is_prefill: bool, size: usize) -> Option<String> {
        let mut seam = Seam::new(said, is_prefill);
        let letters: Vec<char> = text.chars().collect();
        let mut pieces = letters
            .chunks(size)
            .map(|piece| piece.iter().collect::<String>());
        for piece in pieces.by_ref() {
            match seam.push(said, &piece) {
                Ok(None) => {}
                Ok(Some(new)) => return Some(new + &pieces.collect::<String>()),
                Err(_) => return None,
            }
        }
        seam.settle(said).ok()
    }

    #[test]
    fn the_new_part_is_found_whatever_the_pieces() {
        for (said, text, new) in [
            // It goes on.
            ("The quick brown", " fox jumps", " fox jumps"),
            ("The quick brown fox ju", "mps over", "mps over"),
            // It repeats the last words.
            ("One two three four five", " four five six", " six"),
            ("One two three four five", "four five six", " six"),
            ("Über die Brücke gehen", "Brücke gehen wir", " wir"),
            // It begins again.
            ("One two three", "One two three four", " four"),
            ("One", "One two three four", " two three four"),
            ("One two three", "\n\nOne two three four", " four"),
            // White space that was said already.
            ("One two ", " three", "three"),
            ("One two\n\n", "\n\nthree", "three"),
            ("One two\n\n", "\nthree", "three"),
            ("One two ", "three", "three"),
            ("One two \n", "One two \nthree", "three"),
            ("One two \n", "One two three", "three"),
            // What was never said is never dropped.
            ("1, 2, 3", ", 4", ", 4"),
            ("a\n=========", "========\nb", "========\nb"),
            ("na na na na ", "na na na hey", "na na na hey"),
            ("   ", "One", "One"),
            // Nothing more.
            ("One two three", "", ""),
            ("One two three four five", "One two three four five", ""),
        ] {
            for is_prefill in [true, false] {
                for size in 1..=text.len().max(1) {
                    assert_eq!(
                        new_part(said, text, is_prefill, size).as_deref(),
                        Some(new),
                        "{said:?} {text:?} {is_prefill} {size}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_sign_alone_is_repeated_only_by_a_turn() {
        assert_eq!(new_part("#", "# Title", true, 2).unwrap(), "# Title");
        assert_eq!(new_part("#", "## Title", false, 2).unwrap(), "# Title");
    }

    #[test]
    fn a_block_of_code_is_not_opened_twice() {
        let said = "So:\n```rust\nlet a = 1;\n";
        let new = new_part(said, "```rust\nlet b = 2;\n```", false, 3);
        assert_eq!(new.unwrap(), "let b = 2;\n```");
        assert_eq!(new_part(said, "```\nDone", false, 3).unwrap(), "```\nDone");
    }

    #[test]
    fn an_answer_that_begins_anew_in_other_words_is_not_joined() {
        let said = "The answer to your question is that it depends on the weather.";
        let text = "The answer to your question is simple: it is forty-two.";
        for size in 1..text.len() {
            assert_eq!(new_part(said, text, false, size), None, "{size}");
        }
    }

    #[test]
    fn a_long_answer_is_followed_from_its_start() {
        let said: String = (0..4000).map(|number| format!("{number} ")).collect();
        let text = format!("{said}4000 4001");
        for is_prefill in [true, false] {
            assert_eq!(new_part(&said, &text, is_prefill, 7).unwrap(), "4000 4001");
        }
        let other = text.replace("3000", "3333");
        assert_eq!(new_part(&said, &other, true, 7), None);
        // It stops within.
        assert_eq!(new_part(&said, &said[..9000], true, 7), None);
    }
}

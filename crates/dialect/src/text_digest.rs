//! Digests of texts that come in pieces, to be compared with a whole that repeats them.
//!
//! Not for keys or secrets: FNV-1a is quick for the few bytes of a token and gives the same digest
//! however a text was cut, but it resists no one who looks for collisions.

/// The length and the hash of a text: enough to tell whether another one begins with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TextDigest {
    length: usize,
    hash: u64,
}

impl Default for TextDigest {
    fn default() -> Self {
        Self {
            length: 0,
            hash: 0xcbf2_9ce4_8422_2325,
        }
    }
}

impl TextDigest {
    /// Returns the length of the text in bytes.
    pub(crate) fn len(self) -> usize {
        self.length
    }

    pub(crate) fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Adds a piece of the text.
    pub(crate) fn push(&mut self, piece: &str) {
        self.push_bytes(piece.as_bytes());
    }

    /// Returns true if these texts together begin with this one.
    pub(crate) fn begins<T: AsRef<str>>(self, texts: &[T]) -> bool {
        let mut start = Self::default();
        for text in texts {
            let text = text.as_ref().as_bytes();
            // As bytes: where the texts differ, this length may end within a character.
            start.push_bytes(&text[..text.len().min(self.length - start.length)]);
        }
        start == self
    }

    /// Returns what a text has behind this one, if it begins with it.
    pub(crate) fn rest(self, text: &str) -> Option<&str> {
        self.begins(&[text]).then(|| text.get(self.length..))?
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.hash = bytes.iter().fold(self.hash, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_begins_with_its_pieces_however_they_were_cut() {
        let mut digest = TextDigest::default();
        assert!(digest.is_empty() && digest.begins(&[""]));
        ["He", "", "llö"]
            .iter()
            .for_each(|piece| digest.push(piece));
        assert_eq!(digest.len(), 6);
        assert!(digest.begins(&["Hellö"]) && digest.begins(&["Hellö", " World"]));
        assert!(digest.begins(&["H", "ellö W"]));
        assert_eq!(digest.rest("Hellö W"), Some(" W"));
        assert_eq!(digest.rest("Hallo W"), None);
        for other in ["Hell", "Hallö", "", "Hellé"] {
            assert!(!digest.begins(&[other]), "{other}");
        }
    }
}

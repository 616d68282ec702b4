//! The open objects and lists around a position, at any depth.

/// A stack of one bit per level: 1 for an object, 0 for a list.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    pub(super) depth: u32,
    last: u64,
    /// Earlier levels, where there are more than fit into one word.
    before: Vec<u64>,
}

impl Nesting {
    pub(super) const AT_ONCE: u32 = u64::BITS;

    #[inline]
    pub(super) fn push(&mut self, is_object: bool) {
        if self.depth != 0 && self.depth.is_multiple_of(Self::AT_ONCE) {
            self.before.push(self.last);
        }
        self.last = self.last << 1 | u64::from(is_object);
        self.depth += 1;
    }

    #[inline]
    pub(super) fn last(&self) -> Option<bool> {
        (self.depth != 0).then_some(self.last & 1 == 1)
    }

    #[inline]
    pub(super) fn pop(&mut self) {
        self.depth -= 1;
        self.last >>= 1;
        if self.depth != 0 && self.depth.is_multiple_of(Self::AT_ONCE) {
            self.last = self.before.pop().unwrap_or_default();
        }
    }
}

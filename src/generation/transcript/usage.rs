//! The tokens of the attempts of one answer together. What an upstream did not report before its
//! answer broke is estimated.

use dialect::event::Usage;

/// The tokens of the attempts before the current one.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::generation) struct EarlierUsage {
    known: Usage,
    /// Attempts whose input is not known.
    without_input: u64,
    /// Tokens that the client has.
    said: u64,
    is_estimated: bool,
}

impl EarlierUsage {
    /// Adds an attempt that broke: its last report, and the number of its payloads, which the
    /// client has if they were shown.
    pub(in crate::generation) fn add(
        &mut self,
        reported: Option<Usage>,
        payloads: u64,
        is_shown: bool,
    ) {
        let reported = reported.unwrap_or_default();
        self.is_estimated |= reported.input == 0 || reported.output < payloads;
        let output = reported.output.max(payloads);
        self.known = sum(self.known, Usage { output, ..reported });
        self.without_input += u64::from(reported.input == 0);
        self.said += if is_shown { payloads } else { 0 };
    }

    /// Returns whether a part was not reported.
    pub(in crate::generation) fn is_estimated(&self) -> bool {
        self.is_estimated
    }

    /// Returns the tokens that the client has, as far as they were counted.
    pub(in crate::generation) fn said(&self) -> u64 {
        self.said
    }

    /// Returns the tokens of all attempts. The input of one that is not known is about that of the
    /// current one, which has the answer so far as well.
    pub(in crate::generation) fn plus(&self, current: Usage) -> Usage {
        let input = current.input.saturating_sub(self.said) * self.without_input;
        let estimated = Usage {
            input,
            ..Usage::default()
        };
        sum(sum(self.known, current), estimated)
    }
}

fn sum(one: Usage, other: Usage) -> Usage {
    let both = |one: Option<u64>, other: Option<u64>| match (one, other) {
        (None, None) => None,
        (one, other) => Some(one.unwrap_or(0).saturating_add(other.unwrap_or(0))),
    };
    Usage {
        input: one.input.saturating_add(other.input),
        output: one.output.saturating_add(other.output),
        cached: both(one.cached, other.cached),
        cache_written: both(one.cache_written, other.cache_written),
        reasoning: both(one.reasoning, other.reasoning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_reported_is_estimated() {
        let usage = |input, output| Usage {
            input,
            output,
            ..Usage::default()
        };
        let mut silent = EarlierUsage::default();
        silent.add(None, 5, true);
        assert!(silent.is_estimated());
        assert_eq!(silent.plus(usage(15, 3)), usage(10 + 15, 5 + 3));
        let mut telling = EarlierUsage::default();
        telling.add(Some(usage(11, 1)), 5, true);
        assert_eq!(telling.plus(usage(15, 3)), usage(11 + 15, 5 + 3));
        assert!(telling.is_estimated());
        let mut exact = EarlierUsage::default();
        exact.add(Some(usage(11, 5)), 5, true);
        assert!(!exact.is_estimated());
        assert_eq!(EarlierUsage::default().plus(usage(7, 2)), usage(7, 2));
    }
}

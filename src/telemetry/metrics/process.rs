//! The figures of the process itself, as Prometheus' own clients name them.

use std::time::Duration;

/// Clock ticks of a second in `/proc`: the same on every Linux, whatever its kernel's are.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes of a page where the system's are the usual ones.
const PAGE: u64 = 4096;

/// The figures of the process.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ProcessFigures {
    /// Processor time, of all threads.
    pub(super) cpu: Duration,
    /// Memory that is present, in bytes.
    pub(super) memory: u64,
    /// Open files and sockets.
    pub(super) files: u64,
}

impl ProcessFigures {
    /// Reads them from `/proc`; `None` where there is none.
    pub(super) fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let memory = std::fs::read_to_string("/proc/self/statm").ok()?;
        let files = std::fs::read_dir("/proc/self/fd").ok()?.count();
        Self::parse(&stat, &memory, u64::try_from(files).ok()?)
    }

    fn parse(stat: &str, memory: &str, files: u64) -> Option<Self> {
        // The name in parentheses may hold anything. The fields 14 and 15 are the 12th and 13th
        // behind it.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut times = fields.split_ascii_whitespace().skip(11);
        let ticks = times.next()?.parse::<u32>().ok()? + times.next()?.parse::<u32>().ok()?;
        let pages: u64 = memory.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(Self {
            cpu: Duration::from_secs_f64(f64::from(ticks) / TICKS_PER_SECOND),
            memory: pages * PAGE,
            // One of them reads the folder.
            files: files.saturating_sub(1),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 0 0 20 0 4 0 99";
        let figures = ProcessFigures::parse(stat, "500 25 9 1 0 1 0", 11).unwrap();
        let expected = ProcessFigures {
            cpu: Duration::from_secs(2),
            memory: 25 * PAGE,
            files: 10,
        };
        assert_eq!(figures, expected);
        assert!(ProcessFigures::read().unwrap().memory > 1 << 20);
    }
}

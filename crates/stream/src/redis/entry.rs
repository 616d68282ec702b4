//! The encoding of records in Redis: one entry per batch, whose id is the place after its last
//! record. The entry that holds a place is so the first one with a larger id.

use bytes::Bytes;
use redis::{FromRedisValue, Value};

use crate::RecordBatch;

/// The most that is put into one entry, in bytes; a larger record has one of its own.
const LARGEST: usize = 64 * 1024;

/// An entry that is none of the stream that it was found in, or not what was put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DamagedEntry(pub(super) &'static str);

/// A run and the place of its first record.
pub(super) type PlacedBatch = (u64, RecordBatch);

/// Puts small neighbours together.
pub(super) fn joined(runs: Vec<PlacedBatch>) -> Vec<PlacedBatch> {
    let mut out: Vec<PlacedBatch> = Vec::with_capacity(1);
    let mut open: Vec<RecordBatch> = Vec::new();
    let (mut first, mut bytes) = (0, 0);
    for (at, run) in runs {
        if !open.is_empty() && bytes + run.bytes_len() > LARGEST {
            out.push((first, RecordBatch::joined(std::mem::take(&mut open))));
        }
        if open.is_empty() {
            (first, bytes) = (at, 0);
        }
        bytes += run.bytes_len();
        open.push(run);
    }
    if !open.is_empty() {
        out.push((first, RecordBatch::joined(open)));
    }
    out
}

/// Encodes the end of each record.
pub(super) fn ends(run: &RecordBatch) -> Vec<u8> {
    let mut ends = Vec::with_capacity(4 * usize::try_from(run.count()).unwrap_or_default());
    for end in run.ends() {
        ends.extend_from_slice(&end.to_le_bytes());
    }
    ends
}

/// Reads an entry of the stream of that nonce.
pub(super) fn decode_entry(entry: Value, nonce: &str) -> Result<PlacedBatch, DamagedEntry> {
    let wrong = |_| DamagedEntry("it is no entry of ours");
    let (id, fields): (String, Vec<Vec<u8>>) =
        FromRedisValue::from_redis_value(entry).map_err(wrong)?;
    let fields: [Vec<u8>; 8] = fields
        .try_into()
        .map_err(|_| DamagedEntry("it has other fields"))?;
    let [n, its, f, first, e, ends, b, bytes] = fields;
    if [&n[..], &f, &e, &b] != [&b"n"[..], b"f", b"e", b"b"] {
        return Err(DamagedEntry("it has other fields"));
    }
    if its != nonce.as_bytes() {
        return Err(DamagedEntry("it is another stream's"));
    }
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|_| DamagedEntry("its place is no number"))
    };
    let next = number(id.strip_suffix("-0").unwrap_or_default())?;
    let first = number(std::str::from_utf8(&first).unwrap_or_default())?;
    let (ends, rest) = ends.as_chunks::<4>();
    let ends: Vec<u32> = ends.iter().copied().map(u32::from_le_bytes).collect();
    let whole = rest.is_empty()
        && ends.is_sorted()
        && ends.last().is_some_and(|&end| end as usize == bytes.len())
        && first.checked_add(ends.len() as u64) == Some(next);
    if !whole {
        return Err(DamagedEntry("its records don't fit its place"));
    }
    Ok((first, RecordBatch::many(Bytes::from(bytes), ends)))
}

//! Entries of streams in Redis: what is written is read, and one that is damaged is refused, or is
//! another whole one.

use bytes::Bytes;
use redis::Value;

use crate::RecordBatch;

#[path = "../../crates/stream/src/redis/entry.rs"]
mod entry;

const NONCE: &str = "7f3a";

/// A change of one field of an entry.
pub type Damage<'a> = (u8, u16, &'a [u8]);

/// Writes records of these lengths as one entry and as several joined ones, reads them, and reads
/// them with the damage.
pub fn check(first: u64, lengths: &[u16], bytes: &[u8], damage: Damage<'_>) {
    let records = cut(lengths, bytes);
    let count = records.len() as u64;
    if count == 0 || first.checked_add(count).is_none() {
        return;
    }
    let batch = batch_of(&records);
    let fields = encode(first, &batch);
    let read = entry::decode_entry(value(&fields), NONCE).expect("what was written");
    assert_eq!((read.0, all(&read.1)), (first, records.clone()));
    assert!(entry::decode_entry(value(&fields), "another").is_err());

    let (one, two) = records.split_at(records.len() / 2);
    let mut parts = vec![(first + one.len() as u64, batch_of(two))];
    if !one.is_empty() {
        parts.insert(0, (first, batch_of(one)));
    }
    let mut next = first;
    let mut joined = Vec::new();
    for (at, part) in entry::joined(parts) {
        assert_eq!(at, next);
        next += part.count();
        joined.extend(all(&part));
    }
    assert_eq!(joined, records);
    check_beyond(&batch);
    check_damaged(fields, damage);
}

/// Reads an entry whose records would not all have a place: the last one's is the greatest.
fn check_beyond(batch: &RecordBatch) {
    let mut fields = encode(0, batch);
    let first = u64::MAX - batch.count() + 1;
    fields[4] = first.to_string().into_bytes();
    for id in [0, u64::MAX, batch.count()] {
        fields[0] = format!("{id}-0").into_bytes();
        assert!(entry::decode_entry(value(&fields), NONCE).is_err());
    }
}

/// Reads an entry with one field changed.
fn check_damaged(mut fields: Vec<Vec<u8>>, (field, at, put): Damage<'_>) {
    let index = usize::from(field) % fields.len();
    let changed = &mut fields[index];
    let at = usize::from(at) % (changed.len() + 1);
    let end = (at + put.len()).min(changed.len());
    changed.splice(at..end, put.iter().copied());
    let Ok((first, batch)) = entry::decode_entry(value(&fields), NONCE) else {
        return;
    };
    let next = String::from_utf8_lossy(&fields[0]).into_owned();
    let next: u64 = next.trim_end_matches("-0").parse().expect("a place");
    assert_eq!(first + batch.count(), next);
    assert_eq!(all(&batch).concat(), fields[8]);
    assert_eq!(fields[2], NONCE.as_bytes());
}

/// Cuts records of the given lengths from the bytes.
fn cut(lengths: &[u16], mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for length in lengths {
        let (record, rest) = bytes.split_at(usize::from(*length).min(bytes.len()));
        records.push(record.to_vec());
        bytes = rest;
    }
    records
}

fn batch_of(records: &[Vec<u8>]) -> RecordBatch {
    let mut end = 0;
    let ends = records.iter().map(|record| {
        end += u32::try_from(record.len()).expect("a length");
        end
    });
    let ends = ends.collect();
    RecordBatch::many(Bytes::from(records.concat()), ends)
}

fn all(batch: &RecordBatch) -> Vec<Vec<u8>> {
    batch.records().map(|record| record.to_vec()).collect()
}

/// Returns the id and the fields, as the server's script writes them.
fn encode(first: u64, batch: &RecordBatch) -> Vec<Vec<u8>> {
    let id = format!("{}-0", first + batch.count());
    let place = first.to_string();
    let bytes = batch.clone().into_bytes();
    let ends = entry::ends(batch);
    let fields: [&[u8]; 9] = [
        id.as_bytes(),
        b"n",
        NONCE.as_bytes(),
        b"f",
        place.as_bytes(),
        b"e",
        &ends,
        b"b",
        &bytes,
    ];
    fields.map(<[u8]>::to_vec).into()
}

fn value(fields: &[Vec<u8>]) -> Value {
    let text = |field: &Vec<u8>| Value::BulkString(field.clone());
    let rest = fields[1..].iter().map(text).collect();
    Value::Array(vec![text(&fields[0]), Value::Array(rest)])
}

//! Bytes that no server should send: cut in two anywhere, they must give the same events.
#![no_main]

use bytes::Bytes;
use dialect::sse;

fn events(pieces: &[&[u8]]) -> Vec<(Option<Vec<u8>>, Option<Vec<u8>>)> {
    let mut reader = sse::FrameSplitter::new(1 << 16);
    let mut events = Vec::new();
    let mut take = |run: &[u8]| {
        for frame in sse::frames(run) {
            if frame.data.is_some() {
                events.push((
                    frame.event.map(<[u8]>::to_vec),
                    frame.data.map(|data| data.into_owned()),
                ));
            }
        }
    };
    for piece in pieces {
        match reader.push(Bytes::copy_from_slice(piece)) {
            Ok(run) => take(&run),
            Err(_) => return events,
        }
    }
    take(&reader.finish());
    events
}

libfuzzer_sys::fuzz_target!(|input: (u16, &[u8])| {
    let (at, data) = input;
    let at = usize::from(at) % (data.len() + 1);
    let whole = events(&[data]);
    assert_eq!(events(&[&data[..at], &data[at..]]), whole);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(events(&bytes), whole);
});

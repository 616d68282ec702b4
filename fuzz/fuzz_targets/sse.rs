//! Bytes that no server should send: cut in two anywhere, they must give the same events, each as
//! soon as it is whole.
#![no_main]

use bytes::Bytes;
use dialect::sse;

/// Returns the events of some pieces of a body, and of the end of it if it has `ended`.
fn events(pieces: &[&[u8]], ended: bool) -> Vec<(Option<Vec<u8>>, Option<Vec<u8>>)> {
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
    if ended {
        take(&reader.finish());
    }
    events
}

libfuzzer_sys::fuzz_target!(|input: (u16, &[u8])| {
    let (at, data) = input;
    let at = usize::from(at) % (data.len() + 1);
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    for ended in [false, true] {
        let whole = events(&[data], ended);
        assert_eq!(events(&[&data[..at], &data[at..]], ended), whole);
        assert_eq!(events(&bytes, ended), whole);
    }
});

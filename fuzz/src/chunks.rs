//! Chunked bodies, against a second reader that was written from the grammar (RFC 9112 §7.1) and
//! reads the whole input at once.

use http1::{ChunkedReader, Framing};

/// Limits of `http1`, which are part of its contract.
const MAX_SIZE_DIGITS: usize = 16;
const MAX_EXTENSION_BYTES: usize = 4 * 1024;
const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// The state in which reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The body is complete; so many bytes of the input were its.
    Complete(usize),
    /// The input ends within the body.
    Partial,
    Malformed,
}

/// Reads the input in one piece and in pieces of the given lengths, and compares.
pub fn check(cuts: &[u8], data: &[u8]) {
    let mut body = Vec::new();
    let end = parse_chunked_body(data, &mut body);
    for pieces in [
        crate::socket::cut(data, &[]),
        crate::socket::cut(data, cuts),
    ] {
        assert_eq!(decode(pieces), (body.clone(), end));
    }
}

/// Reads with `http1`.
fn decode(pieces: Vec<Vec<u8>>) -> (Vec<u8>, End) {
    let mut framing = Framing::Chunked(ChunkedReader::default());
    let (mut body, mut total) = (Vec::new(), 0);
    for mut piece in pieces {
        let mut rest = &mut piece[..];
        while !rest.is_empty() {
            let Ok(decoded) = framing.decode(rest) else {
                assert!(!framing.is_ended() && !framing.allows_close());
                return (body, End::Malformed);
            };
            body.extend_from_slice(&rest[decoded.body]);
            total += decoded.used;
            rest = &mut rest[decoded.used..];
            if framing.is_ended() {
                return (body, End::Complete(total));
            }
        }
    }
    (body, End::Partial)
}

/// The second reader: a rule of the grammar a step, on the whole input.
fn parse_chunked_body(input: &[u8], body: &mut Vec<u8>) -> End {
    let mut rest = input;
    loop {
        let size = match chunk_size_line(&mut rest) {
            Ok(size) => size,
            Err(end) => return end,
        };
        if size == 0 {
            break;
        }
        let available = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
        body.extend_from_slice(&rest[..available]);
        rest = &rest[available..];
        if (available as u64) < size {
            return End::Partial;
        }
        if let Err(end) = literal(&mut rest, b"\r\n") {
            return end;
        }
    }
    match trailer_section(&mut rest) {
        Ok(()) => End::Complete(input.len() - rest.len()),
        Err(end) => end,
    }
}

/// `chunk-size [ chunk-ext ] CRLF`, where an extension is anything without CR and LF.
fn chunk_size_line(rest: &mut &[u8]) -> Result<u64, End> {
    let digits = rest
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if digits > MAX_SIZE_DIGITS {
        return Err(End::Malformed);
    }
    let text = std::str::from_utf8(&rest[..digits]).expect("digits");
    *rest = &rest[digits..];
    let Some(next) = rest.first() else {
        return Err(End::Partial);
    };
    let size = u64::from_str_radix(text, 16).map_err(|_| End::Malformed)?;
    if *next == b';' {
        let length = line_length(&rest[1..], MAX_EXTENSION_BYTES)?;
        *rest = &rest[1 + length..];
    }
    literal(rest, b"\r\n")?;
    Ok(size)
}

/// `*( field-line CRLF ) CRLF`, where a field line is anything without CR and LF.
fn trailer_section(rest: &mut &[u8]) -> Result<(), End> {
    let mut left = MAX_TRAILER_BYTES;
    loop {
        let length = line_length(rest, left)?;
        *rest = &rest[length..];
        literal(rest, b"\r\n")?;
        if length == 0 {
            return Ok(());
        }
        // The line feed counts as well.
        left = left.checked_sub(length + 1).ok_or(End::Malformed)?;
    }
}

/// Returns the length of a line up to its CR, if it has at most so many bytes.
fn line_length(rest: &[u8], most: usize) -> Result<usize, End> {
    let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    if end.unwrap_or(rest.len()) > most {
        return Err(End::Malformed);
    }
    end.ok_or(End::Partial)
}

/// Exactly these bytes.
fn literal(rest: &mut &[u8], wanted: &[u8]) -> Result<(), End> {
    for byte in wanted {
        match rest.split_first() {
            None => return Err(End::Partial),
            Some((first, after)) if first == byte => *rest = after,
            Some(_) => return Err(End::Malformed),
        }
    }
    Ok(())
}

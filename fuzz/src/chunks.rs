//! Chunked bodies, against a second reader that was written from the grammar (RFC 9112 §7.1) and
//! reads the whole input at once.

use http1::{ChunkedReader, Framing};

/// Limits of `http1`, which are part of its contract.
const MAX_SIZE_DIGITS: usize = 16;
const MAX_EXTENSION_BYTES: usize = 4 * 1024;
const MAX_TRAILER_BYTES: usize = 16 * 1024;
const MAX_TRAILERS: usize = 100;

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

/// `chunk-size [ chunk-ext ] CRLF`.
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
    if rest.is_empty() {
        return Err(End::Partial);
    }
    let size = u64::from_str_radix(text, 16).map_err(|_| End::Malformed)?;
    // The limit does not count the carriage return.
    let before = rest.len();
    let extension = chunk_extensions(rest);
    let used = before - rest.len();
    match extension {
        _ if used > MAX_EXTENSION_BYTES => return Err(End::Malformed),
        // The next byte is one too many, whatever it is.
        _ if used == MAX_EXTENSION_BYTES && !rest.is_empty() => return Err(End::Malformed),
        Err(end) => return Err(end),
        Ok(()) => {}
    }
    literal(rest, b"\r\n")?;
    Ok(size)
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`
fn chunk_extensions(rest: &mut &[u8]) -> Result<(), End> {
    loop {
        match rest.first() {
            None => return Err(End::Partial),
            Some(b'\r') => return Ok(()),
            Some(_) => {}
        }
        space(rest);
        literal(rest, b";")?;
        space(rest);
        token(rest)?;
        let behind_name = *rest;
        space(rest);
        match rest.first() {
            None => return Err(End::Partial),
            Some(b'=') => {}
            Some(b';') => continue,
            Some(_) => {
                *rest = behind_name;
                literal(&mut &behind_name[..1], b"\r")?;
                continue;
            }
        }
        literal(rest, b"=")?;
        space(rest);
        match rest.first() {
            None => return Err(End::Partial),
            Some(b'"') => quoted(rest)?,
            Some(_) => token(rest)?,
        }
    }
}

/// White space.
fn space(rest: &mut &[u8]) {
    let length = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count();
    *rest = &rest[length..];
}

/// `1*tchar`, and the input goes on behind it.
fn token(rest: &mut &[u8]) -> Result<(), End> {
    let is_token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let length = rest.iter().take_while(is_token).count();
    *rest = &rest[length..];
    match (length, rest.first()) {
        (_, None) => Err(End::Partial),
        (0, _) => Err(End::Malformed),
        _ => Ok(()),
    }
}

/// A quoted text.
fn quoted(rest: &mut &[u8]) -> Result<(), End> {
    literal(rest, b"\"")?;
    loop {
        match rest {
            [b'"', after @ ..] => {
                *rest = after;
                return Ok(());
            }
            [b'\\', byte, after @ ..] | [byte, after @ ..] if is_text(*byte) => *rest = after,
            [] | [b'\\'] => return Err(End::Partial),
            _ => return Err(End::Malformed),
        }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= 0x20 && byte != 0x7f)
}

/// `*( field-line CRLF ) CRLF`, where a field line is a token, a colon, and text.
fn trailer_section(rest: &mut &[u8]) -> Result<(), End> {
    let start = rest.len();
    let within = |rest: &[u8]| start - rest.len() <= MAX_TRAILER_BYTES;
    let mut lines = 0;
    loop {
        let line = trailer_line(rest);
        if !within(rest) {
            return Err(End::Malformed);
        }
        if line? {
            return Ok(());
        }
        lines += 1;
        if lines > MAX_TRAILERS {
            return Err(End::Malformed);
        }
    }
}

/// One line of the trailer section; whether it was the empty one.
fn trailer_line(rest: &mut &[u8]) -> Result<bool, End> {
    match rest.first() {
        None => return Err(End::Partial),
        Some(b'\r') => return literal(rest, b"\r\n").map(|()| true),
        Some(_) => {}
    }
    token(rest)?;
    literal(rest, b":")?;
    let length = rest.iter().take_while(|byte| is_text(**byte)).count();
    *rest = &rest[length..];
    literal(rest, b"\r\n").map(|()| false)
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

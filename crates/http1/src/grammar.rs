//! Parts of the grammar that the heads' parser leaves to us: tokens, hosts, chunk extensions and
//! trailers. The last two are read byte by byte, since they come in pieces.

use std::net::Ipv6Addr;

use super::MalformedMessage;

/// Returns true for the bytes of a token (RFC 9110 §5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Returns true for the bytes that a field value or a quoted text may have (RFC 9110 §5.5).
fn is_text_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Returns true if that is the value of a `Host` header: `uri-host [ ":" port ]` (RFC 9110 §7.2),
/// or nothing at all.
///
/// ```
/// use http1::is_valid_host;
///
/// for host in ["example.org", "10.0.0.1:8080", "[::1]:80", "a:", ""] {
///     assert!(is_valid_host(host.as_bytes()), "{host}");
/// }
/// for other in ["a b", "user@a", "a/b", "http://a", "[::1", "::1", "a:b", "a:65536", ":80"] {
///     assert!(!is_valid_host(other.as_bytes()), "{other}");
/// }
/// ```
#[must_use]
pub fn is_valid_host(value: &[u8]) -> bool {
    if value.is_empty() {
        return true;
    }
    if let Some(rest) = value.strip_prefix(b"[") {
        let Some(end) = rest.iter().position(|byte| *byte == b']') else {
            return false;
        };
        return is_ip_literal(&rest[..end]) && is_port_suffix(&rest[end + 1..]);
    }
    let end = value.iter().position(|byte| *byte == b':');
    let (name, port) = value.split_at(end.unwrap_or(value.len()));
    !name.is_empty() && is_registered_name(name) && is_port_suffix(port)
}

/// The empty text, or `:` and a port, which may be missing.
fn is_port_suffix(text: &[u8]) -> bool {
    match text {
        [] | [b':'] => true,
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            let digits = std::str::from_utf8(digits).ok();
            digits.is_some_and(|digits| digits.parse::<u16>().is_ok())
        }
        _ => false,
    }
}

/// `reg-name` of RFC 3986 §3.2.2, which an IPv4 address is too.
fn is_registered_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            (byte, after) if is_name_byte(*byte) => after,
            _ => return false,
        };
    }
    true
}

/// `unreserved` and `sub-delims` of RFC 3986.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// An IPv6 address, or an address of a version to come (RFC 3986 §3.2.2).
fn is_ip_literal(text: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = text {
        let mut parts = rest.splitn(2, |byte| *byte == b'.');
        let (version, address) = (parts.next(), parts.next());
        let is_hex = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
        let is_address = |byte: &u8| *byte == b':' || is_name_byte(*byte);
        return version.is_some_and(is_hex)
            && address.is_some_and(|text| !text.is_empty() && text.iter().all(is_address));
    }
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// The place within the extensions of a chunk (RFC 9112 §7.1.1), which are checked and skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkExtension {
    /// Before the `;` of the next one. A line must not end in white space.
    Space,
    /// Before a name.
    Start,
    Name,
    /// Between a name and its `=`, or the next `;`.
    NameEnd,
    /// Before a value.
    ValueStart,
    Value,
    Quoted,
    /// Behind a backslash.
    Escaped,
    /// Behind the closing quote.
    QuotedEnd,
}

impl ChunkExtension {
    /// Returns the place after one byte; `None` for the carriage return that ends the line.
    pub(crate) fn step(self, byte: u8) -> Result<Option<Self>, MalformedMessage> {
        use ChunkExtension::{
            Escaped, Name, NameEnd, Quoted, QuotedEnd, Space, Start, Value, ValueStart,
        };
        Ok(Some(match (self, byte) {
            (Name | Value | QuotedEnd, b'\r') => return Ok(None),
            // A bare line feed ends a line for some implementations and not for others.
            (_, b'\n') => {
                return Err(MalformedMessage("bare line feed in a chunk extension"));
            }
            (Quoted, b'"') => QuotedEnd,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, byte) if is_text_byte(byte) => Quoted,
            (Space | Name | NameEnd | Value | QuotedEnd, b';') => Start,
            (Name | NameEnd, b'=') => ValueStart,
            (ValueStart, b'"') => Quoted,
            (Start | Name, byte) if is_token_byte(byte) => Name,
            (ValueStart | Value, byte) if is_token_byte(byte) => Value,
            (Start | NameEnd | ValueStart | Space, byte) if is_space(byte) => self,
            (Name, byte) if is_space(byte) => NameEnd,
            (Value | QuotedEnd, byte) if is_space(byte) => Space,
            _ => return Err(MalformedMessage("invalid chunk extension")),
        }))
    }
}

/// The place within the trailers (RFC 9112 §7.1.2), which are checked and skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trailers {
    /// Before a field line, or the empty line.
    LineStart,
    Name,
    Value,
    /// Before the line feed of a field line.
    LineFeed,
    /// Before the line feed of the empty line.
    LastLineFeed,
}

impl Trailers {
    /// Returns the place after one byte; `None` for the last one.
    pub(crate) fn step(self, byte: u8) -> Result<Option<Self>, MalformedMessage> {
        use Trailers::{LastLineFeed, LineFeed, LineStart, Name, Value};
        Ok(Some(match (self, byte) {
            (LineStart, b'\r') => LastLineFeed,
            (LastLineFeed, b'\n') => return Ok(None),
            (Value, b'\r') => LineFeed,
            (LineFeed, b'\n') => LineStart,
            (LineStart | Name, byte) if is_token_byte(byte) => Name,
            // White space before the colon, or a folded line, would hide a field from some readers.
            (Name, b':') => Value,
            (Value, byte) if is_text_byte(byte) => Value,
            _ => return Err(MalformedMessage("invalid trailers")),
        }))
    }
}

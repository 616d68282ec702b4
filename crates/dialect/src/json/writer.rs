//! Writes JSON piece by piece, so that a large value never exists as a tree.
//!
//! ```ignore
//! let mut body = ObjectWriter::new();
//! body.field("model", "m");
//! body.list("messages", |messages| messages.value(&json!({ "role": "user" })));
//! assert_eq!(body.finish(), br#"{"model":"m","messages":[{"role":"user"}]}"#);
//! ```

use serde::Serialize;

/// An object under construction.
#[derive(Debug)]
pub(crate) struct ObjectWriter {
    out: Vec<u8>,
    is_begun: bool,
}

impl ObjectWriter {
    /// Returns a writer of an object without fields.
    pub(crate) fn new() -> Self {
        Self::with_capacity(1)
    }

    /// The same, with room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self {
            out,
            is_begun: false,
        }
    }

    fn name(&mut self, name: &str) {
        if std::mem::replace(&mut self.is_begun, true) {
            self.out.push(b',');
        }
        quote(&mut self.out, name);
        self.out.push(b':');
    }

    /// Writes a field.
    pub(crate) fn field(&mut self, name: &str, value: impl Serialize) {
        self.name(name);
        // Texts, numbers and trees can't fail.
        let _ = serde_json::to_writer(&mut self.out, &value);
    }

    /// Writes a field whose value is JSON already.
    pub(crate) fn raw(&mut self, name: &str, json: &str) {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Writes a field whose name came from JSON, and whose value is JSON already.
    pub(crate) fn raw_bytes(&mut self, name: &[u8], json: &[u8]) {
        self.name(&String::from_utf8_lossy(name));
        self.out.extend_from_slice(json);
    }

    /// Writes a field whose value is a list.
    pub(crate) fn list(&mut self, name: &str, write: impl FnOnce(&mut ListWriter)) {
        self.name(name);
        write_list(&mut self.out, write);
    }

    /// Writes a field whose value is an object.
    pub(crate) fn object(&mut self, name: &str, write: impl FnOnce(&mut ObjectWriter)) {
        self.name(name);
        write_object(&mut self.out, write);
    }

    /// Returns the whole object.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

/// A list under construction.
#[derive(Debug)]
pub(crate) struct ListWriter {
    out: Vec<u8>,
    /// Where the list begins in `out`.
    start: usize,
}

impl ListWriter {
    fn next(&mut self) {
        if self.out.len() > self.start {
            self.out.push(b',');
        }
    }

    /// Writes an element.
    pub(crate) fn value(&mut self, value: impl Serialize) {
        self.next();
        let _ = serde_json::to_writer(&mut self.out, &value);
    }

    /// Writes an element that is an object.
    pub(crate) fn object(&mut self, write: impl FnOnce(&mut ObjectWriter)) {
        self.next();
        write_object(&mut self.out, write);
    }
}

/// Appends a text as a JSON string.
pub(crate) fn quote(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec can't fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_list(out: &mut Vec<u8>, write: impl FnOnce(&mut ListWriter)) {
    out.push(b'[');
    let start = out.len();
    let mut list = ListWriter {
        out: std::mem::take(out),
        start,
    };
    write(&mut list);
    *out = list.out;
    out.push(b']');
}

fn write_object(out: &mut Vec<u8>, write: impl FnOnce(&mut ObjectWriter)) {
    out.push(b'{');
    let mut object = ObjectWriter {
        out: std::mem::take(out),
        is_begun: false,
    };
    write(&mut object);
    *out = object.out;
    out.push(b'}');
}

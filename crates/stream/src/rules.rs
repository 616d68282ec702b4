//! The rules for appending to a stream over HTTP, as functions on its [`Head`].
//!
//! They know no store and wait for nothing, so a store that compares and swaps can apply them
//! again. A record of JSON is one message with a comma behind it, so that records in a row form an
//! array but for its brackets; any other record is the body of one request.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::value::RawValue;

use super::rejection::StreamRejection;
use super::{ClaimVerdict, End, Head, Offset, ProducerClaim, RecordBatch, StreamError};

/// The way in which a stream's bytes form records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentKind {
    /// Text, of any kind.
    Text,
    /// JSON messages.
    Json,
    /// Anything else.
    Binary,
}

impl ContentKind {
    /// Returns the kind for a content type.
    #[must_use]
    pub fn of(content_type: &str) -> Self {
        match media_type(content_type).as_str() {
            "application/json" => ContentKind::Json,
            text if text.starts_with("text/") => ContentKind::Text,
            _ => ContentKind::Binary,
        }
    }
}

/// A content type without its parameters, in small letters: what is compared.
#[must_use]
pub fn media_type(content_type: &str) -> String {
    content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// The records that a body of that type makes; none if it is empty, or an empty array.
///
/// # Errors
///
/// [`StreamRejection::NotJson`].
pub fn records(content_type: &str, body: Bytes) -> Result<Option<RecordBatch>, StreamRejection> {
    if body.is_empty() {
        return Ok(None);
    }
    if ContentKind::of(content_type) != ContentKind::Json {
        return Ok(Some(RecordBatch::one(body)));
    }
    let wrong = |error: serde_json::Error| StreamRejection::NotJson(error.to_string());
    let text =
        std::str::from_utf8(&body).map_err(|error| StreamRejection::NotJson(error.to_string()))?;
    let messages: Vec<&RawValue> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(wrong)?
    } else {
        vec![serde_json::from_str(text).map_err(wrong)?]
    };
    let (mut bytes, mut ends) = (
        BytesMut::with_capacity(text.len() + 1),
        Vec::with_capacity(messages.len()),
    );
    for message in messages {
        bytes.put_slice(message.get().as_bytes());
        bytes.put_u8(b',');
        ends.push(u32::try_from(bytes.len()).map_err(|_| StreamError::Full)?);
    }
    Ok((!ends.is_empty()).then(|| RecordBatch::many(bytes.freeze(), ends)))
}

/// The records that a request appends.
#[derive(Debug)]
pub struct Append {
    /// The body's.
    pub content_type: String,
    /// None if the body is empty. What is wrong with them is told only after what is wrong with the
    /// request.
    pub records: Option<Result<RecordBatch, StreamRejection>>,
    /// Set if the append closes the stream.
    pub close: bool,
    /// `Stream-Seq`.
    pub seq: Option<String>,
    /// The producer's claim, if the request has one.
    pub claim: Option<ProducerClaim>,
}

/// The result of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The stream's end.
    pub tail: Offset,
    /// Set if the stream is now closed.
    pub closed: bool,
    /// Set if something was appended.
    pub fresh: bool,
    /// The highest that the producer has had accepted.
    pub seq: Option<u64>,
}

impl Append {
    /// Returns the append that a body asks for.
    #[must_use]
    pub fn new(content_type: &str, body: Bytes) -> Self {
        let records = match body.is_empty() {
            true => None,
            false => Some(
                records(content_type, body).and_then(|run| run.ok_or(StreamRejection::EmptyArray)),
            ),
        };
        Self {
            content_type: content_type.to_owned(),
            records,
            close: false,
            seq: None,
            claim: None,
        }
    }

    /// Applies the append to a head and returns what is to be stored; for
    /// [`super::Streams::update`].
    ///
    /// ```
    /// use stream::{Append, Head, Lifetime, StreamRejection};
    ///
    /// let mut head = Head::new("application/json", Lifetime::Unlimited);
    /// let append = Append::new("application/json", r#"[{"n": 1}, {"n": 2}]"#.into());
    /// let (records, appended) = append.apply(&mut head)?;
    /// assert_eq!(records.expect("two messages").count(), 2);
    /// assert!(appended.fresh && !appended.closed);
    /// # Ok::<(), StreamRejection>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first of: deleted, a generation's, an outdated producer, closed, the type, the body, the
    /// producer's count, `Stream-Seq`.
    pub fn apply(
        &self,
        head: &mut Head,
    ) -> Result<(Option<RecordBatch>, Appended), StreamRejection> {
        let as_it_is = |head: &Head, seq| Appended {
            tail: head.tail(),
            closed: head.end.is_some(),
            fresh: false,
            seq,
        };
        if head.lineage.deleted {
            return Err(StreamRejection::Deleted);
        }
        if head.dialect.is_some() {
            return Err(StreamRejection::Generation);
        }
        let verdict = self.claim.as_ref().map(|claim| head.producers.judge(claim));
        if let Some(Err(refusal @ StreamRejection::StaleEpoch { .. })) = verdict {
            return Err(refusal);
        }
        if head.end.is_some() {
            let again = self.claim.as_ref().map(|claim| claim.seq);
            let repeated = match &self.claim {
                Some(_) => head.producers.closed_by == self.claim,
                None => self.close && self.records.is_none(),
            };
            return if repeated {
                Ok((None, as_it_is(head, again)))
            } else {
                Err(StreamRejection::Closed { tail: head.tail() })
            };
        }
        if let Some(Ok(ClaimVerdict::Duplicate { last })) = verdict {
            return Ok((None, as_it_is(head, Some(last))));
        }
        let run = match &self.records {
            None if !self.close => return Err(StreamRejection::EmptyBody),
            None => None,
            Some(_) if media_type(&self.content_type) != media_type(&head.content_type) => {
                return Err(StreamRejection::OtherType {
                    holds: head.content_type.clone(),
                    sent: self.content_type.chars().take(80).collect(),
                });
            }
            Some(run) => Some(run.clone()?),
        };
        verdict.transpose()?;
        if let Some(seq) = &self.seq {
            match &head.producers.seq {
                Some(last) if seq.as_bytes() <= last.as_bytes() => {
                    return Err(StreamRejection::SeqTooLow { last: last.clone() });
                }
                _ => head.producers.seq = Some(seq.clone()),
            }
        }
        if let Some(claim) = &self.claim {
            head.producers.accept(claim);
        }
        if self.close {
            head.end = Some(End::Closed);
            head.producers.closed_by.clone_from(&self.claim);
        }
        let tail = head.at(head.next + run.as_ref().map_or(0, RecordBatch::count));
        let seq = self.claim.as_ref().map(|claim| claim.seq);
        Ok((
            run,
            Appended {
                tail,
                closed: self.close,
                fresh: true,
                seq,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::Lifetime;

    fn json(body: &'static str) -> Vec<String> {
        let run = records(
            "application/json; charset=utf-8",
            Bytes::from_static(body.as_bytes()),
        )
        .unwrap();
        let records = run
            .into_iter()
            .flat_map(|run| run.records().collect::<Vec<_>>());
        records
            .map(|record| String::from_utf8(record.to_vec()).unwrap())
            .collect()
    }

    fn text(body: &'static str) -> Append {
        Append::new("text/plain", Bytes::from_static(body.as_bytes()))
    }

    fn head() -> Head {
        Head::new("text/plain", Lifetime::Unlimited)
    }

    fn closing(mut append: Append) -> Append {
        append.close = true;
        append
    }

    fn claiming(mut append: Append, epoch: u64, seq: u64) -> Append {
        append.claim = Some(ProducerClaim {
            id: "p".into(),
            epoch,
            seq,
        });
        append
    }

    #[test]
    fn json_is_flattened_by_one_level_and_keeps_its_spelling() {
        assert_eq!(json("{\"a\": 1.50}"), ["{\"a\": 1.50},"]);
        assert_eq!(
            json(" [1, [2, 3], \"x,]\"] "),
            ["1,", "[2, 3],", "\"x,]\","]
        );
        assert_eq!(json("[]"), Vec::<String>::new());
        for wrong in ["{", "[1,]", "1 2", "nul", "\u{feff}1"] {
            let refused = records("application/json", Bytes::copy_from_slice(wrong.as_bytes()));
            assert!(
                matches!(refused, Err(StreamRejection::NotJson(_))),
                "{wrong}"
            );
        }
        assert!(matches!(
            records("application/json", Bytes::from_static(b"\"\xff\"")),
            Err(StreamRejection::NotJson(_))
        ));
    }

    #[test]
    fn what_is_closed_is_told_before_what_is_wrong() {
        let mut head = head();
        closing(text("")).apply(&mut head).unwrap();
        let refused = Append::new("application/json", Bytes::from_static(b"{"))
            .apply(&mut head)
            .unwrap_err();
        assert_eq!(refused, StreamRejection::Closed { tail: head.tail() });
        assert!(
            closing(text("")).apply(&mut head).unwrap().1.closed,
            "closing again is no error"
        );
    }

    #[test]
    fn the_append_that_closed_may_be_repeated_and_no_other() {
        let mut head = head();
        claiming(text("a"), 0, 0).apply(&mut head).unwrap();
        closing(claiming(text("b"), 1, 0)).apply(&mut head).unwrap();
        let (run, again) = closing(claiming(text("b"), 1, 0)).apply(&mut head).unwrap();
        assert!(run.is_none() && again.closed && !again.fresh);
        assert!(matches!(
            claiming(text("c"), 1, 1).apply(&mut head),
            Err(StreamRejection::Closed { .. })
        ));
        assert_eq!(
            claiming(text("a"), 0, 1).apply(&mut head).unwrap_err(),
            StreamRejection::StaleEpoch { current: 1 }
        );
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut head = head();
        let mut first = text("a");
        first.seq = Some("2".to_owned());
        first.apply(&mut head).unwrap();
        let before = head.clone();
        let mut second = claiming(text("b"), 0, 0);
        second.seq = Some("10".to_owned());
        assert_eq!(
            second.apply(&mut head.clone()).unwrap_err(),
            StreamRejection::SeqTooLow {
                last: "2".to_owned()
            }
        );
        assert_eq!(
            text("").apply(&mut head).unwrap_err(),
            StreamRejection::EmptyBody
        );
        let other = Append::new("image/png", Bytes::from_static(b"x"))
            .apply(&mut head)
            .unwrap_err();
        assert!(matches!(other, StreamRejection::OtherType { .. }));
        assert_eq!(head, before);
    }
}

//! Checkpoints in a template's body: each round of a loop and each call of a macro looks at the
//! [`Budget`](super::budget::Budget) of its rendering.
//!
//! Operators read whole texts too, and the engine has no hook for them. Between two checkpoints
//! there is only straight code, which is as long as the template.

use super::body::{Kind, OPENERS, Piece, Word, assigns, pieces, unquoted, words};

/// The function that a checkpoint calls, with the bytes of text that it stands for.
pub(super) const CHECKPOINT: &str = "__checkpoint";
/// Text within these is kept as a value, which no bound of a prompt's length sees.
const CAPTURING: &[&str] = &["set", "filter", "macro", "call"];
/// These are rendered many times.
const REPEATED: &[&str] = &["for", "macro"];

/// A loop or a macro.
struct Repeated<'a> {
    tag: Piece<'a>,
    /// The offset at which its condition begins, as in `for x in list if CONDITION`.
    condition: Option<usize>,
    /// The bytes of text in it that become part of a value at each round.
    captured: usize,
}

/// Returns the body with its checkpoints. Lines and spaces stay as they are.
pub(super) fn add_checkpoints(body: &str) -> String {
    let mut out = String::with_capacity(body.len() * 2);
    let mut copied = 0;
    for Repeated {
        tag,
        condition,
        captured,
    } in find_repeated(body)
    {
        if let Some(at) = condition {
            out.push_str(&body[copied..at]);
            // A list is filtered before the first round. True, whatever stands on the right.
            out.push_str(&format!(" {CHECKPOINT}(0) and"));
            copied = at;
        }
        let end = (tag.at + tag.inside.len() + 2).min(body.len());
        out.push_str(&body[copied..end]);
        // Where the tag trims the space behind it, so does the checkpoint that comes between.
        let trim = if tag.inside.ends_with('-') { "-" } else { "" };
        out.push_str(&format!("{{% do {CHECKPOINT}({captured}) {trim}%}}"));
        copied = end;
    }
    out.push_str(&body[copied..]);
    out
}

fn find_repeated(body: &str) -> Vec<Repeated<'_>> {
    let mut found: Vec<Repeated<'_>> = Vec::new();
    // The tags that are open, with the place in `found` of those that are repeated.
    let mut open: Vec<(&str, Option<usize>)> = Vec::new();
    for piece in pieces(body) {
        let words = words(&piece);
        let first = words.first().map_or("", |word| word.text);
        match piece.kind {
            Kind::Expression => {}
            Kind::Text => {
                let innermost = open.iter().rev().find_map(|(_, place)| *place);
                let captures = open.iter().any(|(tag, _)| CAPTURING.contains(tag));
                if let Some(place) = innermost.filter(|_| captures) {
                    found[place].captured += piece.inside.len();
                }
            }
            Kind::Statement if first.starts_with("end") => {
                open.pop();
            }
            Kind::Statement if REPEATED.contains(&first) => {
                open.push((first, Some(found.len())));
                found.push(Repeated {
                    tag: piece,
                    condition: condition(&piece, &words),
                    captured: 0,
                });
            }
            Kind::Statement if first == "set" && assigns(&piece) => {}
            Kind::Statement if OPENERS.contains(&first) => open.push((first, None)),
            Kind::Statement => {}
        }
    }
    found
}

/// Returns the offset behind the `if` of a loop.
fn condition(tag: &Piece<'_>, words: &[Word<'_>]) -> Option<usize> {
    let is_outside = |word: &&Word<'_>| {
        let before = unquoted(tag.inside).take_while(|(at, _)| tag.at + at < word.at);
        let depth = before.fold(0_isize, |depth, (_, c)| match c {
            '(' | '[' | '{' => depth + 1,
            ')' | ']' | '}' => depth - 1,
            _ => depth,
        });
        depth == 0
    };
    let mut ifs = words.iter().filter(|word| word.text == "if");
    ifs.find(is_outside).map(|word| word.at + word.text.len())
}

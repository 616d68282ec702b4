//! The analysis of a template's body when it is loaded: its blocks, names and references.
//!
//! The engine has accepted the body's syntax by then, so this reads it loosely: pieces, and the
//! words within them.

use std::collections::BTreeSet;

use minijinja::{Environment, ErrorKind, State, Template};

use super::variables::Variable;

/// Tags with an end tag of their own. A `set` is one only without an `=`.
pub(super) const OPENERS: &[&str] = &[
    "if",
    "for",
    "with",
    "autoescape",
    "filter",
    "block",
    "macro",
    "call",
    "set",
];
/// Tags that would reach another template.
const REACHING: &[&str] = &["include", "import", "extends", "from"];
/// Within these, text outside the blocks is not lost.
const KEEPING: &[&str] = &["block", "macro", "set"];

/// The blocks of a body. A system block never stands without a user block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Blocks {
    pub(super) system: bool,
    pub(super) user: bool,
}

/// An error of a body, with its line, counted from 0.
pub(super) type Wrong = (usize, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Expression,
    Statement,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) kind: Kind,
    /// Without its delimiters.
    pub(super) inside: &'a str,
    /// The offset in the body.
    pub(super) at: usize,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// The last mark before it that is no space; none at the beginning and after another word.
    mark: Option<char>,
    pub(super) at: usize,
}

/// Checks a body that the engine has accepted.
pub(super) fn check(
    body: &str,
    variables: &[Variable],
    environment: &Environment<'_>,
    template: &Template<'_, '_>,
) -> Result<Blocks, Wrong> {
    let pieces = pieces(body);
    let line = |at: usize| body[..at].matches('\n').count();
    let blocks = blocks(&pieces).map_err(|(at, problem)| (line(at), problem))?;
    let code = || pieces.iter().filter(|piece| piece.kind != Kind::Text);

    let globals: BTreeSet<&str> = environment.globals().map(|(name, _)| name).collect();
    let known = |name: &str| {
        globals.contains(name) || variables.iter().any(|variable| variable.name == name)
    };
    let undeclared: BTreeSet<String> = template
        .undeclared_variables(false)
        .into_iter()
        .filter(|name| !known(name))
        .collect();
    if let Some(name) = undeclared.first() {
        let used = |word: &Word<'_>| word.text == name && !matches!(word.mark, Some('.' | '|'));
        let at = code()
            .find_map(|piece| words(piece).into_iter().find(used))
            .map_or(0, |word| word.at);
        return Err((
            line(at),
            format!("`{name}` is used but not declared; add [variables.{name}]"),
        ));
    }

    let mut state = template.new_state();
    for piece in code() {
        let mut before: &[Word<'_>] = &[];
        let all = words(piece);
        for (nth, word) in all.iter().enumerate() {
            let unknown = match before {
                _ if word.mark == Some('|') => unknown_filter(&mut state, word.text),
                [.., is] if is.text == "is" && word.text != "not" && word.mark.is_none() => {
                    unknown_test(&mut state, word.text)
                }
                [.., is, not] if is.text == "is" && not.text == "not" && word.mark.is_none() => {
                    unknown_test(&mut state, word.text)
                }
                [tag] if piece.kind == Kind::Statement && tag.text == "filter" => {
                    unknown_filter(&mut state, word.text)
                }
                _ => None,
            };
            if let Some(what) = unknown {
                return Err((line(word.at), format!("there is no {what} `{}`", word.text)));
            }
            before = &all[..=nth];
        }
    }
    Ok(blocks)
}

fn unknown_filter(state: &mut State<'_, '_>, name: &str) -> Option<&'static str> {
    // Called without a value every other filter fails too, but not for its name.
    let error = state.apply_filter(name, &[]).err()?;
    (error.kind() == ErrorKind::UnknownFilter).then_some("filter")
}

fn unknown_test(state: &mut State<'_, '_>, name: &str) -> Option<&'static str> {
    let error = state.perform_test(name, &[]).err()?;
    (error.kind() == ErrorKind::UnknownTest).then_some("test")
}

/// Returns the blocks; checks that they are always rendered and that nothing beside them is lost.
fn blocks(pieces: &[Piece<'_>]) -> Result<Blocks, Wrong> {
    let mut found = Blocks::default();
    let (mut open, mut beside, mut system_at): (Vec<&str>, Option<usize>, usize) =
        (Vec::new(), None, 0);
    for piece in pieces {
        let words = words(piece);
        let first = words.first().map_or("", |word| word.text);
        if piece.kind != Kind::Statement {
            let blank = piece.kind == Kind::Text && piece.inside.trim().is_empty();
            if !blank && !open.iter().any(|tag| KEEPING.contains(tag)) {
                let begins = piece.inside.len() - piece.inside.trim_start().len();
                beside.get_or_insert(piece.at + begins);
            }
        } else if REACHING.contains(&first) {
            return Err((
                piece.at,
                format!("`{first}` would reach another file; a template stands alone"),
            ));
        } else if first.starts_with("end") {
            open.pop();
        } else if first == "set" && assigns(piece) {
            // `{% set a = 1 %}` is whole by itself.
        } else if OPENERS.contains(&first) {
            if first == "block" {
                let name = words.get(1).map_or("", |word| word.text);
                match name {
                    "system" => (found.system, system_at) = (true, piece.at),
                    "user" => found.user = true,
                    _ => {
                        let problem = format!(
                            "there is no place for a block `{name}`; blocks are `system` and `user`"
                        );
                        return Err((piece.at, problem));
                    }
                }
                // Such a block would be rendered anyway, whatever stands around it.
                if let Some(outer) = open.last() {
                    let problem = match *outer {
                        "block" => {
                            format!("the block `{name}` stands within another; end that one first")
                        }
                        outer => {
                            format!(
                                "the block `{name}` stands within `{outer}`; put the `{outer}` into the block"
                            )
                        }
                    };
                    return Err((piece.at, problem));
                }
            }
            open.push(first);
        }
    }
    if found.system && !found.user {
        return Err((
            system_at,
            "a block `system` needs a block `user` beside it".to_owned(),
        ));
    }
    match beside {
        Some(at) if found.user => Err((
            at,
            "stands outside the blocks `system` and `user` and would be lost".to_owned(),
        )),
        _ => Ok(found),
    }
}

/// Returns whether a `set` tag has its value inline.
pub(super) fn assigns(piece: &Piece<'_>) -> bool {
    let mut depth = 0_usize;
    unquoted(piece.inside).any(|(_, c)| {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '=' && depth == 0
    })
}

pub(super) fn pieces(body: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let Some((open, mark)) = next_opening(body, at) else {
            pieces.push(Piece {
                kind: Kind::Text,
                inside: &body[at..],
                at,
            });
            break;
        };
        if open > at {
            pieces.push(Piece {
                kind: Kind::Text,
                inside: &body[at..open],
                at,
            });
        }
        let start = open + 2;
        let rest = &body[start..];
        let (kind, end) = match mark {
            '#' => {
                at = rest.find("#}").map_or(body.len(), |end| start + end + 2);
                continue;
            }
            '{' => (Kind::Expression, closing(rest, "}}")),
            _ => (Kind::Statement, closing(rest, "%}")),
        };
        let inside = &rest[..end];
        at = (start + end + 2).min(body.len());
        if kind == Kind::Statement && plain(inside) == "raw" {
            // What is raw is text, whatever it looks like.
            let (text, after) = raw(body, at);
            pieces.push(Piece {
                kind: Kind::Text,
                inside: text,
                at,
            });
            at = after;
        } else {
            pieces.push(Piece {
                kind,
                inside,
                at: start,
            });
        }
    }
    pieces
}

fn next_opening(body: &str, from: usize) -> Option<(usize, char)> {
    body[from..].match_indices('{').find_map(|(at, _)| {
        let mark = body[from + at + 1..]
            .chars()
            .next()
            .filter(|c| matches!(c, '{' | '%' | '#'))?;
        Some((from + at, mark))
    })
}

/// A tag's words without the marks that trim the space around it.
fn plain(inside: &str) -> &str {
    inside.trim_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '+'))
}

/// The text of a raw block, and where the body goes on.
fn raw(body: &str, from: usize) -> (&str, usize) {
    for (at, _) in body[from..].match_indices("{%") {
        let inside = from + at + 2;
        if let Some(end) = body[inside..]
            .find("%}")
            .filter(|end| plain(&body[inside..inside + end]) == "endraw")
        {
            return (&body[from..from + at], inside + end + 2);
        }
    }
    (&body[from..], body.len())
}

/// Returns the end of a tag: its closing mark outside quotes and brackets.
fn closing(rest: &str, mark: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in unquoted(rest) {
        if depth == 0 && rest[at..].starts_with(mark) {
            return at;
        }
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    rest.len()
}

/// The characters that stand in no quotes.
pub(super) fn unquoted(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    let (mut quote, mut escaped) = (None, false);
    text.char_indices().filter(move |(_, c)| match quote {
        Some(open) => {
            if !escaped && *c == open {
                quote = None;
            }
            escaped = !escaped && *c == '\\';
            false
        }
        None => {
            if matches!(c, '"' | '\'') {
                quote = Some(*c);
            }
            // The opening quote counts, as a mark between words.
            true
        }
    })
}

pub(super) fn words<'a>(piece: &Piece<'a>) -> Vec<Word<'a>> {
    let mut words: Vec<Word<'a>> = Vec::new();
    let (mut mark, mut next) = (None, 0);
    for (at, c) in unquoted(piece.inside) {
        if c.is_alphanumeric() || c == '_' {
            match words.last_mut() {
                Some(word) if mark.is_none() && next == at => {
                    word.text = &piece.inside[word.at - piece.at..at + c.len_utf8()];
                }
                _ => words.push(Word {
                    text: &piece.inside[at..at + c.len_utf8()],
                    mark,
                    at: piece.at + at,
                }),
            }
            (mark, next) = (None, at + c.len_utf8());
        } else if !c.is_whitespace() {
            mark = Some(c);
        }
    }
    words
}

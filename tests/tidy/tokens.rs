//! Cuts Rust source into tokens, and reads the paths and items among them. Knows no rules.

/// A piece of code that is no comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// An identifier, a `::`, one other character, or nothing for a literal.
    pub(crate) text: String,
    /// From 1.
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is_name(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// A path such as `crate::sse::Reader`, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) names: Vec<String>,
    pub(crate) line: usize,
    /// How many modules within the file it stands in.
    pub(crate) depth: usize,
}

/// All tokens of a source.
pub(crate) fn cut(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut tokens = Vec::new();
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let (from, first) = (i, line);
        let text = match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < chars.len() && at(i) != '\n' {
                    i += 1;
                }
                continue;
            }
            '/' if at(i + 1) == '*' => {
                i = end_of_comment(&chars, i);
                String::from(" ")
            }
            '"' => {
                i = end_of_text(&chars, i);
                String::new()
            }
            'r' | 'b' | 'c' if raw_hashes(&chars, i).is_some() => {
                i = end_of_raw(&chars, i);
                String::new()
            }
            'b' | 'c' if at(i + 1) == '"' => {
                i = end_of_text(&chars, i + 1);
                String::new()
            }
            'b' if at(i + 1) == '\'' => {
                i = end_of_char(&chars, i + 1);
                String::new()
            }
            '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                i = end_of_char(&chars, i);
                String::new()
            }
            ':' if at(i + 1) == ':' => {
                i += 2;
                String::from("::")
            }
            c if c.is_alphanumeric() || c == '_' => {
                while at(i).is_alphanumeric() || at(i) == '_' {
                    i += 1;
                }
                chars[from..i].iter().collect()
            }
            c => {
                i += 1;
                c.to_string()
            }
        };
        line += chars[from..i].iter().filter(|c| **c == '\n').count();
        if text.is_empty() || !text.trim().is_empty() {
            tokens.push(Token { text, line: first });
        }
    }
    tokens
}

fn end_of_comment(chars: &[char], mut i: usize) -> usize {
    let mut depth = 0;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

fn end_of_text(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn end_of_char(chars: &[char], mut i: usize) -> usize {
    i += 1;
    while i < chars.len() && chars[i] != '\'' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// How many `#` a raw text that begins here has, and where its quote is.
fn raw_hashes(chars: &[char], i: usize) -> Option<(usize, usize)> {
    let start = match chars[i] {
        'r' => i + 1,
        _ if chars.get(i + 1) == Some(&'r') => i + 2,
        _ => return None,
    };
    let hashes = chars[start.min(chars.len())..]
        .iter()
        .take_while(|c| **c == '#')
        .count();
    (chars.get(start + hashes) == Some(&'"')).then_some((hashes, start + hashes))
}

fn end_of_raw(chars: &[char], i: usize) -> usize {
    let Some((hashes, quote)) = raw_hashes(chars, i) else {
        return i + 1;
    };
    let mut end = quote + 1;
    while end < chars.len() {
        let closes = chars[end] == '"'
            && chars[end + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
        if closes {
            return end + 1 + hashes;
        }
        end += 1;
    }
    end
}

/// The tokens without what stands under `#[cfg(test)]`, and the names of the modules among that which are files.
pub(crate) fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut kept, mut files) = (Vec::new(), Vec::new());
    let mut i = 0;
    while i < tokens.len() {
        if !starts_with(&tokens[i..], &["#", "[", "cfg", "(", "test", ")", "]"]) {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let from = i;
        i = end_of_item(tokens, i);
        let item = &tokens[from..i];
        if let [.., module, name, end] = item
            && module.text == "mod"
            && end.text == ";"
        {
            files.push(name.text.clone());
        }
    }
    (kept, files)
}

fn starts_with(tokens: &[Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len()
        && tokens
            .iter()
            .zip(texts)
            .all(|(token, text)| token.text == *text)
}

/// Where the item that begins here, attributes first, is over: after its `;` or its last `}`.
fn end_of_item(tokens: &[Token], mut i: usize) -> usize {
    let mut depth = 0_i32;
    while i < tokens.len() {
        match tokens[i].text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        let text = tokens[i].text.as_str();
        i += 1;
        let group = matches!(tokens.get(i).map(|t| t.text.as_str()), Some(";"));
        if depth == 0 && (text == ";" || (text == "}" && !group)) {
            break;
        }
    }
    i
}

/// All paths of two names and more, and all that are imported; groups are spelled out.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut modules: Vec<i32> = Vec::new();
    let mut braces = 0_i32;
    let mut i = 0;
    while i < tokens.len() {
        let token = &tokens[i];
        match token.text.as_str() {
            "{" => braces += 1,
            "}" => {
                braces -= 1;
                modules.retain(|depth| *depth < braces);
            }
            "mod" if tokens.get(i + 2).is_some_and(|t| t.text == "{") => modules.push(braces),
            "use" => {
                let before = found.len();
                i = tree(tokens, i + 1, &mut Vec::new(), &mut found);
                found[before..]
                    .iter_mut()
                    .for_each(|path| path.depth = modules.len());
                continue;
            }
            _ if token.is_name()
                && i.checked_sub(1)
                    .is_none_or(|before| tokens[before].text != ".") =>
            {
                let mut names = vec![token.text.clone()];
                while tokens.get(i + 1).is_some_and(|t| t.text == "::")
                    && tokens.get(i + 2).is_some_and(Token::is_name)
                {
                    i += 2;
                    names.push(tokens[i].text.clone());
                }
                if names.len() > 1 {
                    found.push(Path {
                        names,
                        line: token.line,
                        depth: modules.len(),
                    });
                }
            }
            _ => {}
        }
        i += 1;
    }
    found
}

/// Reads one import's tree from `i`; returns where it ends.
fn tree(tokens: &[Token], mut i: usize, above: &mut Vec<String>, found: &mut Vec<Path>) -> usize {
    let height = above.len();
    let mut line = tokens.get(i).map_or(0, |t| t.line);
    while let Some(token) = tokens.get(i) {
        match token.text.as_str() {
            "::" => {}
            "{" => {
                i += 1;
                while tokens.get(i).is_some_and(|t| t.text != "}") {
                    i = tree(tokens, i, above, found);
                    if tokens.get(i).is_some_and(|t| t.text == ",") {
                        i += 1;
                    }
                }
                above.truncate(height);
                return i + 1;
            }
            "as" => i += 1,
            text if token.is_name() || text == "*" => {
                above.push(text.to_owned());
                line = token.line;
            }
            _ => break,
        }
        i += 1;
    }
    if above.len() > height {
        found.push(Path {
            names: above.clone(),
            line,
            depth: 0,
        });
    }
    above.truncate(height);
    i
}

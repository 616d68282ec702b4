//! The language in which a target is asked to go on with an answer.
//!
//! It is one that is written in the script of the answer's end: of several the one that the
//! client's `accept-language` prefers. Nothing else of a text is guessed.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

use crate::routing::ContinueTurn;

/// The letters at the end of an answer whose script is looked at.
const MAX_LETTERS: usize = 200;
/// The languages of a header that are looked at.
const MAX_LANGUAGES: usize = 32;

/// A script that tells languages from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LetterScript {
    Latin,
    Han,
    Kana,
    Hangul,
    Cyrillic,
    Arabic,
    Greek,
    Hebrew,
    Thai,
    Devanagari,
}

impl LetterScript {
    /// Returns the script of a letter, of those that are known.
    fn of(letter: char) -> Option<Self> {
        Some(match letter {
            'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Self::Latin,
            '\u{3040}'..='\u{30ff}' => Self::Kana,
            '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3134f}' => {
                Self::Han
            }
            '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7af}' => Self::Hangul,
            '\u{400}'..='\u{52f}' => Self::Cyrillic,
            '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' => Self::Arabic,
            '\u{370}'..='\u{3ff}' => Self::Greek,
            '\u{590}'..='\u{5ff}' => Self::Hebrew,
            '\u{e00}'..='\u{e7f}' => Self::Thai,
            '\u{900}'..='\u{97f}' => Self::Devanagari,
            _ => return None,
        })
    }

    /// Returns the script of most letters at the end of a text. Any kana make it Japanese.
    fn of_end(text: &str) -> Option<Self> {
        let letters = text.chars().rev().filter_map(Self::of).take(MAX_LETTERS);
        let mut counts: Vec<(Self, usize)> = Vec::new();
        for script in letters {
            match counts.iter_mut().find(|(known, _)| *known == script) {
                Some((_, count)) => *count += 1,
                None => counts.push((script, 1)),
            }
        }
        let (most, _) = counts.iter().copied().max_by_key(|(_, count)| *count)?;
        let has_kana = counts.iter().any(|(script, _)| *script == Self::Kana);
        Some(if most == Self::Han && has_kana {
            Self::Kana
        } else {
            most
        })
    }

    /// Returns the script of a language; that of most is Latin.
    fn of_language(language: &str) -> Self {
        match language {
            "zh" | "yue" => Self::Han,
            "ja" => Self::Kana,
            "ko" => Self::Hangul,
            "be" | "bg" | "kk" | "ky" | "mk" | "mn" | "ru" | "sr" | "tg" | "uk" => Self::Cyrillic,
            "ar" | "fa" | "ps" | "ur" => Self::Arabic,
            "el" => Self::Greek,
            "he" | "yi" => Self::Hebrew,
            "th" => Self::Thai,
            "hi" | "mr" | "ne" => Self::Devanagari,
            _ => Self::Latin,
        }
    }
}

/// Returns the turn for an answer that begins so.
pub(super) fn turn_for<'a>(
    turn: &'a ContinueTurn,
    beginning: &str,
    headers: &HeaderMap,
) -> &'a str {
    let languages = &turn.by_language;
    if languages.is_empty() {
        return &turn.default;
    }
    let Some(script) = LetterScript::of_end(beginning) else {
        return &turn.default;
    };
    let is_written_so = |language: &str| LetterScript::of_language(language) == script;
    let preferred = preferred_languages(headers);
    let preferred = preferred.iter().find(|language| is_written_so(language));
    let text = match preferred {
        // The client reads none that the table has, as far as it says.
        Some(language) => languages.get(language),
        // Most languages are written in Latin letters: which one is not known.
        None if script == LetterScript::Latin => None,
        None => {
            let mut written = languages.iter();
            let of_script = written.find(|(language, _)| is_written_so(language));
            of_script.map(|(_, text)| text)
        }
    };
    text.unwrap_or(&turn.default)
}

/// Returns the languages that a client prefers, the first one most.
fn preferred_languages(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(ACCEPT_LANGUAGE).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let items = values
        .flat_map(|value| value.split(','))
        .take(MAX_LANGUAGES);
    let mut languages: Vec<(f32, String)> = items
        .filter_map(|item| {
            let mut parts = item.split(';');
            let name = parts.next()?.split('-').next()?.trim().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.trim().strip_prefix("q="));
            let weight = weight.map_or(Some(1.0), |weight| weight.trim().parse().ok())?;
            (weight > 0.0 && !name.is_empty()).then_some((weight, name))
        })
        .collect();
    // Stable: of equals the first one counts more.
    languages.sort_by(|one, other| other.0.total_cmp(&one.0));
    languages.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// Returns the turn of a table of these languages, each of which is its own turn.
    fn chosen(languages: &[&str], beginning: &str, accepted: &str) -> String {
        let mut turn = ContinueTurn::from("default");
        for language in languages {
            let text = (*language).to_owned();
            turn.by_language.insert(text.clone(), text);
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_LANGUAGE, accepted.parse().unwrap());
        turn_for(&turn, beginning, &headers).to_owned()
    }

    #[test]
    fn the_language_is_one_of_the_answers_script_and_the_clients_of_several() {
        let all = ["de", "fr", "ja", "ko", "ru", "uk", "zh", "ar"];
        for (beginning, accepted, wanted) in [
            ("Ein Fluss ist", "de-CH, de;q=0.9, en;q=0.8", "de"),
            ("Une rivière", "de;q=0.3, fr-FR", "fr"),
            // English is not in the table, and more wanted than German.
            ("A river is", "en-GB, de;q=0.8", "default"),
            ("A river is", "zh-CN, en;q=0.1", "default"),
            ("A river is", "", "default"),
            ("河流是", "", "zh"),
            ("河流是 TCP", "en", "zh"),
            ("川の流れは絶えず", "en", "ja"),
            ("강은", "", "ko"),
            ("Река течёт", "", "ru"),
            ("Ріка тече", "uk, ru;q=0.5", "uk"),
            ("النهر", "", "ar"),
            ("12 + 30 = ", "de", "default"),
        ] {
            assert_eq!(
                chosen(&all, beginning, accepted),
                wanted,
                "{beginning} {accepted}"
            );
        }
        assert_eq!(chosen(&["de"], "河流是", "de"), "default");
    }
}

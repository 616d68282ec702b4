//! Suggestions for error messages: "did you mean …?". Not for anything that a machine acts on.

/// Returns the known name that is most like an unknown one, if at most two characters or a third of
/// them differ.
///
/// ```
/// use base::suggest::did_you_mean;
///
/// assert_eq!(did_you_mean("max_tokns", &["model", "max_tokens"]), Some("max_tokens"));
/// assert_eq!(did_you_mean("weather", &["model", "max_tokens"]), None);
/// ```
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = |candidate: &&'a str| {
        let distance = strsim::damerau_levenshtein(name, candidate);
        (distance <= 2.max(name.len() / 3)).then_some((distance, *candidate))
    };
    known.iter().filter_map(near).min().map(|(_, name)| name)
}

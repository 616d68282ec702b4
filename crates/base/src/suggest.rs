//! "Did you mean …?": the nearest of some known names to one that is unknown.

/// The nearest of the known names, if any is near: two slips, or a third of the name.
#[must_use]
pub fn did_you_mean<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = |candidate: &&'a str| {
        let distance = strsim::damerau_levenshtein(name, candidate);
        (distance <= 2.max(name.len() / 3)).then_some((distance, *candidate))
    };
    known.iter().filter_map(near).min().map(|(_, name)| name)
}

//! Templates of messages. A value that itself looks like a template stays as it is.

/// Replaces each `{name}` in `template` by its value.
pub(super) fn fill(template: &'static str, values: &[(&str, &str)]) -> String {
    let mut message = String::new();
    let mut rest = template;
    while let Some((before, (name, after))) = rest
        .split_once('{')
        .and_then(|(before, after)| Some((before, after.split_once('}')?)))
    {
        message.push_str(before);
        let value = values.iter().find(|(known, _)| *known == name);
        debug_assert!(value.is_some(), "no value for {name}");
        message.push_str(value.map_or("", |(_, value)| value));
        rest = after;
    }
    message.push_str(rest);
    message
}

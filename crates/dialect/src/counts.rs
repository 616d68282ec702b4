//! Token counts as upstreams write them: as numbers, floats or strings.

use serde_json::Value;

/// Returns a count; `None` if there is none that could be one.
pub(crate) fn count(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| whole(text.parse().ok()?))
        }
        _ => None,
    }
}

/// Returns the tokens that an upstream has counted of a request, in any dialect's field.
#[must_use]
pub fn token_count(body: &[u8]) -> Option<u64> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let names = ["input_tokens", "totalTokens", "total_tokens"];
    names.iter().find_map(|name| count(&body[*name]))
}

/// Returns the whole number of a float, if it is one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "within the range that a float holds exactly"
)]
fn whole(number: f64) -> Option<u64> {
    (0.0..=9_007_199_254_740_992.0)
        .contains(&number)
        .then_some(number.round() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_count_is_read_in_every_type() {
        for (value, want) in [
            (json!(12), Some(12)),
            (json!(12.0), Some(12)),
            (json!("12"), Some(12)),
            (json!(" 12.0 "), Some(12)),
            (json!(-1), None),
            (json!(-1.5), None),
            (json!(1e300), None),
            (json!("twelve"), None),
            (json!("NaN"), None),
            (json!(null), None),
            (json!({}), None),
        ] {
            assert_eq!(count(&value), want, "{value}");
        }
    }
}

//! Log probabilities in Gemini's form: the chosen tokens, and a list of the likeliest for each.

use serde_json::{Value, json};

/// Returns the list in the form that OpenAI's dialects have; `None` if there is none.
pub(super) fn read(result: &Value) -> Option<String> {
    let chosen = result["chosenCandidates"].as_array()?;
    let tokens = chosen.iter().enumerate().map(|(at, chosen)| {
        let likeliest = result["topCandidates"][at]["candidates"].as_array();
        let likeliest = likeliest.into_iter().flatten().map(token);
        let mut token = token(chosen);
        token["top_logprobs"] = likeliest.collect();
        token
    });
    let tokens: Vec<Value> = tokens.collect();
    (!tokens.is_empty()).then(|| Value::from(tokens).to_string())
}

fn token(candidate: &Value) -> Value {
    let token = candidate["token"].as_str().unwrap_or_default();
    json!({ "token": token, "logprob": candidate["logProbability"], "bytes": token.as_bytes() })
}

/// Returns a list that OpenAI's dialects have in this form.
pub(super) fn result(list: &Value) -> Value {
    let candidate =
        |token: &Value| json!({ "token": token["token"], "logProbability": token["logprob"] });
    let tokens = || list.as_array().into_iter().flatten();
    let likeliest = tokens().map(|token| {
        let likeliest = token["top_logprobs"].as_array().into_iter().flatten();
        json!({ "candidates": likeliest.map(candidate).collect::<Vec<_>>() })
    });
    json!({
        "topCandidates": likeliest.collect::<Vec<_>>(),
        "chosenCandidates": tokens().map(candidate).collect::<Vec<_>>(),
    })
}

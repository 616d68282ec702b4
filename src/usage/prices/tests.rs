//! Tests of prices: files, and what the same tokens cost in each dialect's way of counting them.
#![expect(clippy::unwrap_used, reason = "tests")]

use dialect::{Dialect, FinishRule};
use proptest::prelude::*;

use super::*;

const FILE: &str = r#"
[models."claude"]
input_usd_per_million = 3
output_usd_per_million = 15.0
cached_input_usd_per_million = 0.30
cache_write_usd_per_million = "3.75"

[models."openai/gpt-5"]
input_usd_per_million = 1.25
output_usd_per_million = 10
cached_input_usd_per_million = 0.125
reasoning_usd_per_million = 12

[models."gpt-5"]
input_usd_per_million = 2
output_usd_per_million = 20
"#;

#[test]
fn prices_are_read_exactly() {
    let prices = Prices::parse("prices.toml", FILE).unwrap();
    assert_eq!(
        prices.find("any", "claude", "clever"),
        Some(&Price {
            input: 3_000_000_000,
            output: 15_000_000_000,
            cached_input: Some(300_000_000),
            cache_write: Some(3_750_000_000),
            reasoning: None,
        })
    );
    let input = |provider, upstream, model| {
        let price = prices.find(provider, upstream, model);
        price.map(|price| price.input)
    };
    assert_eq!(input("openai", "gpt-5", "x"), Some(1_250_000_000));
    assert_eq!(input("azure", "gpt-5", "x"), Some(2_000_000_000));
    assert_eq!(input("azure", "deployment", "gpt-5"), Some(2_000_000_000));
    assert_eq!(input("azure", "deployment", "other"), None);
    assert!(prices.version().starts_with("sha256:"));
    let changed = Prices::parse("prices.toml", &FILE.replace("1.25", "1.26")).unwrap();
    assert_ne!(changed.version(), prices.version());
}

#[test]
fn all_that_is_wrong_with_a_file_is_told() {
    let file = "[models.a]\ninput_usd_per_milion = 1\noutput_usd_per_million = -1\n\
                [models.b]\ninput_usd_per_million = 0.0000000001\n[modles.c]\n";
    let error = Prices::parse("p.toml", file).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    let price = "should be dollars per million tokens, such as 1.25, with at most 9 digits after \
                 the point";
    assert_eq!(
        lines,
        [
            "p.toml:2: models.a: unknown key `input_usd_per_milion`; did you mean \
             `input_usd_per_million`?",
            &format!("p.toml:3: models.a.output_usd_per_million {price}"),
            "p.toml:1: models.a.input_usd_per_million is missing",
            &format!("p.toml:5: models.b.input_usd_per_million {price}"),
            "p.toml:4: models.b.output_usd_per_million is missing",
            "p.toml:6: `modles` should be a table `[models.\"NAME\"]`",
        ]
    );
    let error = Prices::parse("p.toml", "[models").unwrap_err().to_string();
    assert!(error.starts_with("p.toml:1: "), "{error}");
}

/// Each dialect counts cached tokens in its own way, and the same tokens cost the same.
#[test]
fn cached_tokens_are_charged_once_in_every_dialect() {
    let price = Price {
        input: 3_000_000_000,
        output: 15_000_000_000,
        cached_input: Some(300_000_000),
        cache_write: Some(3_750_000_000),
        reasoning: None,
    };
    // 1000 new, 9000 read from the cache, 300 put out, of which 100 on reasoning.
    let chat = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":10000,"completion_tokens":300,"total_tokens":10300,
        "prompt_tokens_details":{"cached_tokens":9000},"completion_tokens_details":{"reasoning_tokens":100}}}"#;
    let responses = r#"{"object":"response","status":"completed","output":[{"type":"message","role":"assistant",
        "content":[{"type":"output_text","text":"x"}]}],"usage":{"input_tokens":10000,"output_tokens":300,
        "input_tokens_details":{"cached_tokens":9000},"output_tokens_details":{"reasoning_tokens":100}}}"#;
    let anthropic = r#"{"type":"message","role":"assistant","content":[{"type":"text","text":"x"}],
        "stop_reason":"end_turn","usage":{"input_tokens":1000,"cache_read_input_tokens":9000,
        "cache_creation_input_tokens":0,"output_tokens":300}}"#;
    let gemini = r#"{"candidates":[{"content":{"parts":[{"text":"x"}],"role":"model"},"finishReason":"STOP"}],
        "usageMetadata":{"promptTokenCount":10000,"cachedContentTokenCount":9000,
        "candidatesTokenCount":200,"thoughtsTokenCount":100,"totalTokenCount":10300}}"#;
    let cost = |dialect: &str, body: &str| {
        let side = Dialect::named(dialect).unwrap().upstream.unwrap();
        let parsed = side.parse_answer(body.as_bytes(), FinishRule::default(), None);
        price.cost(&parsed.unwrap().usage.unwrap())
    };
    // 1000 × $3 + 9000 × $0.30 + 300 × $15, per million.
    for (dialect, body) in [
        ("openai-chat", chat),
        ("openai-responses", responses),
        ("anthropic", anthropic),
        ("gemini", gemini),
    ] {
        assert_eq!(cost(dialect, body), 10_200_000, "{dialect}");
    }
    // 1000 new, 7000 read, 2000 written.
    let written = anthropic.replace("9000", "7000").replace(
        "\"cache_creation_input_tokens\":0",
        "\"cache_creation_input_tokens\":2000",
    );
    assert_eq!(cost("anthropic", &written), 17_100_000);
    let dearer = Price {
        reasoning: Some(20_000_000_000),
        ..price
    };
    let usage = Usage {
        input: 0,
        output: 300,
        reasoning: Some(100),
        ..Usage::default()
    };
    assert_eq!(dearer.cost(&usage), 5_000_000);
}

proptest! {
    /// No usage within a reservation costs more than what was reserved.
    #[test]
    fn a_reservation_covers_every_way_of_spending_it(
        prices in prop::array::uniform5(0..100_000_000_000_u64),
        counts in prop::array::uniform5(0..10_000_000_u64),
        given in prop::array::uniform3(any::<bool>()),
    ) {
        let price = Price {
            input: prices[0],
            output: prices[1],
            cached_input: given[0].then_some(prices[2]),
            cache_write: given[1].then_some(prices[3]),
            reasoning: given[2].then_some(prices[4]),
        };
        let usage = Usage {
            input: counts[0],
            output: counts[1],
            cached: Some(counts[2]),
            cache_written: Some(counts[3]),
            reasoning: Some(counts[4]),
        };
        prop_assert!(price.cost(&usage) <= price.highest_cost(usage.input, usage.output));
    }
}

//! What was to be reached, and whether this run did: made from its own tables, for the
//! documentation as it is.

use std::collections::BTreeMap;

use crate::manners::{AFTER_FIVE, BEFORE_FIRST, SLOW};
use crate::plan::{GROWING, SPREADING, STREAMS};
use crate::proxies::Proxy;
use crate::table::Table;

/// The tables of a run, by their titles.
pub type Tables = BTreeMap<&'static str, Table>;

const CPU: &str = "CPU s/M tok";
/// A LiteLLM token pays for so many of ours.
const LITELLM: f64 = 50.0;

/// A goal, and what was measured: none where it was not.
type Goal = (String, &'static str, Option<(String, bool)>);

/// Prints all goals; what was not measured, too.
pub fn print(tables: &Tables) {
    println!("\nGoals\n\n| | goal | this run | reached |\n| --- | --- | --- | --- |");
    for (what, goal, measured) in goals(tables) {
        let (value, reached) = match measured {
            Some((value, true)) => (value, "yes"),
            Some((value, false)) => (value, "no"),
            None => ("not measured".to_owned(), "–"),
        };
        println!("| {what} | {goal} | {value} | {reached} |");
    }
}

fn goals(tables: &Tables) -> Vec<Goal> {
    let figure =
        |title: &str, proxy: Proxy, name: &str| tables.get(title)?.median(proxy.name(), name);
    let (ours, nginx) = (Proxy::Tokenrill, Proxy::Nginx);
    // A figure of a variant of ours, nginx's, and their ratio.
    let beside = |title: &str, proxy: Proxy, name: &str| {
        let (ours, nginx) = (figure(title, proxy, name)?, figure(title, nginx, name)?);
        Some((ours, nginx, ours / nginx))
    };
    let at_most = |title: &str, proxy: Proxy, name: &str, most: f64| {
        let (ours, nginx, ratio) = beside(title, proxy, name)?;
        Some((
            format!("{ratio:.2} × ({ours:.1} to {nginx:.1})"),
            ratio <= most,
        ))
    };
    let mut goals: Vec<Goal> = Vec::new();
    let [w1, w2, w2_2000, w3] = STREAMS.map(|workload| workload.name);
    for (word, title) in [("W2 500", w2), ("W2 2,000", w2_2000)] {
        for (proxy, what, goal, most) in [
            (
                ours,
                "OpenAI → OpenAI",
                "≤ 1.0 × nginx, 0.8 is the aim",
                1.0,
            ),
            (
                Proxy::Translated,
                "Anthropic → OpenAI",
                "≤ 1.5 × nginx",
                1.5,
            ),
            (Proxy::Linger, "linger on, one reader", "≤ 1.5 × nginx", 1.5),
        ] {
            goals.push((
                format!("CPU per token, {word}, {what}"),
                goal,
                at_most(title, proxy, CPU, most),
            ));
        }
    }
    let two = || {
        let (two, one) = (figure(w2, Proxy::TwoTargets, CPU)?, figure(w2, ours, CPU)?);
        let ratio = two / one;
        Some((format!("{ratio:.2} × ({two:.1} to {one:.1})"), ratio <= 1.1))
    };
    goals.push((
        "CPU per token, W2 500, a second target".to_owned(),
        "≤ 1.1 × one target",
        two(),
    ));
    let litellm = || {
        let table = tables.get(w2)?;
        let row = table.row(Proxy::Litellm.name())?;
        let ratio = table.median(row, CPU)? / figure(w2, ours, CPU)?;
        Some((format!("1/{ratio:.0} ({row})"), ratio >= LITELLM))
    };
    goals.push((
        "CPU per token, W2 500, beside LiteLLM".to_owned(),
        "≤ 1/50",
        litellm(),
    ));
    let saturated = beside(w1, ours, "tokens/s");
    let saturated =
        saturated.map(|(a, b, ratio)| (format!("{ratio:.2} × ({a:.0} to {b:.0})"), ratio >= 1.0));
    goals.push(("W1 tokens/s".to_owned(), "≥ nginx", saturated));
    for (name, goal, most) in [("p50 µs", "≤ nginx", 1.0), ("p99 µs", "≤ 1.2 × nginx", 1.2)]
    {
        let added = || {
            let direct = figure(w2, Proxy::Direct, name)?;
            let (ours, nginx, _) = beside(w2, ours, name)?;
            let text = format!(
                "{:.0} to {:.0} µs over direct's {direct:.0}",
                ours - direct,
                nginx - direct
            );
            Some((text, ours - direct <= most * (nginx - direct)))
        };
        goals.push((
            format!("added relay latency, W2 500, {}", &name[..3]),
            goal,
            added(),
        ));
    }
    let crowd = at_most(w3, ours, "KiB/stream", 1.0);
    goals.push(("W3 memory per stream, KiB".to_owned(), "≤ nginx", crowd));
    for title in [AFTER_FIVE, BEFORE_FIRST] {
        let left = || {
            let [p50, max, seen] =
                ["p50 ms", "max ms", "seen"].map(|name| figure(title, ours, name));
            let (p50, max, seen) = (p50?, max?, seen?);
            Some((
                format!("{p50:.2} ms, {max:.2} ms, {seen:.0}"),
                p50 <= 1.0 && max <= 20.0 && seen >= 200.0,
            ))
        };
        goals.push((
            title.to_owned(),
            "p50 ≤ 1 ms, max ≤ 20 ms, 200 seen",
            left(),
        ));
    }
    let slow = figure(SLOW, ours, "KiB/stream");
    let slow = slow.map(|growth| (format!("{growth:.0} KiB"), growth <= 256.0));
    goals.push(("W5 growth per stream".to_owned(), "≤ 256 KiB", slow));
    let flat = |title: &str| {
        let points = ["100", "500", "2000", "9000"].map(|point| figure(title, ours, point));
        let least = points.into_iter().flatten().reduce(f64::min)?;
        let most = points.into_iter().flatten().reduce(f64::max)?;
        let [Some(few), .., Some(many)] = points else {
            return None;
        };
        Some((
            format!("{few:.1} at 100, {many:.1} at 9,000, {least:.1} to {most:.1} in all"),
            most - least <= 0.1 * (most + least),
        ))
    };
    for (title, what) in [
        (GROWING, "as the load grows"),
        (SPREADING, "of 10,000 tokens a second"),
    ] {
        goals.push((
            format!("CPU per token {what}"),
            "± 10 % from 100 to 9,000 streams",
            flat(title),
        ));
    }
    goals
}

//! The arena: `upstream` stamps each token with the monotonic clock, `load` reads them through a proxy, `run` starts one
//! proxy after the other between the two and prints what each of them cost.

mod load;
mod manners;
mod proxies;
mod upstream;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use nix::time::{ClockId, clock_gettime};
use proxies::{Process, Proxy};

/// Nanoseconds on the clock that all processes of a machine share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    u64::try_from(time.tv_sec()).expect("after boot") * 1_000_000_000
        + u64::try_from(time.tv_nsec()).expect("nanoseconds")
}

/// A workload: how many streams at once, of how many tokens, with which pause before each, and how often.
#[derive(Clone, Copy)]
struct Workload {
    name: &'static str,
    streams: usize,
    tokens: usize,
    gap_ms: u64,
    repeat: usize,
}

const WORKLOADS: &[Workload] = &[
    Workload { name: "W1 64 streams, no pause", streams: 64, tokens: 200, gap_ms: 0, repeat: 30 },
    Workload { name: "W2 500 streams, 50 ms", streams: 500, tokens: 100, gap_ms: 50, repeat: 1 },
    Workload { name: "W2 2000 streams, 50 ms", streams: 2000, tokens: 100, gap_ms: 50, repeat: 1 },
    Workload { name: "W3 9000 streams, 1 s", streams: 9000, tokens: 15, gap_ms: 1000, repeat: 1 },
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["upstream"] => upstream::serve(),
        ["load", client, port, streams, tokens, gap, repeat] => {
            let number = |text: &str| text.parse().expect("a number");
            println!(
                "{}",
                load::run(
                    client,
                    number(port) as u16,
                    number(streams),
                    number(tokens),
                    number(gap) as u64,
                    number(repeat)
                )
            );
        }
        ["hangup", port, upstream, after] => println!("{}", manners::hangup(port, upstream, after)),
        ["slow", port, streams] => println!("{}", manners::slow(port, streams)),
        ["short", port, kept] => println!("{}", manners::short(port, kept == "kept")),
        ["run", binary, mode] => run(binary, if mode == "quick" { 1 } else { 3 }),
        _ => panic!("arena upstream | load CLIENT PORT STREAMS TOKENS GAP REPEAT | run BINARY quick|full"),
    }
}

/// One measurement's figures, by name.
type Figures = BTreeMap<&'static str, f64>;

fn run(binary: &str, rounds: usize) {
    let upstream = Process::with_port(Command::new(std::env::current_exe().expect("this binary")).arg("upstream"));
    for workload in WORKLOADS {
        println!("\n{}", workload.name);
        println!(
            "{:>12} {:>14} {:>10} {:>10} {:>10} {:>12} {:>10} {:>8}",
            "", "CPU s/M tok", "p50 µs", "p99 µs", "p99.9 µs", "tokens/s", "KB/stream", "× nginx"
        );
        let mut all: BTreeMap<&str, Vec<Figures>> = BTreeMap::new();
        for _ in 0..rounds {
            // In turn, so that a machine that changes its speed changes it for all.
            for proxy in Proxy::ALL {
                match proxy.start(binary, upstream.port) {
                    Some(process) => {
                        all.entry(proxy.name()).or_default().push(measure(workload, proxy, &process, upstream.port))
                    }
                    None => eprintln!("{} is not installed: skipped", proxy.name()),
                }
            }
        }
        let nginx = all.get("nginx").map(|rounds| median(rounds, "cpu"));
        for proxy in Proxy::ALL {
            let Some(rounds) = all.get(proxy.name()) else { continue };
            let get = |name| median(rounds, name);
            let ratio = nginx.map_or("–".to_owned(), |nginx| format!("{:.2}", get("cpu") / nginx));
            println!(
                "{:>12} {:>14.1} {:>10.0} {:>10.0} {:>10.0} {:>12.0} {:>10.1} {ratio:>8}",
                proxy.name(),
                get("cpu"),
                get("p50"),
                get("p99"),
                get("p999"),
                get("rate"),
                get("kb")
            );
        }
    }
    manners::run(binary, rounds, &upstream);
}

fn measure(workload: &Workload, proxy: Proxy, process: &Process, upstream: u16) -> Figures {
    let port = if process.port == 0 { upstream } else { process.port };
    let load = |streams: usize, tokens: usize, gap: u64, repeat: usize| {
        let words = [port.to_string(), streams.to_string(), tokens.to_string(), gap.to_string(), repeat.to_string()];
        client(process, ["load", proxy.client()].into_iter().chain(words.iter().map(String::as_str)))
    };
    // Once for what is made only once.
    load(workload.streams.min(64), 20, 0, 2);
    let (before, resident) = (process.cpu(), process.resident());
    let (result, most) = load(workload.streams, workload.tokens, workload.gap_ms, workload.repeat);
    let cpu = process.cpu() - before;
    let number = |name: &str| result[name].as_f64().expect("a number");
    let wanted = (workload.streams * workload.tokens * workload.repeat) as f64;
    assert!((number("tokens") - wanted).abs() < 0.5, "{} of {wanted} tokens came", number("tokens"));
    Figures::from([
        ("cpu", cpu / number("tokens") * 1e6),
        ("p50", number("p50")),
        ("p99", number("p99")),
        ("p999", number("p999")),
        ("rate", number("tokens") / number("seconds")),
        ("kb", (most - resident).max(0.0) * 1024.0 / workload.streams as f64),
    ])
}

/// Runs a client in a process of its own: what it says, and the most memory that the proxy had meanwhile, in MB.
fn client<'a>(process: &Process, words: impl Iterator<Item = &'a str>) -> (serde_json::Value, f64) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    let mut child = command.args(words).stdout(Stdio::piped()).spawn().expect("the client");
    let mut most = 0.0_f64;
    while child.try_wait().expect("a child").is_none() {
        most = most.max(process.resident());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a result");
    let said = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the client said {line:?}"));
    (said, most)
}

fn median(rounds: &[Figures], name: &str) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(|figures| figures[name]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

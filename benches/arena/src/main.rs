//! The arena: `upstream` stamps each token with the monotonic clock, `load` reads them through a
//! proxy, `run` starts one proxy after the other between the two and prints what each of them cost.

mod calls;
mod client;
mod goals;
mod load;
mod manners;
mod plan;
mod process;
mod proxies;
mod relay;
mod run;
mod table;
mod upstream;

use std::sync::LazyLock;
use std::time::Instant;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds on the clock that all processes of a machine share.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    u64::try_from(time.tv_sec()).expect("after boot") * 1_000_000_000
        + u64::try_from(time.tv_nsec()).expect("nanoseconds")
}

/// How long this process has been at it.
fn minutes() -> f64 {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    STARTED.elapsed().as_secs_f64() / 60.0
}

const USAGE: &str = "arena upstream | relay PORT UPSTREAM | load CLIENT PORT STREAMS TOKENS GAP REPEAT [ID…] | \
                     hangup CLIENT PORT UPSTREAM TOKENS APART | slow CLIENT PORT STREAMS | \
                     short CLIENT PORT new|kept REQUESTS | config PORT UPSTREAM MORE | run BINARY [quick] [WORKLOAD|PROXY…]";

fn main() {
    minutes();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<usize>().expect("a number");
    match words[..] {
        ["upstream"] => upstream::serve(),
        ["relay", port, upstream] => relay::serve(number(port) as u16, number(upstream) as u16),
        ["config", port, upstream, more] => {
            print!(
                "{}",
                proxies::tokenrill(number(port) as u16, number(upstream) as u16, more)
            );
        }
        [
            "load",
            client,
            port,
            streams,
            tokens,
            gap,
            repeat,
            ref ids @ ..,
        ] => {
            let load = load::Load {
                client,
                port: number(port) as u16,
                streams: number(streams),
                tokens: number(tokens),
                gap_ms: number(gap) as u64,
                repeat: number(repeat),
                ids: ids.iter().map(|id| number(id) as i32).collect(),
            };
            println!("{}", load.run());
        }
        ["hangup", client, port, upstream, after, apart] => {
            println!("{}", manners::hangup(client, port, upstream, after, apart));
        }
        ["slow", client, port, streams] => println!("{}", manners::slow(client, port, streams)),
        ["short", client, port, kept, requests] => {
            println!(
                "{}",
                manners::short(client, port, kept == "kept", number(requests))
            );
        }
        ["run", binary, ref rest @ ..] => run::run(binary, rest),
        _ => panic!("{USAGE}"),
    }
}

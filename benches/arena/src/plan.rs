//! What is measured of whom, how often, and about how long that takes: three rounds of everything
//! end within half an hour.

use crate::load::BEGIN;
use crate::proxies::Proxy;

/// Many streams: how many at once, of how many tokens, with which pause before each, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// By which it is asked for.
    pub word: &'static str,
    pub name: &'static str,
    pub streams: usize,
    pub tokens: usize,
    pub gap_ms: u64,
    pub repeat: usize,
}

const fn workload(
    word: &'static str,
    name: &'static str,
    streams: usize,
    tokens: usize,
    gap_ms: u64,
    repeat: usize,
) -> Workload {
    Workload {
        word,
        name,
        streams,
        tokens,
        gap_ms,
        repeat,
    }
}

/// All streams are equal, and each proxy carries the same.
pub const STREAMS: [Workload; 4] = [
    workload("W1", "W1 64 streams, no pause", 64, 200, 0, 50),
    workload("W2", "W2 500 streams, 50 ms", 500, 100, 50, 1),
    workload("W2", "W2 2000 streams, 50 ms", 2000, 100, 50, 1),
    workload("W3", "W3 9000 streams, 1 s", 9000, 10, 1000, 1),
];

/// As the load grows: long enough that all of them run together for some seconds.
pub const GROWTH: [Workload; 4] = [
    workload("growth", "100", 100, 12, 500, 1),
    workload("growth", "500", 500, 12, 500, 1),
    workload("growth", "2000", 2000, 12, 500, 1),
    workload("growth", "9000", 9000, 18, 500, 1),
];

/// What that is called.
pub const GROWING: &str = "CPU s/M tok as the load grows, streams of a token each 500 ms";

/// As streams grow in number, and the tokens of all of them together do not: what a stream costs by
/// being one of many, without what tokens save by coming together.
pub const SPREAD: [Workload; 4] = [
    workload("spread", "100", 100, 600, 10, 1),
    workload("spread", "500", 500, 120, 50, 1),
    workload("spread", "2000", 2000, 30, 200, 1),
    workload("spread", "9000", 9000, 10, 900, 1),
];

/// What that is called.
pub const SPREADING: &str = "CPU s/M tok, 10,000 tokens a second from ever more streams";

/// Sparse enough that a token still comes alone, although strace slows everything down.
pub const CALLS: Workload = workload(
    "calls",
    "System calls per token, 50 streams, 50 ms",
    50,
    60,
    50,
    1,
);

/// What comes before a load: what is made only once is made then.
pub fn warm_up(streams: usize) -> Workload {
    workload("", "", streams, 20, 0, 2)
}

/// The words by which workloads are asked for, as they are run.
pub const WORDS: [&str; 9] = [
    "W1", "W2", "W3", "growth", "spread", "calls", "W4", "W5", "W6",
];

/// What is asked for: which proxies and workloads, how many rounds.
pub struct Wanted {
    pub binary: String,
    rounds: usize,
    words: Vec<&'static str>,
    pub proxies: Vec<Proxy>,
}

impl Wanted {
    /// What is named; all proxies or all workloads if none is.
    pub fn of(binary: &str, named: &[&str]) -> Self {
        let mut wanted = Self {
            binary: binary.to_owned(),
            rounds: 3,
            words: Vec::new(),
            proxies: Vec::new(),
        };
        for &name in named {
            let word = WORDS.into_iter().find(|word| *word == name);
            let proxy = Proxy::ALL.into_iter().find(|proxy| proxy.name() == name);
            match (name, word, proxy) {
                ("quick", ..) => wanted.rounds = 1,
                (_, Some(word), _) => wanted.words.push(word),
                (_, _, Some(proxy)) => wanted.proxies.push(proxy),
                _ => {
                    let proxies = Proxy::ALL.map(Proxy::name).join("\", \"");
                    eprintln!(
                        "{name} is neither a workload ({}) nor a proxy (\"{proxies}\")",
                        WORDS.join(", ")
                    );
                    std::process::exit(2);
                }
            }
        }
        let named = std::mem::take(&mut wanted.words);
        wanted.words = WORDS
            .into_iter()
            .filter(|word| named.is_empty() || named.contains(word))
            .collect();
        if wanted.proxies.is_empty() {
            wanted.proxies = Proxy::ALL.to_vec();
        }
        wanted
    }

    /// Whether a workload is asked for.
    pub fn is_workload(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// Whoever is measured in a workload, round after round: in turn, so that a machine that
    /// changes its speed changes it for all.
    pub fn turns(&self, word: &str) -> impl Iterator<Item = Proxy> {
        let part = move |round| {
            self.proxies
                .iter()
                .copied()
                .filter(move |proxy| round < self.rounds_of(*proxy, word))
        };
        (0..self.rounds).flat_map(part)
    }

    fn rounds_of(&self, proxy: Proxy, word: &str) -> usize {
        use Proxy::{Direct, Linger, Nginx, Relay, Tokenrill, Translated};
        match (word, proxy) {
            _ if !proxy.takes_part(word) => 0,
            // What takes long, and is not what tokenrill is held against.
            ("W3", Direct | Relay | Translated | Linger) => 1,
            ("W5", Tokenrill) | ("spread", Tokenrill | Nginx) => self.rounds,
            ("growth" | "spread" | "calls" | "W5", _) => 1,
            _ if proxy.is_slow() => 1,
            _ => self.rounds,
        }
    }

    /// About how many seconds each workload will take, measured on two cores.
    pub fn seconds(&self) -> Vec<(&'static str, f64)> {
        let of = |word| {
            self.turns(word)
                .map(|proxy| proxy.start_seconds() + proxy.seconds(word))
                .sum()
        };
        self.words.iter().map(|word| (*word, of(word))).collect()
    }
}

impl Proxy {
    /// Whether it takes one round only: the others are what tokenrill is held against.
    fn is_slow(self) -> bool {
        matches!(self, Proxy::Sglang | Proxy::Portkey | Proxy::Litellm)
    }

    fn takes_part(self, word: &str) -> bool {
        use Proxy::{
            Direct, Haproxy, Linger, Litellm, Nginx, Nginx2, Portkey, Relay, Sglang, Tokenrill,
            Tokenrill2, TwoTargets,
        };
        match word {
            "W1" | "W2" => true,
            "W3" => !matches!(self, Nginx2 | Tokenrill2 | TwoTargets | Litellm),
            "calls" => self != Direct,
            "growth" => matches!(self, Relay | Nginx | Tokenrill | Linger),
            "spread" => matches!(self, Relay | Nginx | Tokenrill),
            "W5" => matches!(
                self,
                Nginx | Haproxy | Tokenrill | Sglang | Portkey | Litellm
            ),
            // A relay that waits for its slowest client says nothing about proxies here; a
            // lingering generation is meant to go on.
            _ => matches!(
                self,
                Direct | Nginx | Haproxy | Tokenrill | Sglang | Portkey | Litellm
            ),
        }
    }

    /// As much of a workload as it can carry in a bearable time; none if it can't carry it.
    pub fn share(self, workload: &Workload) -> Option<Workload> {
        let less = |streams: usize, repeat: usize| Workload {
            streams,
            repeat,
            ..*workload
        };
        match (self, workload.word, workload.streams) {
            (Proxy::Sglang, "W1", streams) => Some(less(streams, 20)),
            (Proxy::Portkey, "W1", streams) => Some(less(streams, 4)),
            (Proxy::Litellm, "W1", streams) => Some(less(streams, 1)),
            (Proxy::Portkey, "W3", _) => Some(less(2000, 1)),
            (Proxy::Litellm, "W2", 500) => Some(less(50, 1)),
            (Proxy::Portkey, "W2", 500) => Some(*workload),
            (Proxy::Portkey | Proxy::Litellm, "W2", _) => None,
            _ => Some(*workload),
        }
    }

    /// As many of so many requests.
    pub fn requests(self, all: usize) -> usize {
        if self.is_slow() { all / 10 } else { all }
    }

    /// The time from one client that will leave to the next: it must not be too much for
    /// the proxy by itself.
    pub fn apart_ms(self) -> u64 {
        if self == Proxy::Litellm { 42 } else { 6 }
    }

    /// Until it answers, and until it has ended.
    fn start_seconds(self) -> f64 {
        match self {
            Proxy::Direct => 0.1,
            Proxy::Litellm => 16.0,
            Proxy::Portkey | Proxy::Sglang => 3.0,
            _ => 0.4,
        }
    }

    fn tokens_per_second(self) -> f64 {
        match self {
            Proxy::Litellm => 1_000.0,
            Proxy::Portkey => 30_000.0,
            Proxy::Translated | Proxy::Linger | Proxy::Sglang => 120_000.0,
            Proxy::Tokenrill | Proxy::Tokenrill2 | Proxy::TwoTargets => 200_000.0,
            _ => 400_000.0,
        }
    }

    fn seconds(self, word: &str) -> f64 {
        let of = |workload: &Workload| {
            let Some(Workload {
                streams,
                tokens,
                gap_ms,
                repeat,
                ..
            }) = self.share(workload)
            else {
                return 0.0;
            };
            let flow = (streams * tokens * repeat) as f64 / self.tokens_per_second();
            if gap_ms == 0 {
                return flow;
            }
            flow.max(streams as f64 / f64::from(BEGIN) + (tokens as u64 * gap_ms) as f64 / 1000.0)
        };
        match word {
            "growth" => GROWTH.iter().map(of).sum(),
            "spread" => SPREAD.iter().map(of).sum(),
            "calls" => 1.0 + of(&CALLS),
            "W4" => 5.5,
            "W5" => 1.0 + crate::manners::SECONDS as f64,
            "W6" => 2.0,
            word => STREAMS
                .iter()
                .filter(|workload| workload.word == word)
                .map(of)
                .sum(),
        }
    }
}

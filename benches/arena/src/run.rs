//! The workloads that are measured in tokens, and what is measured of them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::process::Process;
use crate::proxies::Proxy;
use crate::table::{Figures, Table};
use crate::{Workload, calls, manners};

const WORKLOADS: &[Workload] = &[
    Workload { word: "W1", name: "W1 64 streams, no pause", streams: 64, tokens: 200, gap_ms: 0, repeat: 100 },
    Workload { word: "W2", name: "W2 500 streams, 50 ms", streams: 500, tokens: 100, gap_ms: 50, repeat: 1 },
    Workload { word: "W2", name: "W2 2000 streams, 50 ms", streams: 2000, tokens: 100, gap_ms: 50, repeat: 1 },
    Workload { word: "W3", name: "W3 9000 streams, 1 s", streams: 9000, tokens: 10, gap_ms: 1000, repeat: 1 },
];

/// As the load grows, each stream the same.
const GROWTH: [usize; 4] = [100, 500, 2000, 9000];
const GROWING: [Proxy; 4] = [Proxy::Relay, Proxy::Nginx, Proxy::Tokenrill, Proxy::Linger];

const COLUMNS: &[(&str, usize)] = &[
    ("CPU s/M tok", 1),
    ("× nginx", 2),
    ("steady", 1),
    ("p50 µs", 0),
    ("p99 µs", 0),
    ("p99.9 µs", 0),
    ("+first µs", 0),
    ("tokens/s", 0),
    ("MB", 1),
    ("KB/stream", 1),
];

/// What is asked for: which proxies and workloads, how many rounds.
pub struct Wanted {
    pub binary: String,
    pub rounds: usize,
    words: Vec<String>,
    pub proxies: Vec<Proxy>,
}

impl Wanted {
    /// Whether a workload is asked for; none named are all.
    pub fn is_workload(&self, word: &str) -> bool {
        self.words.is_empty() || self.words.iter().any(|wanted| wanted == word)
    }

    /// How many rounds that proxy runs.
    pub fn rounds_of(&self, proxy: Proxy) -> usize {
        if proxy.is_slow() { 1 } else { self.rounds }
    }
}

/// Runs what those words ask for.
pub fn run(binary: &str, words: &[&str]) {
    let of_name = |word: &str| Proxy::ALL.into_iter().find(|proxy| proxy.name() == word);
    let mut proxies: Vec<Proxy> = words.iter().filter_map(|word| of_name(word)).collect();
    if proxies.is_empty() {
        proxies = Proxy::ALL.to_vec();
    }
    println!("{}", machine());
    proxies.retain(|proxy| match proxy.version(binary) {
        Some(version) => {
            if !version.is_empty() && !proxy.is_variant() {
                println!("{:>22}  {version}", proxy.name());
            }
            true
        }
        None => {
            println!("{:>22}  is not installed: skipped", proxy.name());
            false
        }
    });
    let others = words.iter().filter(|word| !matches!(**word, "quick" | "full") && of_name(word).is_none());
    let wanted = Wanted {
        binary: binary.to_owned(),
        rounds: if words.contains(&"quick") { 1 } else { 3 },
        words: others.map(|word| (*word).to_owned()).collect(),
        proxies,
    };
    let upstream = Process::with_port(Command::new(std::env::current_exe().expect("this binary")).arg("upstream"));
    for workload in WORKLOADS.iter().filter(|workload| wanted.is_workload(workload.word)) {
        tokens(&wanted, workload, upstream.port);
    }
    if wanted.is_workload("growth") {
        growth(&wanted, upstream.port);
    }
    if wanted.is_workload("calls") {
        calls::run(&wanted, upstream.port);
    }
    manners::run(&wanted, upstream.port);
}

fn tokens(wanted: &Wanted, workload: &Workload, upstream: u16) {
    let mut table = Table::default();
    for round in 0..wanted.rounds {
        // In turn, so that a machine that changes its speed changes it for all.
        for &proxy in wanted.proxies.iter().filter(|proxy| round < wanted.rounds_of(**proxy)) {
            let Some(share) = proxy.share(workload) else { continue };
            let Some(process) = proxy.start(&wanted.binary, upstream) else { continue };
            let name = match share.streams {
                streams if streams == workload.streams => proxy.name().to_owned(),
                streams => format!("{}, {streams} only", proxy.name()),
            };
            // Once for what is made only once.
            let warm = Workload { streams: share.streams.min(64), tokens: 20, gap_ms: 0, repeat: 2, ..share };
            load(proxy, &process, upstream, &warm);
            table.add(&name, measure(proxy, &process, upstream, &share, &name));
        }
    }
    table.print(workload.name, COLUMNS);
}

fn growth(wanted: &Wanted, upstream: u16) {
    let mut table = Table::default();
    for _ in 0..wanted.rounds {
        for &proxy in wanted.proxies.iter().filter(|proxy| GROWING.contains(proxy)) {
            let Some(process) = proxy.start(&wanted.binary, upstream) else { continue };
            let mut figures = Figures::new();
            for streams in GROWTH {
                let workload = Workload { word: "growth", name: "", streams, tokens: 16, gap_ms: 500, repeat: 1 };
                let measured = measure(proxy, &process, upstream, &workload, proxy.name());
                if let Some(steady) = measured.get("steady") {
                    figures.insert(streams.to_string(), *steady);
                }
            }
            if let (Some(least), Some(most)) = (figures.get("100").copied(), figures.get("9000").copied()) {
                figures.insert("9000 : 100".to_owned(), most / least);
            }
            table.add(proxy.name(), figures);
        }
    }
    let columns = [("100", 1), ("500", 1), ("2000", 1), ("9000", 1), ("9000 : 100", 2)];
    table.print("CPU s/M tok as the load grows, streams of a token each 500 ms", &columns);
}

/// Runs a load through a proxy: what the client says, and the most memory that the proxy had meanwhile, in MB.
pub fn load(proxy: Proxy, process: &Process, upstream: u16, workload: &Workload) -> (serde_json::Value, f64) {
    let Workload { streams, tokens, repeat, .. } = *workload;
    let gap = usize::try_from(workload.gap_ms).expect("a pause");
    let numbers = [usize::from(process.port), streams, tokens, gap, repeat];
    let words = numbers.iter().map(ToString::to_string).chain(process.ids().into_iter().map(|id| id.to_string()));
    client(process, ["load".to_owned(), proxy.client(upstream)].into_iter().chain(words))
}

fn measure(proxy: Proxy, process: &Process, upstream: u16, workload: &Workload, name: &str) -> Figures {
    let (before, resident) = (process.cpu(), process.resident());
    let (result, most) = load(proxy, process, upstream, workload);
    let cpu = process.cpu() - before;
    let number = |name: &str| result[name].as_f64().expect("a number");
    if number("broken") > 0.0 {
        let why = result["why"].as_str().unwrap_or_default();
        eprintln!("{}: {} of {} streams of {name} broke: {why}", workload.name, number("broken"), workload.streams);
    }
    let mut figures = Figures::new();
    let mut add = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    add("CPU s/M tok", cpu / number("tokens") * 1e6);
    for (name, of) in [("p50 µs", "p50"), ("p99 µs", "p99"), ("p99.9 µs", "p999"), ("+first µs", "first")] {
        add(name, number(of));
    }
    add("tokens/s", number("tokens") / number("seconds"));
    if proxy != Proxy::Direct {
        add("MB", most);
        add("KB/stream", (most - resident).max(0.0) * 1024.0 / workload.streams as f64);
    }
    if workload.gap_ms > 0 && number("steady_tokens") > 100.0 {
        add("steady", number("steady_cpu") / number("steady_tokens") * 1e6);
    }
    figures
}

/// Runs a client in a process of its own: what it says, and the most memory that the proxy had meanwhile, in MB.
pub fn client(process: &Process, words: impl Iterator<Item = String>) -> (serde_json::Value, f64) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    let mut child = command.args(words).stdout(Stdio::piped()).spawn().expect("the client");
    let mut most = 0.0_f64;
    while child.try_wait().expect("a child").is_none() {
        most = most.max(process.resident());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a result");
    let said = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the client said {line:?}"));
    (said, most)
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    format!(
        "{cores} cores ({}), Linux {}, load before the run {}",
        model.unwrap_or("unknown"),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or_default()
    )
}

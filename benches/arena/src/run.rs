//! The workloads that are measured in tokens, and what is measured of them.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::goals::Tables;
use crate::plan::{GROWING, GROWTH, SPREAD, SPREADING, STREAMS, Wanted, Workload, warm_up};
use crate::process::Process;
use crate::proxies::Proxy;
use crate::table::{Figures, Table};
use crate::{calls, goals, manners};

const COLUMNS: &[(&str, usize)] = &[
    ("CPU s/M tok", 1),
    ("× nginx", 2),
    ("user", 1),
    ("system", 1),
    ("steady", 1),
    ("p50 µs", 0),
    ("p99 µs", 0),
    ("p99.9 µs", 0),
    ("+first µs", 0),
    ("tokens/s", 0),
    ("MiB", 1),
    ("KiB/stream", 1),
];

/// No client takes so long, whatever the proxy does.
const LONGEST: Duration = Duration::from_secs(90);

/// Runs what those words ask for.
pub fn run(binary: &str, words: &[&str]) {
    let mut wanted = Wanted::of(binary, words);
    println!("{}", machine());
    wanted.proxies.retain(|proxy| match proxy.version(binary) {
        Some(version) => {
            if !version.is_empty() {
                println!("{:>22}  {version}", proxy.name());
            }
            true
        }
        None => {
            println!("{:>22}  is not installed: skipped", proxy.name());
            false
        }
    });
    let seconds = wanted.seconds();
    let minutes = seconds.iter().map(|(_, seconds)| seconds).sum::<f64>() / 60.0;
    let each: Vec<String> = seconds
        .iter()
        .map(|(word, seconds)| format!("{word} {seconds:.0} s"))
        .collect();
    println!("about {minutes:.0} minutes: {}", each.join(", "));

    let upstream = Process::with_port(
        Command::new(std::env::current_exe().expect("this binary")).arg("upstream"),
    );
    let mut tables = Tables::new();
    for workload in STREAMS
        .iter()
        .filter(|workload| wanted.is_workload(workload.word))
    {
        tables.insert(workload.name, tokens(&wanted, workload, upstream.port));
    }
    if wanted.is_workload("growth") {
        tables.insert(GROWING, growing(&wanted, GROWING, &GROWTH, upstream.port));
    }
    if wanted.is_workload("spread") {
        tables.insert(
            SPREADING,
            growing(&wanted, SPREADING, &SPREAD, upstream.port),
        );
    }
    if wanted.is_workload("calls") {
        calls::run(&wanted, upstream.port);
    }
    manners::run(&wanted, upstream.port, &mut tables);
    goals::print(&tables);
}

fn tokens(wanted: &Wanted, workload: &Workload, upstream: u16) -> Table {
    let mut table = Table::default();
    for proxy in wanted.turns(workload.word) {
        let Some(share) = proxy.share(workload) else {
            continue;
        };
        let Some(process) = proxy.start(&wanted.binary, upstream) else {
            continue;
        };
        let name = match share.streams {
            streams if streams == workload.streams => proxy.name().to_owned(),
            streams => format!("{}, {streams} only", proxy.name()),
        };
        load(proxy, &process, upstream, &warm_up(share.streams.min(64)));
        table.add(&name, measure(proxy, &process, upstream, &share, &name));
    }
    table.print(workload.name, COLUMNS);
    table
}

fn growing(wanted: &Wanted, title: &str, points: &[Workload; 4], upstream: u16) -> Table {
    let mut table = Table::default();
    for proxy in wanted.turns(points[0].word) {
        let Some(process) = proxy.start(&wanted.binary, upstream) else {
            continue;
        };
        let mut figures = Figures::new();
        load(proxy, &process, upstream, &warm_up(64));
        for workload in points {
            let measured = measure(proxy, &process, upstream, workload, proxy.name());
            if let Some(steady) = measured.get("steady") {
                figures.insert(workload.name.to_owned(), *steady);
            }
        }
        if let (Some(least), Some(most)) =
            (figures.get("100").copied(), figures.get("9000").copied())
        {
            figures.insert("9000 : 100".to_owned(), most / least);
        }
        table.add(proxy.name(), figures);
    }
    table.print(
        title,
        &[
            ("100", 1),
            ("500", 1),
            ("2000", 1),
            ("9000", 1),
            ("9000 : 100", 2),
        ],
    );
    table
}

/// Runs a load through a proxy: what the client says, and the most memory that the proxy had
/// meanwhile, in MiB.
pub fn load(
    proxy: Proxy,
    process: &Process,
    upstream: u16,
    workload: &Workload,
) -> (serde_json::Value, f64) {
    let Workload {
        streams,
        tokens,
        repeat,
        ..
    } = *workload;
    let gap = usize::try_from(workload.gap_ms).expect("a pause");
    let numbers = [usize::from(process.port), streams, tokens, gap, repeat];
    let words = numbers
        .iter()
        .map(ToString::to_string)
        .chain(process.ids().into_iter().map(|id| id.to_string()));
    client(
        process,
        ["load".to_owned(), proxy.client(upstream)]
            .into_iter()
            .chain(words),
    )
}

fn measure(
    proxy: Proxy,
    process: &Process,
    upstream: u16,
    workload: &Workload,
    name: &str,
) -> Figures {
    let mut figures = Figures::new();
    let (before, resident) = (process.cpu(), process.resident());
    let (result, most) = load(proxy, process, upstream, workload);
    let after = process.cpu();
    if !result["tokens"].as_f64().is_some_and(|tokens| tokens > 0.0) {
        return figures;
    }
    let per_million = after.since(&before) / result["tokens"].as_f64().expect("a number") * 1e6;
    let number = |name: &str| result[name].as_f64().expect("a number");
    if number("broken") > 0.0 {
        let why = result["why"].as_str().unwrap_or_default();
        eprintln!(
            "{}: {} of {} streams of {name} broke: {why}",
            workload.name,
            number("broken"),
            workload.streams
        );
    }
    let mut add = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    add("CPU s/M tok", per_million);
    if let Some((user, system)) = after.parts(&before) {
        add("user", per_million * user);
        add("system", per_million * system);
    }
    for (name, of) in [
        ("p50 µs", "p50"),
        ("p99 µs", "p99"),
        ("p99.9 µs", "p999"),
        ("+first µs", "first"),
    ] {
        add(name, number(of));
    }
    add("tokens/s", number("tokens") / number("seconds"));
    if proxy != Proxy::Direct {
        add("MiB", most);
        add(
            "KiB/stream",
            (most - resident).max(0.0) * 1024.0 / workload.streams as f64,
        );
    }
    if workload.gap_ms > 0 && number("steady_tokens") > 100.0 {
        add(
            "steady",
            number("steady_cpu") / number("steady_tokens") * 1e6,
        );
    }
    figures
}

/// Runs a client in a process of its own: what it says, and the most memory that the proxy had
/// meanwhile, in MiB. One that fails or does not end says nothing: the others are still measured.
pub fn client(process: &Process, words: impl Iterator<Item = String>) -> (serde_json::Value, f64) {
    let words: Vec<String> = words.collect();
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    let mut child = command
        .args(&words)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client");
    let (started, mut most) = (Instant::now(), 0.0_f64);
    while child.try_wait().expect("a child").is_none() {
        most = most.max(process.resident());
        if started.elapsed() > LONGEST {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("stdout"))
        .read_line(&mut line)
        .expect("stdout");
    let said = serde_json::from_str(&line).unwrap_or_else(|_| {
        let seconds = started.elapsed().as_secs();
        eprintln!(
            "the client failed or did not end, after {seconds} s: arena {}",
            words.join(" ")
        );
        serde_json::Value::Null
    });
    (said, most)
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    format!(
        "{cores} cores ({}), Linux {}, load before the run {}",
        model.unwrap_or("unknown"),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or_default()
    )
}

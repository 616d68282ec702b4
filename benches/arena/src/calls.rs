//! System calls per token, counted by strace. It slows everything down, so it is a run of its own, sparse enough that a
//! token still comes alone.

use std::collections::BTreeMap;

use crate::Workload;
use crate::run::{Wanted, load};
use crate::table::{Figures, Table};

const WORKLOAD: Workload = Workload {
    word: "calls",
    name: "System calls per token, 50 streams, 50 ms",
    streams: 50,
    tokens: 100,
    gap_ms: 50,
    repeat: 1,
};

/// Columns, and the calls that they count; the rest is `other`.
const COLUMNS: [(&str, &[&str]); 5] = [
    ("read", &["read", "recvfrom", "readv", "recvmsg"]),
    ("write", &["write", "writev", "sendto", "sendmsg"]),
    ("epoll_wait", &["epoll_wait", "epoll_pwait", "epoll_pwait2"]),
    ("epoll_ctl", &["epoll_ctl"]),
    ("futex", &["futex"]),
];

/// Counts and prints.
pub fn run(wanted: &Wanted, upstream: u16) {
    let mut table = Table::default();
    for &proxy in wanted.proxies.iter().filter(|proxy| proxy.name() != "direct") {
        let Some(process) = proxy.start(&wanted.binary, upstream) else { continue };
        load(proxy, &process, upstream, &Workload { tokens: 5, ..WORKLOAD });
        let calls = process.calls(|| {
            load(proxy, &process, upstream, &WORKLOAD);
        });
        let Some(calls) = calls else {
            eprintln!("strace does not run here: system calls are not counted");
            return;
        };
        let tokens = (WORKLOAD.streams * WORKLOAD.tokens) as f64;
        let mut by_column: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, count) in &calls {
            let column =
                COLUMNS.iter().find(|(_, names)| names.contains(&name.as_str())).map_or("other", |(name, _)| name);
            *by_column.entry(column).or_default() += count / tokens;
            *by_column.entry("all").or_default() += count / tokens;
        }
        table.add(
            proxy.name(),
            by_column.into_iter().map(|(name, count)| (name.to_owned(), count)).collect::<Figures>(),
        );
    }
    let columns =
        ["all", "× nginx", "read", "write", "epoll_wait", "epoll_ctl", "futex", "other"].map(|name| (name, 2));
    table.print(WORKLOAD.name, &columns);
}

//! System calls per token, counted by strace. It slows everything down, so it is a run of its own,
//! sparse enough that a token still comes alone.

use std::collections::BTreeMap;

use crate::plan::{CALLS, Wanted, Workload};
use crate::run::load;
use crate::table::{Figures, Table};

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
    for proxy in wanted.turns("calls") {
        let Some(process) = proxy.start(&wanted.binary, upstream) else {
            continue;
        };
        load(proxy, &process, upstream, &Workload { tokens: 5, ..CALLS });
        let calls = process.calls(|| {
            load(proxy, &process, upstream, &CALLS);
        });
        let Some(calls) = calls else {
            eprintln!("strace does not run here: system calls are not counted");
            return;
        };
        let tokens = (CALLS.streams * CALLS.tokens) as f64;
        let mut by_column: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, count) in &calls {
            let column = COLUMNS
                .iter()
                .find(|(_, names)| names.contains(&name.as_str()))
                .map_or("other", |(name, _)| name);
            *by_column.entry(column).or_default() += count / tokens;
            *by_column.entry("all").or_default() += count / tokens;
        }
        table.add(
            proxy.name(),
            by_column
                .into_iter()
                .map(|(name, count)| (name.to_owned(), count))
                .collect::<Figures>(),
        );
    }
    let columns = [
        "all",
        "× nginx",
        "read",
        "write",
        "epoll_wait",
        "epoll_ctl",
        "futex",
        "other",
    ]
    .map(|name| (name, 2));
    table.print(CALLS.name, &columns);
}

//! Many streams at once, each read to its end; how long each token was under way is read from its
//! stamp.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::client::{Client, STREAMS, TOKENS, connect};
use crate::process;

/// So many streams begin in a second, unless they have no pause: what is measured is how they run,
/// not how all begin.
pub const BEGIN: u32 = 2000;
/// A stream that takes so much longer than its pauses is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is to be loaded.
pub struct Load<'a> {
    pub client: &'a str,
    pub port: u16,
    pub streams: usize,
    pub tokens: usize,
    pub gap_ms: u64,
    pub repeat: usize,
    /// The proxy's processes.
    pub ids: Vec<i32>,
}

impl Load<'_> {
    /// Runs the load and returns its figures as a line of JSON.
    pub fn run(self) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(self.all())
    }

    async fn all(self) -> String {
        let Self {
            streams,
            tokens,
            gap_ms,
            repeat,
            port,
            ..
        } = self;
        let client = Arc::new(Client::of(self.client));
        let most = Duration::from_millis(gap_ms * tokens as u64) + PATIENCE;
        let ended = Arc::new(AtomicU64::new(0));
        let started = std::time::Instant::now();
        let mut set = tokio::task::JoinSet::new();
        for number in 0..streams {
            let (client, ended) = (client.clone(), ended.clone());
            set.spawn(async move {
                if gap_ms > 0 {
                    tokio::time::sleep(Duration::from_secs(1) * number as u32 / BEGIN).await;
                }
                let (mut delays, mut first) = (
                    Vec::with_capacity(tokens * repeat),
                    Vec::with_capacity(repeat),
                );
                let prompt = format!("{tokens} tokens {gap_ms} gap");
                let all = async {
                    let mut stream = tokio::time::timeout(PATIENCE, connect(port)).await??;
                    for _ in 0..repeat {
                        let read = client.read(&mut stream, &prompt, &mut delays, &mut first);
                        tokio::time::timeout(most, read).await??;
                    }
                    Ok::<_, std::io::Error>(())
                };
                let why = all.await.err().map(|error| error.to_string());
                ended.fetch_add(1, Ordering::Relaxed);
                (delays, first, why)
            });
        }
        let window = tokio::spawn(window(streams as u64, ended, self.ids));
        let (mut delays, mut first, mut broken, mut why) = (Vec::new(), Vec::new(), 0, None);
        while let Some(stream) = set.join_next().await {
            let (its_delays, its_first, its_why) = stream.expect("it does not panic");
            delays.extend(its_delays);
            first.extend(its_first);
            broken += usize::from(its_why.is_some());
            why = why.or(its_why);
        }
        let seconds = started.elapsed().as_secs_f64();
        let (steady_tokens, steady_cpu) = window.await.expect("it does not panic");
        serde_json::json!({
            "tokens": delays.len(), "seconds": seconds, "broken": broken, "why": why,
            "p50": at(&mut delays, 0.5), "p99": at(&mut delays, 0.99), "p999": at(&mut delays, 0.999),
            "first": at(&mut first, 0.5),
            "steady_tokens": steady_tokens, "steady_cpu": steady_cpu,
        })
        .to_string()
    }
}

/// While all streams run, from when the last has begun until the first ends: how many tokens came,
/// and the CPU seconds that the proxy took for them.
async fn window(streams: u64, ended: Arc<AtomicU64>, ids: Vec<i32>) -> (u64, f64) {
    let look = || (TOKENS.load(Ordering::Relaxed), process::cpu_of(&ids));
    let is_over = || ended.load(Ordering::Relaxed) > 0;
    while STREAMS.load(Ordering::Relaxed) < streams && !is_over() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = look();
    while !is_over() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let after = look();
    (after.0 - before.0, after.1 - before.1)
}

/// What a part of the values is at most, in thousandths.
pub fn at(values: &mut [u64], part: f64) -> f64 {
    values.sort_unstable();
    match values.len() {
        0 => 0.0,
        length => values[((length - 1) as f64 * part) as usize] as f64 / 1000.0,
    }
}

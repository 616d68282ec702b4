//! A running proxy: its processes, their CPU time, memory and system calls.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::client::Client;

/// How long the slowest may take until it answers.
const START: Duration = Duration::from_secs(90);

/// A running proxy; ended when dropped.
pub struct Process {
    child: Option<Child>,
    pub port: u16,
    folder: Option<TempDir>,
}

impl Process {
    /// No proxy at all: the upstream itself.
    pub fn none(upstream: u16) -> Self {
        Self {
            child: None,
            port: upstream,
            folder: None,
        }
    }

    /// One that prints its port.
    pub fn with_port(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout"))
            .read_line(&mut line)
            .expect("a port");
        Self {
            child: Some(child),
            port: line.trim().parse().expect("a port"),
            folder: None,
        }
    }

    /// One that listens there; none if it does not answer a first request in time.
    pub fn listening(
        command: &mut Command,
        port: u16,
        folder: TempDir,
        client: &str,
    ) -> Option<Self> {
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        let child = command
            .spawn()
            .inspect_err(|error| eprintln!("{command:?} does not start: {error}"))
            .ok()?;
        let mut process = Self {
            child: Some(child),
            port,
            folder: Some(folder),
        };
        let started = Instant::now();
        while started.elapsed() < START {
            if answers(port, client) {
                return Some(process);
            }
            if process
                .child
                .as_mut()
                .is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
            {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let log = process
            .folder
            .as_ref()
            .and_then(|folder| std::fs::read_to_string(folder.path().join("log")).ok());
        let last: Vec<&str> = log
            .as_deref()
            .unwrap_or_default()
            .lines()
            .rev()
            .take(5)
            .collect();
        eprintln!("{command:?} does not answer: {last:?}");
        None
    }

    /// What its processes have taken of the CPU so far.
    pub fn cpu(&self) -> Cpu {
        let ids = self.ids();
        let ticks = ids.iter().filter_map(|id| ticks_of(*id));
        let (user, system) = ticks.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Cpu {
            seconds: cpu_of(&ids),
            user,
            system,
        }
    }

    /// Resident memory in MiB, all its processes.
    pub fn resident(&self) -> f64 {
        let of = |id: &i32| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let line = status
                .lines()
                .find(|line| line.starts_with("VmRSS"))
                .unwrap_or_default();
            line.split_whitespace()
                .nth(1)
                .and_then(|n| n.parse::<f64>().ok())
                .unwrap_or(0.0)
                / 1024.0
        };
        self.ids().iter().map(of).sum()
    }

    /// All its processes.
    pub fn ids(&self) -> Vec<i32> {
        let mut ids: Vec<i32> = self.child.iter().map(|child| child.id() as i32).collect();
        let mut at = 0;
        while at < ids.len() {
            let tasks = std::fs::read_dir(format!("/proc/{}/task", ids[at]))
                .into_iter()
                .flatten()
                .flatten();
            for task in tasks {
                let children =
                    std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
                ids.extend(
                    children
                        .split_whitespace()
                        .filter_map(|id| id.parse::<i32>().ok()),
                );
            }
            at += 1;
        }
        ids
    }

    /// The system calls it makes while that runs, with how many of each; none where strace does
    /// not run.
    pub fn calls(&self, run: impl FnOnce()) -> Option<Vec<(String, f64)>> {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("calls");
        let mut command = Command::new("strace");
        command
            .args(["-c", "-f", "-q", "-U", "name,calls", "-o"])
            .arg(&out);
        self.ids().iter().for_each(|id| {
            command.args(["-p", &id.to_string()]);
        });
        let mut strace = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        std::thread::sleep(Duration::from_millis(500));
        run();
        let _ = kill(Pid::from_raw(strace.id() as i32), Signal::SIGINT);
        let _ = strace.wait();
        let text = std::fs::read_to_string(&out).ok()?;
        let lines = text.lines().filter_map(|line| {
            let (name, count) = line.trim().split_once(char::is_whitespace)?;
            let count = count.trim().parse().ok()?;
            (name != "total").then(|| (name.to_owned(), count))
        });
        Some(lines.collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // nginx's workers end with their master only if it is asked.
            let _ = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
            let asked = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(2) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        drop(self.folder.take());
    }
}

/// CPU time: the sum is exact, what of it is the program's own and what the kernel's is sampled in
/// ticks.
pub struct Cpu {
    seconds: f64,
    user: u64,
    system: u64,
}

impl Cpu {
    /// Seconds since then.
    pub fn since(&self, before: &Cpu) -> f64 {
        self.seconds - before.seconds
    }

    /// The parts of the time since then that were spent in the program itself and in the kernel;
    /// none if it was too short to tell.
    pub fn parts(&self, before: &Cpu) -> Option<(f64, f64)> {
        let (user, system) = (
            (self.user - before.user) as f64,
            (self.system - before.system) as f64,
        );
        (user + system > 0.0).then(|| (user / (user + system), system / (user + system)))
    }
}

/// A process's ticks, user and system.
fn ticks_of(id: i32) -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field, its name, may hold spaces; these are the fourteenth and the fifteenth.
    let mut fields = stat
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .skip(11)
        .map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

/// CPU seconds of those processes, to the nanosecond, threads that have ended included.
pub fn cpu_of(ids: &[i32]) -> f64 {
    let of = |id: &i32| -> Option<f64> {
        let time = nix::time::clock_getcpuclockid(Pid::from_raw(*id))
            .ok()?
            .now()
            .ok()?;
        Some(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
    };
    ids.iter().filter_map(of).sum()
}

/// Whether it answers a request with a token.
fn answers(port: u16, client: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(&Client::of(client).request("1 tokens 0 gap"))?;
        let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let read = stream.read(&mut piece)?;
            answer.extend_from_slice(&piece[..read]);
            if answer.contains(&b'@')
                || read == 0
                || answer.starts_with(b"HTTP/1.1 4")
                || answer.starts_with(b"HTTP/1.1 5")
            {
                return Ok(answer.contains(&b'@'));
            }
        }
    };
    ask().unwrap_or(false)
}

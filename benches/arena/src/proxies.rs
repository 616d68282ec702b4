//! The proxies, each started alone with one worker's worth of configuration.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    Direct,
    Nginx,
    Haproxy,
    Tokenrill,
    /// tokenrill with an Anthropic client before the same Chat Completions upstream.
    Translated,
}

impl Proxy {
    pub const ALL: [Proxy; 5] = [Proxy::Direct, Proxy::Nginx, Proxy::Haproxy, Proxy::Tokenrill, Proxy::Translated];

    pub fn name(self) -> &'static str {
        match self {
            Proxy::Direct => "direct",
            Proxy::Nginx => "nginx",
            Proxy::Haproxy => "haproxy",
            Proxy::Tokenrill => "tokenrill",
            Proxy::Translated => "translated",
        }
    }

    /// What its client speaks.
    pub fn client(self) -> &'static str {
        if self == Proxy::Translated { "anthropic" } else { "openai-chat" }
    }

    /// Starts it in front of that upstream; none if it is not installed.
    pub fn start(self, binary: &str, upstream: u16) -> Option<Process> {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let port = free_port();
        match self {
            Proxy::Direct => Some(Process { child: None, port: 0, folder: None }),
            Proxy::Nginx => {
                let config = format!(
                    "worker_processes 1; daemon off; pid {}; error_log /dev/null;\n\
                     events {{ worker_connections 20000; }}\n\
                     http {{ access_log off; client_body_temp_path {1}; proxy_temp_path {1}; fastcgi_temp_path {1}; uwsgi_temp_path {1}; scgi_temp_path {1};\n\
                     upstream up {{ server 127.0.0.1:{upstream}; keepalive 2000; }}\n\
                     server {{ listen 127.0.0.1:{port} backlog=4096; keepalive_requests 1000000; location / {{ proxy_pass http://up; proxy_http_version 1.1;\n\
                     proxy_set_header Connection \"\"; proxy_buffering off; proxy_read_timeout 10m; }} }} }}",
                    at("pid").display(),
                    at("tmp").display()
                );
                std::fs::write(at("nginx.conf"), config).expect("a config");
                let command = installed("nginx")?;
                Some(Process::listening(
                    Command::new(command).arg("-c").arg(at("nginx.conf")).arg("-e").arg("/dev/null"),
                    port,
                    folder,
                ))
            }
            Proxy::Haproxy => {
                let config = format!(
                    "global\n maxconn 9500\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 10m\n timeout server 10m\n option http-no-delay\n\
                     frontend f\n bind 127.0.0.1:{port}\n default_backend b\nbackend b\n http-reuse always\n server s 127.0.0.1:{upstream}\n"
                );
                std::fs::write(at("haproxy.cfg"), config).expect("a config");
                let command = installed("haproxy")?;
                Some(Process::listening(Command::new(command).arg("-f").arg(at("haproxy.cfg")), port, folder))
            }
            Proxy::Tokenrill | Proxy::Translated => {
                let config = format!(
                    "listen = \"127.0.0.1:{port}\"\n[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://127.0.0.1:{upstream}/v1\"\n\
                     [[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n"
                );
                std::fs::write(at("tokenrill.toml"), config).expect("a config");
                Some(Process::listening(Command::new(binary).arg("--config").arg(at("tokenrill.toml")), port, folder))
            }
        }
    }
}

/// A running proxy; killed when dropped.
pub struct Process {
    child: Option<Child>,
    pub port: u16,
    folder: Option<TempDir>,
}

impl Process {
    /// One that prints its port.
    pub fn with_port(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a port");
        Self { child: Some(child), port: line.trim().parse().expect("a port"), folder: None }
    }

    fn listening(command: &mut Command, port: u16, folder: TempDir) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Self { child: Some(child), port, folder: Some(folder) };
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{command:?} does not listen");
    }

    /// CPU seconds so far, user and system, all its processes.
    pub fn cpu(&self) -> f64 {
        self.stats(|stat, _| {
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
            let ticks: f64 = [11, 12].iter().map(|&at| fields[at].parse::<f64>().unwrap_or(0.0)).sum();
            ticks / 100.0
        })
    }

    /// Resident memory in MB, all its processes.
    pub fn resident(&self) -> f64 {
        self.stats(|_, status| {
            let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
        })
    }

    fn stats(&self, read: impl Fn(&str, &str) -> f64) -> f64 {
        let Some(child) = &self.child else { return 0.0 };
        let id = child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let ids = std::iter::once(id).chain(children.split_whitespace().filter_map(|id| id.parse().ok()));
        ids.map(|id| {
            let file = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}")).unwrap_or_default();
            read(&file("stat"), &file("status"))
        })
        .sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // nginx's workers end with their master only if it is asked.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
        drop(self.folder.take());
    }
}

fn installed(name: &str) -> Option<String> {
    ["/usr/sbin/", "/usr/bin/", "/usr/local/sbin/"]
        .iter()
        .map(|folder| format!("{folder}{name}"))
        .find(|path| std::path::Path::new(path).exists())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

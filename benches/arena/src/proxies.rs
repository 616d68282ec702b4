//! The proxies, each with the fewest options that make it a plain streaming proxy before the
//! arena's upstream, and one worker where that can be said.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    Direct,
    Relay,
    Nginx,
    /// nginx with two workers.
    Nginx2,
    Haproxy,
    Tokenrill,
    /// tokenrill with two workers, which is what it has by itself on two cores.
    Tokenrill2,
    /// tokenrill with an Anthropic client before the same Chat Completions upstream.
    Translated,
    /// tokenrill with every generation in a stream that outlives its client, which is its one
    /// reader.
    Linger,
    /// tokenrill with a second target for the model, which is never asked.
    TwoTargets,
    Sglang,
    Portkey,
    Litellm,
}

impl Proxy {
    pub const ALL: [Proxy; 13] = [
        Proxy::Direct,
        Proxy::Relay,
        Proxy::Nginx,
        Proxy::Nginx2,
        Proxy::Haproxy,
        Proxy::Tokenrill,
        Proxy::Tokenrill2,
        Proxy::Translated,
        Proxy::Linger,
        Proxy::TwoTargets,
        Proxy::Sglang,
        Proxy::Portkey,
        Proxy::Litellm,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Proxy::Direct => "direct",
            Proxy::Relay => "bare relay",
            Proxy::Nginx => "nginx",
            Proxy::Nginx2 => "nginx, 2 workers",
            Proxy::Haproxy => "haproxy",
            Proxy::Tokenrill => "tokenrill",
            Proxy::Tokenrill2 => "tokenrill, 2 workers",
            Proxy::Translated => "translated",
            Proxy::Linger => "linger",
            Proxy::TwoTargets => "two targets",
            Proxy::Sglang => "sglang-router",
            Proxy::Portkey => "portkey",
            Proxy::Litellm => "litellm",
        }
    }

    /// How many workers it is given, where that can be said.
    fn workers(self) -> usize {
        if matches!(self, Proxy::Nginx2 | Proxy::Tokenrill2) {
            2
        } else {
            1
        }
    }

    /// What its client speaks, and which headers it sends.
    pub fn client(self, upstream: u16) -> String {
        match self {
            Proxy::Translated => "anthropic".to_owned(),
            Proxy::Linger => "openai-chat+x-linger: 15s".to_owned(),
            Proxy::Portkey => format!(
                "openai-chat+x-portkey-provider: openai+x-portkey-custom-host: http://127.0.0.1:{upstream}/v1+authorization: Bearer none"
            ),
            _ => "openai-chat".to_owned(),
        }
    }

    /// Its version; none if it is not installed.
    pub fn version(self, binary: &str) -> Option<String> {
        let python = |package: &str| {
            format!("import importlib.metadata as m; print(m.version('{package}'))")
        };
        match self {
            Proxy::Direct | Proxy::Relay => Some(String::new()),
            Proxy::Nginx | Proxy::Nginx2 => said(Command::new(installed("nginx")?).arg("-v")),
            Proxy::Haproxy => said(Command::new(installed("haproxy")?).arg("-v")),
            Proxy::Tokenrill
            | Proxy::Tokenrill2
            | Proxy::Translated
            | Proxy::Linger
            | Proxy::TwoTargets => said(Command::new(binary).arg("--version")),
            Proxy::Sglang => said(
                Command::new(tool("sglang/bin/python")?)
                    .arg("-c")
                    .arg(python("sglang-router")),
            ),
            Proxy::Portkey => {
                let about = std::fs::read(tool(
                    "portkey/node_modules/@portkey-ai/gateway/package.json",
                )?)
                .ok()?;
                let about: serde_json::Value = serde_json::from_slice(&about).ok()?;
                about["version"].as_str().map(str::to_owned)
            }
            Proxy::Litellm => said(
                Command::new(tool("litellm/bin/python")?)
                    .arg("-c")
                    .arg(python("litellm")),
            ),
        }
    }

    /// Starts it in front of that upstream; none if it is not installed or doesn't come up.
    pub fn start(self, binary: &str, upstream: u16) -> Option<Process> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let write = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("a config");
            path
        };
        let tmp = folder.path().join("tmp");
        let mut command = match self {
            Proxy::Direct => return Some(Process::none(upstream)),
            Proxy::Relay => {
                let mut command = Command::new(std::env::current_exe().expect("this binary"));
                command.args(["relay", &port.to_string(), &upstream.to_string()]);
                command
            }
            Proxy::Nginx | Proxy::Nginx2 => {
                let workers = self.workers();
                let config = format!(
                    "worker_processes {workers}; daemon off; pid {0}.pid; error_log /dev/null;\n\
                     events {{ worker_connections 20000; }}\n\
                     http {{ access_log off; client_body_temp_path {0}; proxy_temp_path {0}; fastcgi_temp_path {0}; uwsgi_temp_path {0}; scgi_temp_path {0};\n\
                     upstream up {{ server 127.0.0.1:{upstream}; keepalive 2000; }}\n\
                     server {{ listen 127.0.0.1:{port} backlog=4096; keepalive_requests 1000000; location / {{ proxy_pass http://up; proxy_http_version 1.1;\n\
                     proxy_set_header Connection \"\"; proxy_buffering off; proxy_read_timeout 10m; }} }} }}",
                    tmp.display()
                );
                let mut command = Command::new(installed("nginx")?);
                command
                    .arg("-c")
                    .arg(write("nginx.conf", config))
                    .args(["-e", "/dev/null"]);
                command
            }
            Proxy::Haproxy => {
                let config = format!(
                    "global\n maxconn 9500\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 10m\n timeout server 10m\n\
                     option http-no-delay\n option abortonclose\n\
                     frontend f\n bind 127.0.0.1:{port}\n default_backend b\nbackend b\n http-reuse always\n server s 127.0.0.1:{upstream}\n"
                );
                let mut command = Command::new(installed("haproxy")?);
                command.arg("-f").arg(write("haproxy.cfg", config));
                command
            }
            Proxy::Tokenrill
            | Proxy::Tokenrill2
            | Proxy::Translated
            | Proxy::Linger
            | Proxy::TwoTargets => {
                let workers = format!("workers = {}\n", self.workers());
                let mut config = tokenrill(port, upstream, &workers);
                if self == Proxy::TwoTargets {
                    config = with_second_target(&config, upstream);
                }
                let mut command = Command::new(binary);
                command.arg("--config").arg(write("tokenrill.toml", config));
                command
            }
            Proxy::Sglang => {
                let mut command = Command::new(tool("sglang/bin/python")?);
                command.args([
                    "-m",
                    "sglang_router.launch_router",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    &port.to_string(),
                ]);
                command.args([
                    "--worker-urls",
                    &format!("http://127.0.0.1:{upstream}"),
                    "--policy",
                    "round_robin",
                ]);
                command.args([
                    "--prometheus-port",
                    &free_port().to_string(),
                    "--log-level",
                    "error",
                ]);
                command
            }
            Proxy::Portkey => {
                let mut command = Command::new("node");
                command.arg(tool(
                    "portkey/node_modules/@portkey-ai/gateway/build/start-server.js",
                )?);
                command.args(["--headless", &format!("--port={port}")]);
                command.env("TRUSTED_CUSTOM_HOSTS", "127.0.0.1,localhost");
                command
            }
            Proxy::Litellm => {
                let config = format!(
                    "model_list:\n  - model_name: gpt\n    litellm_params:\n      model: openai/gpt\n      api_base: http://127.0.0.1:{upstream}/v1\n      api_key: none\n"
                );
                let mut command = Command::new(tool("litellm/bin/litellm")?);
                command.arg("--config").arg(write("litellm.yaml", config));
                command.args([
                    "--host",
                    "127.0.0.1",
                    "--port",
                    &port.to_string(),
                    "--num_workers",
                    "1",
                ]);
                command
                    .args(["--telemetry", "False"])
                    .env("LITELLM_LOG", "ERROR");
                command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
                command.env(
                    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY",
                    "true",
                );
                command
            }
        };
        Process::listening(&mut command, port, folder, &self.client(upstream))
    }
}

/// A configuration of tokenrill.
pub fn tokenrill(port: u16, upstream: u16, more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:{port}\"\n{more}[providers.up]\ndialect = \"openai-chat\"\nbase_url = \"http://127.0.0.1:{upstream}/v1\"\n\
         headers = {{ authorization = \"Bearer sk-arena-0123456789abcdef\" }}\n\
         [[models]]\nname = \"*\"\ntargets = [{{ provider = \"up\" }}]\n"
    )
}

/// A configuration of tokenrill whose model has a second target.
fn with_second_target(config: &str, upstream: u16) -> String {
    let second = format!(
        "[providers.other]\ndialect = \"openai-chat\"\nbase_url = \"http://127.0.0.1:{upstream}/v1\"\n[[models]]"
    );
    let targets = "{ provider = \"up\" }, { provider = \"other\" }";
    let config = config.replace("[[models]]", &second);
    config.replace("{ provider = \"up\" }", targets)
}

/// The last line that a command says.
fn said(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text)
        .lines()
        .next()?
        .trim()
        .to_owned();
    let version = line
        .split([' ', '/', '-'])
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    Some(version.unwrap_or(&line).to_owned())
}

fn installed(name: &str) -> Option<PathBuf> {
    ["/usr/sbin/", "/usr/bin/", "/usr/local/sbin/"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

/// What `benches/arena/peers` has installed.
fn tool(path: &str) -> Option<PathBuf> {
    std::path::absolute(Path::new("benches/.tools").join(path))
        .ok()
        .filter(|path| path.exists())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}

//! The command line: `tokenrill`, `check`, `tail` and `healthcheck`.
//!
//! Whatever a person got wrong is one line on stderr, which names it and says what would be right,
//! and exit code 2. The configuration's problems come all at once, a line for each.

mod tail;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::App;
use crate::config::{Config, LogFormat};
use crate::server::{self, Shutdown};
use crate::telemetry;
use dialect::Dialect;

/// The file that is read when none is named and it exists.
const DEFAULT_FILE: &str = "tokenrill.toml";

/// Time limit for a text that is printed for a person.
const PRINT_TIMEOUT: Duration = Duration::from_secs(1);

/// An LLM token-streaming proxy: prompts in over HTTP, tokens out as Server-Sent Events, and
/// nothing lost between.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    /// The configuration file [default: tokenrill.toml, if there is one]
    #[arg(long, value_name = "FILE", env = "TOKENRILL_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Listen here, whatever the configuration says
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the configuration and the prompt templates, and start nothing
    Check,
    /// Print the tokens of a stream as they come, and resume it when its connection breaks
    Tail(tail::Tail),
    /// Ask a running server whether it is well: exit code 0 if so
    Healthcheck {
        /// URL to read
        #[arg(default_value = "http://127.0.0.1:8080/healthz")]
        url: String,
    },
}

/// An error that ends the process with exit code 2: for a person, a line for each thing to repair.
type Complaint = String;

/// Does what the arguments say.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    // One TLS implementation for all; a second installation, as tests may make, changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let result = match &arguments.command {
        None => serve(&arguments),
        Some(Command::Check) => check(&arguments),
        Some(Command::Tail(options)) => block_on(tail::tail(options)),
        Some(Command::Healthcheck { url }) => block_on(healthcheck(url)),
    };
    match result {
        Ok(code) => code,
        Err(complaint) => {
            let lines = complaint.lines().map(|line| format!("tokenrill: {line}\n"));
            print_in_time(std::io::stderr(), lines.collect());
            ExitCode::from(2)
        }
    }
}

fn serve(arguments: &Arguments) -> Result<ExitCode, Complaint> {
    let (mut config, _file) = load(arguments)?;
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    let format = match config.log.format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    let _log = telemetry::init(format, &config.log.level).map_err(|error| error.to_string())?;
    runtime()?.block_on(async {
        // From here on it ends nothing, though it is logged only later.
        let hangup = signal(SignalKind::hangup()).map_err(cannot_listen_to_signals)?;
        let (address, client_stall) = (config.listen, config.timeouts.connection.client_stall);
        let scheme = if config.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let app = App::new(config).map_err(|error| error.to_string())?;
        app.connect().await.map_err(|error| error.to_string())?;
        let listener =
            server::bind(address, client_stall).map_err(|error| cannot_listen(address, &error))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let shutdown = Shutdown::default();
        let signals = signals(shutdown.clone(), hangup).map_err(cannot_listen_to_signals)?;
        let server = app
            .server(listener, shutdown.clone())
            .map_err(|error| error.to_string())?;
        greet(scheme, address);
        tokio::select! {
            ended = server.run() => ended.map_err(|error| format!("can't start: {error}"))?,
            // Never ends: it only tells the server to.
            () = signals => {}
        }
        Ok(if shutdown.now.is_cancelled() {
            ExitCode::from(130)
        } else {
            ExitCode::SUCCESS
        })
    })
}

fn cannot_listen_to_signals(error: std::io::Error) -> Complaint {
    format!("can't listen to signals: {error}")
}

/// First signal: drain. Second: end now. A hangup ends nothing: it is a terminal that is closed, or
/// somebody who expects a reload.
fn signals(shutdown: Shutdown, mut hangup: Signal) -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    Ok(async move {
        let mut steps = [&shutdown.drain, &shutdown.now].into_iter();
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {
                    tracing::warn!("SIGHUP is ignored: the configuration is read at the start only");
                    continue;
                }
            }
            if let Some(step) = steps.next() {
                step.cancel();
            }
        }
    })
}

fn greet(scheme: &str, address: SocketAddr) {
    let greeting = format!(
        "tokenrill {} listens on {scheme}://{address}\ntry: curl -N '{scheme}://{address}/stream?prompt=Hello'\n",
        env!("CARGO_PKG_VERSION"),
    );
    print_in_time(std::io::stdout(), greeting);
}

/// Writes text for a person, who may have closed the stream, or leave it unread: neither may fail
/// the process or hold it for long.
fn print_in_time(mut out: impl std::io::Write + Send + 'static, text: String) {
    let (written, is_written) = sync_channel(1);
    #[expect(
        clippy::disallowed_methods,
        reason = "waited for, within a time limit: the stream may block for ever"
    )]
    let printing = std::thread::Builder::new().spawn(move || {
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        let _ = written.send(());
    });
    if printing.is_ok() {
        let _ = is_written.recv_timeout(PRINT_TIMEOUT);
    }
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Complaint {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "; another process has it: stop that, or choose another with --listen ADDR"
        }
        std::io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need rights: choose another with --listen ADDR"
        }
        _ => "",
    };
    format!("can't listen on {address}: {error}{hint}")
}

fn check(arguments: &Arguments) -> Result<ExitCode, Complaint> {
    let (config, file) = load(arguments)?;
    let (providers, models) = (config.providers.len(), config.models.len());
    let app = App::new(config).map_err(|error| error.to_string())?;
    // Built as they would be, and not used.
    drop(app.router().map_err(|error| error.to_string())?);
    let name = file.map_or("the configuration".to_owned(), |file| {
        file.display().to_string()
    });
    let prompts = app.prompts();
    let _ = writeln!(
        std::io::stdout(),
        "tokenrill: {name} is fine: {providers} providers, {models} models, {prompts} prompts"
    );
    Ok(ExitCode::SUCCESS)
}

fn load(arguments: &Arguments) -> Result<(Config, Option<PathBuf>), Complaint> {
    let file = arguments.config.clone().or_else(|| {
        let default = Path::new(DEFAULT_FILE);
        default.exists().then(|| default.to_owned())
    });
    let dialects: Vec<&str> = Dialect::upstream_names().collect();
    let config = Config::load(file.as_deref(), std::env::vars_os(), &dialects)
        .map_err(|error| error.to_string())?;
    Ok((config, file))
}

/// For accepting connections and for small errands; workers have their own.
fn runtime() -> Result<Runtime, Complaint> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("can't start: {error}"))
}

fn block_on(
    work: impl Future<Output = Result<ExitCode, Complaint>>,
) -> Result<ExitCode, Complaint> {
    runtime()?.block_on(work)
}

async fn healthcheck(url: &str) -> Result<ExitCode, Complaint> {
    let client = reqwest::Client::builder()
        .no_proxy()
        // It asks on the same machine, by an address that no certificate names, and sends nothing
        // that is secret.
        .danger_accept_invalid_certs(true)
        .timeout(Duration::from_secs(3))
        .build()
        .map_err(|error| error.to_string())?;
    match client.get(url).send().await {
        Ok(response) if response.status().is_success() => Ok(ExitCode::SUCCESS),
        Ok(response) => {
            let status = response.status();
            print_in_time(
                std::io::stderr(),
                format!("tokenrill: {url} answers {status}\n"),
            );
            Ok(ExitCode::FAILURE)
        }
        Err(error) => {
            let complaint = format!("tokenrill: {url} does not answer: {error}\n");
            print_in_time(std::io::stderr(), complaint);
            Ok(ExitCode::FAILURE)
        }
    }
}

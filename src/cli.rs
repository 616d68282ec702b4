//! The command line: `tokenrill`, `init`, `keys`, `check`, `probe`, `tail` and `healthcheck`.
//!
//! Whatever a person got wrong is one line on stderr, which names it and says what would be right,
//! and exit code 2. The configuration's problems come all at once, a line for each.

mod init;
mod keys;
mod prices;
mod probe;
mod tail;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use clap::{Parser, Subcommand};
use sd_notify::NotifyState;
use tokio::runtime::{self, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, ConfigSource};
use crate::config::{Config, ConfigError, LogFormat};
use crate::server::Shutdown;
use crate::server::listener::{self, ListenOptions};
use crate::service::ReloadHandle;
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
    /// Print a configuration for the providers whose keys the environment names
    Init {
        /// Write it to this file, which must not exist
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Ask a provider for its models and for one token, and say what is wrong
    Probe {
        /// The provider's name in the configuration
        provider: String,
        /// The model to ask, by its name there
        #[arg(long)]
        model: Option<String>,
    },
    /// Make, list, rotate and revoke the keys of clients
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// Import the prices of models
    Prices {
        #[command(subcommand)]
        command: PricesCommand,
    },
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

#[derive(Debug, Subcommand)]
enum PricesCommand {
    /// Print the prices of LiteLLM's or genai-prices' JSON in the form of `prices.file`
    Import {
        /// The file
        file: PathBuf,
    },
}

/// An error that ends the process with exit code 2: for a person, a line for each thing to repair.
type Complaint = String;

/// Does what the arguments say.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    // One TLS implementation for all; a second installation, as tests may make, changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match &arguments.command {
        None => serve(&arguments),
        Some(Command::Init { output }) => init(output.as_deref()),
        Some(Command::Probe { provider, model }) => probe(&arguments, provider, model.clone()),
        Some(Command::Keys { command }) => keys::run(&arguments, command),
        Some(Command::Prices {
            command: PricesCommand::Import { file },
        }) => prices::import(file),
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
    let client_stall = config.timeouts.connection.client_stall;
    // Before there is another thread: taking it changes the environment.
    let inherited = listener::inherited(client_stall)
        .map_err(|error| format!("can't use the socket of the service manager: {error}"))?;
    if let Some(listener) = &inherited {
        config.listen = listener.local_addr().map_err(|error| error.to_string())?;
    }
    config.check_exposure(config.listen)?;
    let format = match config.log.format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    let _log = telemetry::init(format, &config.log.level).map_err(|error| error.to_string())?;
    runtime()?.block_on(async {
        // From here on it ends nothing, though it is logged only later.
        let hangup = signal(SignalKind::hangup()).map_err(cannot_listen_to_signals)?;
        let options = ListenOptions {
            address: config.listen,
            reuse_port: config.reuse_port,
            client_stall,
        };
        let scheme = if config.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let hint = first_request(&config);
        let source = config_source(arguments, config.listen);
        let app = App::new(config).map_err(|error| error.to_string())?;
        app.connect().await.map_err(|error| error.to_string())?;
        let listener = inherited
            .map_or_else(|| listener::bind(&options), Ok)
            .map_err(|error| cannot_listen(options.address, &error))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let admin = admin_listener(&app, &options)?;
        let shutdown = Shutdown::default();
        let signals = signals(shutdown.clone(), hangup, app.reload_handle())
            .map_err(cannot_listen_to_signals)?;
        let (server, reloader) = app
            .reloadable(listener, admin, shutdown.clone())
            .map_err(|error| error.to_string())?;
        greet(scheme, address, hint);
        // Without a service manager there is nobody to tell.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let told = async {
            shutdown.drain.cancelled().await;
            let _ = sd_notify::notify(&[NotifyState::Stopping]);
            std::future::pending().await
        };
        tokio::select! {
            ended = server.run() => ended.map_err(|error| format!("can't start: {error}"))?,
            // Never ends: it only tells the server to.
            () = signals => {}
            () = told => {}
            () = reloader.run(source) => {}
        }
        Ok(if shutdown.now.is_cancelled() {
            ExitCode::from(130)
        } else {
            ExitCode::SUCCESS
        })
    })
}

/// Returns the place that the configuration is read from again: on whatever address it listens.
fn config_source(arguments: &Arguments, listen: SocketAddr) -> ConfigSource {
    let file = config_file(arguments);
    let path = file.clone();
    let load = move || {
        let config = load_from(path.as_deref())?;
        Ok(Config { listen, ..config })
    };
    ConfigSource {
        file,
        load: Arc::new(load),
    }
}

/// Returns the listener for operators, if they have an address.
fn admin_listener(app: &App, clients: &ListenOptions) -> Result<Option<TcpListener>, Complaint> {
    let Some(address) = app.admin_address() else {
        return Ok(None);
    };
    let options = ListenOptions {
        address,
        ..*clients
    };
    let listener = listener::bind(&options).map_err(|error| cannot_listen(address, &error))?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    tracing::info!(address = %bound, "listening for operators");
    Ok(Some(listener))
}

fn cannot_listen_to_signals(error: std::io::Error) -> Complaint {
    format!("can't listen to signals: {error}")
}

/// First signal: drain. Second: end now. A hangup has the configuration read again.
fn signals(
    shutdown: Shutdown,
    mut hangup: Signal,
    reload: ReloadHandle,
) -> std::io::Result<impl Future<Output = ()>> {
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
                    // What became of it is logged where it happens.
                    let _ = reload.reload().await;
                    continue;
                }
            }
            if let Some(step) = steps.next() {
                step.cancel();
            }
        }
    })
}

/// Returns the query of a request that works with this configuration.
fn first_request(config: &Config) -> &'static str {
    let has_default = config.default_model.is_some()
        || config.models.is_empty()
        || config.models.iter().any(|model| model.name != "*");
    match has_default {
        true => "prompt=Hello",
        false => "prompt=Hello&model=NAME",
    }
}

fn greet(scheme: &str, address: SocketAddr, query: &str) {
    let greeting = format!(
        "tokenrill {} listens on {scheme}://{address}\ntry: curl -N '{scheme}://{address}/stream?{query}'\n",
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

/// Prints a configuration, or writes it to a new file.
fn init(output: Option<&Path>) -> Result<ExitCode, Complaint> {
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let text = init::configuration(&env.collect());
    let Some(file) = output else {
        print_in_time(std::io::stdout(), text);
        return Ok(ExitCode::SUCCESS);
    };
    let written = std::fs::File::create_new(file).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| format!("can't write {}: {error}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks a provider; the exit code is 0 if it has answered.
fn probe(
    arguments: &Arguments,
    provider: &str,
    model: Option<String>,
) -> Result<ExitCode, Complaint> {
    let (config, _file) = load(arguments)?;
    let report = runtime()?.block_on(probe::probe(config, provider, model))?;
    print_in_time(std::io::stdout(), report.text);
    Ok(match report.is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn check(arguments: &Arguments) -> Result<ExitCode, Complaint> {
    let (config, file) = load(arguments)?;
    let (providers, models) = (config.providers.len(), config.models.len());
    config.check_exposure(arguments.listen.unwrap_or(config.listen))?;
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
    if let Some(keys) = app.keys() {
        let keys = keys.list();
        print_in_time(
            std::io::stdout(),
            keys.iter().map(|key| keys::effective(key)).collect(),
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn load(arguments: &Arguments) -> Result<(Config, Option<PathBuf>), Complaint> {
    let file = config_file(arguments);
    let config = load_from(file.as_deref()).map_err(|error| error.to_string())?;
    Ok((config, file))
}

fn config_file(arguments: &Arguments) -> Option<PathBuf> {
    arguments.config.clone().or_else(|| {
        let default = Path::new(DEFAULT_FILE);
        default.exists().then(|| default.to_owned())
    })
}

fn load_from(file: Option<&Path>) -> Result<Config, ConfigError> {
    let dialects: Vec<&str> = Dialect::upstream_names().collect();
    Config::load(file, std::env::vars_os(), &dialects)
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

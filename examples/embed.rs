//! Embeds tokenrill in a program of one's own: a route beside its routes, a free port, an orderly end.
//!
//! ```sh
//! cargo run --example embed
//! ```

use std::error::Error;
use std::io::Write;

use axum::Router;
use axum::routing::get;
use dialect::Dialect;
use tokenrill::app::App;
use tokenrill::config::Config;
use tokenrill::server::Shutdown;
use tokenrill::server::listener::{ListenOptions, bind};

/// Starts a server, asks it for a stream and for a page of this program's own, and stops it.
pub(crate) async fn run() -> Result<(String, String), Box<dyn Error>> {
    // One TLS implementation for the whole process.
    let _ = rustls::crypto::ring::default_provider().install_default();

    // A program may name a TOML file here. Without one every key can be given as a variable, and the
    // embedded mock model is served.
    let keys = [
        ("TOKENRILL_WORKERS", "1"),
        ("TOKENRILL_MOCK_TOKENS_PER_SECOND", "0"),
    ];
    let variables = keys.map(|(name, value)| (name.into(), value.into()));
    let dialects: Vec<&str> = Dialect::upstream_names().collect();
    let config = Config::load(None, variables.into_iter(), &dialects)?;

    let client_stall = config.timeouts.connection.client_stall;
    let app = App::new(config)?;
    app.connect().await?;
    let listener = bind(&ListenOptions {
        address: "127.0.0.1:0".parse()?,
        reuse_port: false,
        client_stall,
    })?;
    let address = listener.local_addr()?;
    let shutdown = Shutdown::default();
    let server = app.server(listener, shutdown.clone())?;

    // Each worker has a router of its own; these routes stand beside tokenrill's.
    for router in &server.routers {
        let own = Router::new().route(
            "/about",
            get(|| async { "a program that embeds tokenrill" }),
        );
        router.replace(own.merge(router.current()));
    }

    let client = async {
        let stream = format!("http://{address}/stream?prompt=Hello&max_tokens=4");
        let tokens = reqwest::get(stream).await?.text().await?;
        let about = reqwest::get(format!("http://{address}/about"));
        let about = about.await?.text().await?;
        // Running streams may finish; `shutdown.now` would end them at once.
        shutdown.drain.cancel();
        Ok::<_, Box<dyn Error>>((tokens, about))
    };
    let (served, answers) = tokio::join!(server.run(), client);
    served?;
    answers
}

#[cfg_attr(test, expect(dead_code, reason = "a test calls `run` instead"))]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (tokens, about) = run().await?;
    writeln!(std::io::stdout(), "{tokens}{about}")?;
    Ok(())
}

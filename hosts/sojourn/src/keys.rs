//! `sojourn keys`: on the data directory while no server uses it, else over a server.

use crate::client::Server;
use crate::clock::Clock;
use crate::config;
use crate::serve;
use crate::storage::DataDir;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The data directory of a server that is not running: how the first key is made.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a key; its secret is shown once.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// server: sends events · browser: sends events from pages · admin: everything.
        #[arg(long, default_value = "server", value_parser = ["server", "browser", "admin"])]
        scope: String,
    },
    /// Show all keys, without their secrets.
    List,
    /// Let a key open nothing any more, from now on.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

/// # Errors
/// What was refused, or that nothing can be reached.
pub fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    match &arguments.data {
        None => over(&arguments.server, &arguments.command),
        Some(data) => offline(data, &arguments.command),
    }
}

/// Starts the system on the data directory without a listening socket anyone knows, and asks it.
fn offline(data: &std::path::Path, command: &Command) -> Result<ExitCode, String> {
    let _data = DataDir::open(data)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    let arguments = serve::Arguments {
        data: data.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        config: None,
        dev: true,
        accept_rules_change: false,
    };
    let config = config::read(None)?;
    let (address, running) = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(arguments.listen).await.map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let running = serve::start(&arguments, config, address, &Arc::new(Clock::start()))?;
        let app = http_api::router(Arc::clone(&running.shared)).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok::<_, String>((address, running))
    })?;
    let server = Server { server: format!("http://{address}"), key: "dev-admin".to_owned() };
    let result = over(&server, command);
    running.shared.handle.shut_down();
    running.worker.join().map_err(|_| "the worker ended in a panic".to_owned())?;
    result
}

fn over(server: &Server, command: &Command) -> Result<ExitCode, String> {
    match command {
        Command::Create { name, scope } => {
            let body = json!({"name": name, "scope": scope});
            let request = server.request(Method::POST, "/api/v1/keys")?.json(&body);
            let key: Value = server.send(request)?.json().map_err(|error| error.to_string())?;
            let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
            println!("{}", text("key"));
            eprintln!("key {} ({}), shown this once: keep it where secrets are kept", text("id"), text("scope"));
        }
        Command::List => {
            let request = server.request(Method::GET, "/api/v1/keys")?;
            let keys: Value = server.send(request)?.json().map_err(|error| error.to_string())?;
            let keys = keys["keys"].as_array().cloned().unwrap_or_default();
            if keys.is_empty() {
                println!("no keys yet; `sojourn keys create --name … --scope server` makes one");
            }
            for key in keys {
                let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
                let revoked = if key["revoked_at"].is_null() {
                    String::new()
                } else {
                    format!(" revoked {}", text("revoked_at"))
                };
                println!("{} {:<8} {} {}{revoked}", text("id"), text("scope"), text("created_at"), text("name"));
            }
        }
        Command::Revoke { id } => {
            server.send(server.request(Method::DELETE, &format!("/api/v1/keys/{id}"))?)?;
            println!("{id} opens nothing any more");
        }
    }
    Ok(ExitCode::SUCCESS)
}

//! `sojourn keys`: on the data directory while no server uses it, else over a server.

use crate::client::Server;
use crate::clock::Clock;
use crate::config;
use crate::progress;
use crate::serve::log_to_stderr;
use crate::storage::{DataDir, open_log, open_state, told};
use engine::command::{ControlCommand, KeyScope};
use engine::control::HeldKey;
use log_file::LogFile;
use model::Text;
use processor::Offline;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The data directory of a server that is not running: how the first key is made. Nothing is sent and no timer
    /// fires meanwhile.
    #[arg(long, global = true)]
    data: Option<PathBuf>,
    /// The configuration that `serve` has; with --data.
    #[arg(long, global = true, requires = "data")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: Server,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make a key; its secret is shown once.
    #[command(
        after_help = "Examples:\n  sojourn keys create --name shop --data /var/lib/sojourn\n  sojourn keys create \
                            --name pages --scope browser --server https://sojourn.example --key $KEY"
    )]
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// server: sends events · browser: sends events from pages · admin: everything.
        #[arg(long, default_value = "server", value_parser = ["server", "browser", "admin"])]
        scope: String,
    },
    /// Show all keys, without their secrets.
    #[command(after_help = "Examples:\n  sojourn keys list --data /var/lib/sojourn")]
    List,
    /// Let a key open nothing any more, from now on.
    #[command(after_help = "Examples:\n  sojourn keys revoke key_0123456789abcdef --data /var/lib/sojourn")]
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

/// Who made the changes that this tool makes, for the audit log.
const BY: &str = "sojourn keys";

/// # Errors
/// What was refused, or that nothing can be reached.
pub fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    match &arguments.data {
        None => over(&arguments.server, &arguments.command)?,
        Some(data) => offline(data, arguments.config.as_deref(), &arguments.command)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Changes the control log alone; nothing of the system runs.
fn offline(data: &Path, config: Option<&Path>, command: &Command) -> Result<(), String> {
    let config = config::read(config)?;
    let _data = match command {
        Command::Create { .. } => DataDir::open(data)?,
        Command::List | Command::Revoke { .. } => DataDir::open_existing(data)?,
    };
    log_to_stderr("warn");
    let mut control = progress::of("reading the log", || {
        let log = open_log(data, &config.storage)?;
        Offline::open(log, &open_state(data)?).map_err(|error| told(&error))
    })?;
    let now = Clock::start().now();
    match command {
        Command::Create { name, scope } => {
            let scope = KeyScope::parse(scope).ok_or_else(|| format!("there is no scope {scope}"))?;
            let (secret, key) = http_api::new_key(name, scope, now).map_err(|problem| problem.detail)?;
            let id = key.id.clone();
            append(&mut control, ControlCommand::KeyCreated { key, by: BY.into() })?;
            show_new(&secret, &id, scope.as_str());
        }
        Command::List => {
            let shown = control.control().keys.values().map(|HeldKey { key, revoked_at, .. }| Shown {
                id: key.id.to_string(),
                scope: key.scope.as_str().to_owned(),
                created_at: key.created_at.to_string(),
                name: key.name.to_string(),
                revoked_at: revoked_at.map(|at| at.to_string()),
            });
            show(&shown.collect::<Vec<_>>());
        }
        Command::Revoke { id } => {
            let id = Text::from(id.as_str());
            if !control.control().keys.contains_key(&id) {
                return Err(format!("there is no key {id}; `sojourn keys list` shows those there are"));
            }
            append(&mut control, ControlCommand::KeyRevoked { id: id.clone(), by: BY.into() })?;
            println!("{id} opens nothing any more");
        }
    }
    Ok(())
}

fn append(control: &mut Offline<LogFile>, command: ControlCommand) -> Result<(), String> {
    control.append(command, Clock::start().now()).map(|_| ()).map_err(|error| told(&error))
}

fn over(server: &Server, command: &Command) -> Result<(), String> {
    match command {
        Command::Create { name, scope } => {
            let body = json!({"name": name, "scope": scope});
            let request = server.request(Method::POST, "/api/v1/keys")?.json(&body);
            let key: Value = server.send(request)?.json().map_err(|error| error.to_string())?;
            show_new(&text(&key, "key"), &text(&key, "id"), &text(&key, "scope"));
        }
        Command::List => {
            let request = server.request(Method::GET, "/api/v1/keys")?;
            let keys: Value = server.send(request)?.json().map_err(|error| error.to_string())?;
            let shown = keys["keys"].as_array().into_iter().flatten().map(|key| Shown {
                id: text(key, "id"),
                scope: text(key, "scope"),
                created_at: text(key, "created_at"),
                name: text(key, "name"),
                revoked_at: key["revoked_at"].as_str().map(str::to_owned),
            });
            show(&shown.collect::<Vec<_>>());
        }
        Command::Revoke { id } => {
            server.send(server.request(Method::DELETE, &format!("/api/v1/keys/{id}"))?)?;
            println!("{id} opens nothing any more");
        }
    }
    Ok(())
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// A key as `list` shows it.
struct Shown {
    id: String,
    scope: String,
    created_at: String,
    name: String,
    revoked_at: Option<String>,
}

fn show(keys: &[Shown]) {
    if keys.is_empty() {
        println!("no keys yet; `sojourn keys create --name … --scope server` makes one");
    }
    for Shown { id, scope, created_at, name, revoked_at } in keys {
        let revoked = revoked_at.as_ref().map(|at| format!(" revoked {at}")).unwrap_or_default();
        println!("{id} {scope:<8} {created_at} {name}{revoked}");
    }
}

/// The secret alone goes to the output, so that a script can take it.
fn show_new(secret: &str, id: &str, scope: &str) {
    println!("{secret}");
    eprintln!("key {id} ({scope}), shown this once: keep it where secrets are kept");
}

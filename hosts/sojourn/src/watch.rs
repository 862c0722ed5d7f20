//! `sojourn tail` and `sojourn explain`.

use crate::client::Server;
use reqwest::Method;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Tail {
    #[command(flatten)]
    server: Server,
    /// Only events of this trigger.
    #[arg(long)]
    trigger: Option<String>,
}

#[derive(clap::Args)]
pub struct Explain {
    #[command(flatten)]
    server: Server,
    /// kind:value, such as user_id:42, or the profile's id.
    #[arg(long)]
    profile: String,
    #[arg(long)]
    journey: String,
}

/// # Errors
/// That the server cannot be reached, or went away.
pub fn tail(arguments: &Tail) -> Result<ExitCode, String> {
    let mut request = arguments.server.stream("/api/v1/tail")?;
    if let Some(trigger) = &arguments.trigger {
        request = request.query(&[("trigger", trigger)]);
    }
    eprintln!("waiting for events; Ctrl-C ends");
    let mut missed = false;
    for line in BufReader::new(arguments.server.send(request)?).lines() {
        let line = line.map_err(|error| format!("the server went away: {error}"))?;
        if line == "event: missed" {
            missed = true;
        }
        let Some(data) = line.strip_prefix("data: ") else { continue };
        if std::mem::take(&mut missed) {
            println!("({data})");
            continue;
        }
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        println!("{} {} {} {}", text("at"), text("verdict"), text("what"), text("profile"));
        if !event["reason"].is_null() {
            println!("    {}", text("reason"));
        }
        for did in event["did"].as_array().into_iter().flatten() {
            println!("    {}", did.as_str().unwrap_or_default());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// # Errors
/// That the server cannot be reached, or does not know profile or journey.
pub fn explain(arguments: &Explain) -> Result<ExitCode, String> {
    let Explain { server, profile, journey } = arguments;
    let request = server.request(Method::GET, "/api/v1/explain")?.query(&[("profile", profile), ("journey", journey)]);
    let answer: Value = server.send(request)?.json().map_err(|error| error.to_string())?;
    println!("{profile} {}", answer["summary"].as_str().unwrap_or_default());
    for moment in answer["why"].as_array().into_iter().flatten() {
        println!("{} {}", moment["at"].as_str().unwrap_or_default(), moment["what"].as_str().unwrap_or_default());
        for did in moment["did"].as_array().into_iter().flatten() {
            println!("    {}", did.as_str().unwrap_or_default());
        }
    }
    Ok(ExitCode::SUCCESS)
}

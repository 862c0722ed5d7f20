//! `sojourn apply`, `export` and `diff`: documents between files and a server.

use crate::check::Loaded;
use crate::client::{Server, finding_line};
use crate::progress;
use model::document::read_documents;
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Apply {
    /// Files and folders; of folders every .yaml, .yml and .json below.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    server: Server,
    /// Only show what would change.
    #[arg(long)]
    dry_run: bool,
}

#[derive(clap::Args)]
pub struct Export {
    #[command(flatten)]
    server: Server,
}

#[derive(clap::Args)]
pub struct Diff {
    /// Files and folders; of folders every .yaml, .yml and .json below.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    server: Server,
}

/// Plans first, shows the plan, then applies it; refused when somebody else published in between.
///
/// # Errors
/// What the server refused, or that it cannot be reached.
pub fn apply(arguments: &Apply) -> Result<ExitCode, String> {
    let Apply { paths, server, dry_run } = arguments;
    let loaded = readable(paths, "nothing was applied")?;
    let texts: Vec<String> = loaded.documents.iter().map(model::Document::to_yaml).collect();
    let body = texts.join("---\n");
    let request = server.request(Method::POST, "/api/v1/documents?dry_run=true")?.body(body.clone());
    let plan: Value = progress::of("planning", || server.send(request))?.json().map_err(|error| error.to_string())?;
    let mut changes = 0;
    for line in plan["plan"].as_array().into_iter().flatten() {
        let action = line["action"].as_str().unwrap_or_default();
        if action != "unchanged" {
            changes += 1;
            println!("{action:<9} {} (version {})", line["document"].as_str().unwrap_or_default(), line["version"]);
        }
    }
    for finding in plan["findings"].as_array().into_iter().flatten() {
        println!("{}", finding_line(finding));
    }
    if changes == 0 {
        println!("nothing to change: the server has these documents");
        return Ok(ExitCode::SUCCESS);
    }
    if *dry_run {
        println!("{changes} to change; nothing was changed (--dry-run)");
        return Ok(ExitCode::SUCCESS);
    }
    let request = server.request(Method::POST, "/api/v1/documents")?;
    let request = request.header("if-match", format!("\"{}\"", plan["catalog_version"])).body(body);
    let applied = progress::of("applying", || server.send(request))?;
    let applied: Value = applied.json().map_err(|error| error.to_string())?;
    println!("{changes} applied; the catalog is at version {}", applied["catalog_version"]);
    Ok(ExitCode::SUCCESS)
}

/// The documents of `paths`, all of them or none: one that cannot be read is not one that is missing.
fn readable(paths: &[PathBuf], so: &str) -> Result<Loaded, String> {
    let loaded = Loaded::from(paths)?;
    if loaded.findings.is_empty() {
        return Ok(loaded);
    }
    loaded.findings.iter().for_each(|finding| println!("{finding}"));
    Err(format!("some files cannot be read; {so}"))
}

fn exported(server: &Server) -> Result<String, String> {
    let request = server.request(Method::GET, "/api/v1/documents")?.header("accept", "application/yaml");
    server.send(request)?.text().map_err(|error| error.to_string())
}

/// # Errors
/// That the server cannot be reached or refuses.
pub fn export(arguments: &Export) -> Result<ExitCode, String> {
    print!("{}", exported(&arguments.server)?);
    Ok(ExitCode::SUCCESS)
}

/// Exit code 1 when something differs.
///
/// # Errors
/// That the server cannot be reached, or a file not read.
pub fn diff(arguments: &Diff) -> Result<ExitCode, String> {
    let ours = by_id(readable(&arguments.paths, "nothing was compared")?.documents);
    let held = read_documents(&exported(&arguments.server)?);
    if let Some(finding) = held.findings.first() {
        return Err(format!("the server has a document that this program cannot read; is it newer? {finding}"));
    }
    let theirs = by_id(held.documents);
    let mut differences = 0;
    for (id, text) in &ours {
        match theirs.get(id) {
            None => {
                differences += 1;
                println!("only in the files: {id}");
            }
            Some(held) if held != text => {
                differences += 1;
                println!("differs: {id}");
                print_lines(held, text);
            }
            Some(_) => {}
        }
    }
    for id in theirs.keys().filter(|id| !ours.contains_key(*id)) {
        differences += 1;
        println!("only on the server: {id}");
    }
    println!("{differences} difference{}", if differences == 1 { "" } else { "s" });
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn by_id(documents: Vec<model::Document>) -> BTreeMap<String, String> {
    documents.into_iter().map(|document| (document.id().to_string(), document.to_yaml())).collect()
}

/// Lines that only one side has, in order.
fn print_lines(held: &str, text: &str) {
    let (held, text): (Vec<&str>, Vec<&str>) = (held.lines().collect(), text.lines().collect());
    held.iter().filter(|line| !text.contains(line)).for_each(|line| println!("  - {line}"));
    text.iter().filter(|line| !held.contains(line)).for_each(|line| println!("  + {line}"));
}

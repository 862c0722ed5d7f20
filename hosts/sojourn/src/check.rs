//! `sojourn check` and `sojourn test`: documents in files, without a server.

use crate::progress;
use catalog::{Built, Catalog, Change};
use model::document::{Kind, read_documents};
use model::places::Places;
use model::{CatalogVersion, Document, Finding, Severity};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct Arguments {
    /// Files and folders; of folders every .yaml, .yml and .json below.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

#[derive(clap::Args)]
pub struct TestArguments {
    /// Files and folders; of folders every .yaml, .yml and .json below.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print the whole trace of tests that fail.
    #[arg(long)]
    trace: bool,
}

/// Documents with the files they came from.
pub struct Loaded {
    pub documents: Vec<Document>,
    files: Vec<PathBuf>,
    /// By file: what stands on which line.
    places: BTreeMap<PathBuf, Places>,
    pub findings: Vec<Finding>,
}

impl Loaded {
    /// # Errors
    /// A path that cannot be read.
    pub fn from(paths: &[PathBuf]) -> Result<Self, String> {
        let mut loaded =
            Loaded { documents: Vec::new(), files: Vec::new(), places: BTreeMap::new(), findings: Vec::new() };
        for path in files_of(paths)? {
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let read = read_documents(&text);
            loaded.files.extend(read.documents.iter().map(|_| path.clone()));
            loaded.documents.extend(read.documents);
            let file = Some(path.display().to_string());
            loaded.places.insert(path.clone(), Places::of(&text));
            loaded.findings.extend(read.findings.into_iter().map(|finding| Finding { file: file.clone(), ..finding }));
        }
        if loaded.documents.is_empty() && loaded.findings.is_empty() {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            return Err(format!("no documents below {}; they end in .yaml, .yml or .json", paths.join(", ")));
        }
        Ok(loaded)
    }

    /// The findings of everything together, each with its file.
    pub fn check(&self) -> Vec<Finding> {
        let changes: Vec<Change> = self.documents.iter().cloned().map(Change::Put).collect();
        let Built { findings, .. } = Catalog::empty().with(CatalogVersion(1), &changes);
        let placed = findings.into_iter().map(|finding| {
            let at = self.documents.iter().position(|document| document.id().to_string() == finding.document);
            let file = at.map(|at| &self.files[at]);
            let places = file.and_then(|file| self.places.get(file));
            let line = places.and_then(|places| places.line(&finding.document, finding.step.as_deref(), &finding.path));
            Finding { file: file.map(|file| file.display().to_string()), line, ..finding }
        });
        self.findings.iter().cloned().chain(placed).collect()
    }

    fn file_of(&self, kind: Kind, name: &str) -> String {
        let at = self.documents.iter().position(|document| document.spec.kind() == kind && document.name == *name);
        at.map(|at| self.files[at].display().to_string()).unwrap_or_default()
    }
}

fn files_of(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    fn below(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
        if !path.is_dir() {
            files.push(path.to_owned());
            return Ok(());
        }
        let mut entries =
            std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        entries.sort();
        for entry in entries {
            let extension = entry.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if entry.is_dir() || ["yaml", "yml", "json"].contains(&extension) {
                below(&entry, files)?;
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    for path in paths {
        below(path, &mut files).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(files)
}

/// # Errors
/// A path that cannot be read.
pub fn check(arguments: &Arguments) -> Result<ExitCode, String> {
    let loaded = Loaded::from(&arguments.paths)?;
    let findings = loaded.check();
    findings.iter().for_each(|finding| println!("{finding}"));
    let bad = |finding: &&Finding| finding.severity == Severity::Error;
    let failed: std::collections::BTreeSet<(&str, &str)> = findings
        .iter()
        .filter(bad)
        .map(|finding| (finding.file.as_deref().unwrap_or_default(), finding.document.as_str()))
        .collect();
    let passed =
        loaded.documents.len().saturating_sub(failed.iter().filter(|(_, document)| !document.is_empty()).count());
    Ok(closing(passed, failed.len()))
}

/// # Errors
/// A path that cannot be read.
pub fn test(arguments: &TestArguments) -> Result<ExitCode, String> {
    let loaded = Loaded::from(&arguments.paths)?;
    let findings = loaded.check();
    let errors: Vec<&Finding> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    if !errors.is_empty() {
        errors.iter().for_each(|finding| println!("{finding}"));
        return Ok(closing(0, errors.len()));
    }
    let outcomes = progress::of("testing", || replay::run_tests(&loaded.documents));
    let mut failed = 0;
    for outcome in &outcomes {
        let document = format!("{}/{}", Kind::JourneyTest, outcome.test);
        if outcome.failures.is_empty() {
            println!("ok    {document}");
            outcome.notes.iter().for_each(|note| println!("      note: {note}"));
            continue;
        }
        failed += 1;
        println!("FAIL  {document} ({})", loaded.file_of(Kind::JourneyTest, &outcome.test));
        outcome.failures.iter().for_each(|failure| println!("      {failure}"));
        outcome.notes.iter().for_each(|note| println!("      note: {note}"));
        if arguments.trace {
            outcome.trace.iter().for_each(|line| println!("      | {line}"));
        }
    }
    Ok(closing(outcomes.len() - failed, failed))
}

fn closing(passed: usize, failed: usize) -> ExitCode {
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

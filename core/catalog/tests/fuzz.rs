//! Whatever a file holds, it is read and checked, or said what is wrong with it.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use catalog::{Action, Built, Catalog, Change};
use model::document::read_documents;
use model::{CatalogVersion, Severity};
use std::path::Path;
use std::time::Duration;

/// The files of `examples/`, which are what people write.
fn examples() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut files = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("yaml") => files.push(path),
                Some(_) => {}
                None => folders.push(path),
            }
        }
    }
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    files.into_iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// What documents are made of, to be put where it hurts.
const PIECES: &[&str] = &[
    ":",
    "- ",
    "---\n",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "|\n",
    ">\n",
    "'",
    "\"",
    "#",
    "null",
    "true",
    "~",
    "-1",
    "1e999",
    "99999999999999999999",
    "1y",
    "-1d",
    "\u{0}",
    "\u{feff}",
    "event.",
    "trigger.",
    "record.x",
    "{{ ",
    " }}",
    "{% if ",
    "{% endfor %}",
    "&& ",
    "!",
    "has(",
    "(((((((((((((((((((((((((((((((((((((((((",
    "[[[[[[[[[[[[[[[[[[[[",
    "state: draft",
    "state: stopped",
    "go_to: ",
    "steps: []",
    "otherwise: ",
    "kind: Message",
    "up_to: 366d",
    "mjml: ",
    "<mjml><mj-body>",
    "</mj-body></mjml>",
    "from: ",
];

/// An example after a few cuts and splices, as `choices` say.
fn mutated(examples: &[String], choices: &[u8]) -> String {
    let mut choices = choices.iter().copied();
    let mut next = || usize::from(choices.next().unwrap_or(0));
    let mut text: Vec<char> = examples[next() % examples.len()].chars().collect();
    for _ in 0..next() % 6 {
        let at = (next() * 256 + next()) % (text.len() + 1);
        let end = (at + next() % 64).min(text.len());
        match next() % 5 {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..end.min(at + 4), PIECES[next() % PIECES.len()].chars())),
            2 => drop(text.splice(at..at, PIECES[next() % PIECES.len()].chars())),
            3 => {
                let copy = text[at..end].to_vec();
                let to = (next() * 256 + next()) % (text.len() + 1);
                text.splice(to..to, copy);
            }
            _ => {
                // A line goes elsewhere, with its indentation.
                let line_at = text[..at].iter().rposition(|c| *c == '\n').map_or(0, |before| before + 1);
                let line_end = text[at..].iter().position(|c| *c == '\n').map_or(text.len(), |end| at + end + 1);
                let line: Vec<char> = text.drain(line_at..line_end).collect();
                let to = (next() * 256 + next()) % (text.len() + 1);
                let to = text[..to].iter().rposition(|c| *c == '\n').map_or(0, |before| before + 1);
                text.splice(to..to, line);
            }
        }
    }
    text.into_iter().collect()
}

fn changes(text: &str) -> Vec<Change> {
    read_documents(text).documents.into_iter().map(Change::Put).collect()
}

#[test]
fn fuzz_documents() {
    let examples = examples();
    let all: Vec<Change> = examples.iter().flat_map(|text| changes(text)).collect();
    let published = Catalog::empty().with(CatalogVersion(1), &all).catalog.unwrap();
    let test_time = std::env::var("SOJOURN_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(1);
    bolero::check!().with_test_time(Duration::from_secs(test_time)).for_each(|choices: &[u8]| {
        for text in [mutated(&examples, choices), String::from_utf8_lossy(choices).into_owned()] {
            one_file(&published, &text);
        }
    });
}

/// Far more than any file of these sizes takes, and far less than one that blows up would.
const SECONDS_MAX: u64 = 5;

#[expect(clippy::disallowed_methods, reason = "that it ends in time is part of the test")]
fn one_file(published: &Catalog, text: &str) {
    let begun = std::time::Instant::now();
    let read = read_documents(text);
    for finding in &read.findings {
        assert!(!finding.code.is_empty() && !finding.message.is_empty(), "{finding:?}");
    }
    let changes: Vec<Change> = read.documents.iter().cloned().map(Change::Put).collect();
    let version = CatalogVersion(published.version().0 + 1);
    for base in [&Catalog::empty(), published] {
        let Built { catalog, findings, plan } = base.with(version, &changes);
        assert_eq!(plan.len(), changes.len());
        assert_eq!(catalog.is_none(), findings.iter().any(|finding| finding.severity == Severity::Error));
        for finding in &findings {
            // Every finding names a document; which need not be of this file: others may use what is in it.
            assert!(finding.document.contains('/') && !finding.message.is_empty(), "{finding:?}");
            assert!(catalog::codes::CODES.iter().any(|(code, _)| *code == finding.code), "{finding:?}");
        }
        // What is in the history is never refused, whatever it is.
        let (restored, _) = base.restored(version, &changes);
        assert_eq!(restored.documents().count(), base.restored(version, &changes).0.documents().count());
        if let Some(catalog) = catalog {
            exported_and_applied_again(&catalog);
        }
    }
    assert!(begun.elapsed().as_secs() < SECONDS_MAX, "it took {:?}:\n{text}", begun.elapsed());
}

/// `export` then `apply` is a no-op (design §5).
fn exported_and_applied_again(catalog: &Catalog) {
    let exported: Vec<String> = catalog.documents().map(|(_, held)| held.document.to_yaml()).collect();
    let again = read_documents(&exported.join("---\n"));
    assert_eq!(again.findings, []);
    let changes: Vec<Change> = again.documents.into_iter().map(Change::Put).collect();
    let built = catalog.with(CatalogVersion(catalog.version().0 + 1), &changes);
    for line in built.plan {
        assert_eq!(line.action, Action::Unchanged, "{}", line.id);
    }
}

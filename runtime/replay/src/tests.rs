use super::*;
use model::document::read_documents;
use std::path::Path;

fn documents_of(folder: &Path) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            documents.extend(documents_of(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let read = read_documents(&std::fs::read_to_string(&path).unwrap());
            assert!(read.findings.is_empty(), "{}: {:?}", path.display(), read.findings);
            documents.extend(read.documents);
        }
    }
    documents
}

fn examples() -> Vec<Document> {
    documents_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples"))
}

#[test]
fn the_examples_do_what_their_tests_say() {
    let outcomes = run_tests(&examples());
    assert!(outcomes.len() >= 14, "{} tests", outcomes.len());
    for outcome in outcomes {
        assert!(outcome.failures.is_empty(), "{}: {:#?}\n{}", outcome.test, outcome.failures, outcome.trace.join("\n"));
    }
}

#[test]
fn a_test_that_expects_something_else_fails_and_says_what_happened() {
    let mut documents = examples();
    for document in &mut documents {
        let Spec::JourneyTest(test) = &mut document.spec else { continue };
        if document.name == "abandoned_cart_no_open" {
            test.expect[1].at = test.expect[1].at.plus_ms(1);
        }
    }
    let failed: Vec<Outcome> =
        run_tests(&documents).into_iter().filter(|outcome| !outcome.failures.is_empty()).collect();
    assert_eq!(failed.len(), 1);
    let failures = &failed[0].failures;
    assert!(failures[0].contains("expected {at: 2026-03-29T09:00:00.001Z, send: cart_sms}"), "{failures:?}");
    assert!(failures[0].contains("but {at: 2026-03-29T09:00:00Z, send: cart_sms} happened"), "{failures:?}");
}

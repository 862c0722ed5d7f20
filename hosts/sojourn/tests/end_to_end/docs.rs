//! The documentation is true: its examples run, its lists are complete.

use crate::server::{output, program, repository};
use std::collections::BTreeSet;

fn page(name: &str) -> String {
    std::fs::read_to_string(repository().join("docs").join(name)).unwrap()
}

/// The code blocks of a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let opened = page.split(&format!("```{language}\n")).skip(1).collect::<Vec<_>>();
    opened.into_iter().map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_journey_on_the_page_is_checked_and_its_tests_pass() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.yaml");
    std::fs::write(&file, blocks(&page("journeys.md"), "yaml").join("---\n")).unwrap();
    let (status, printed, told) = output(program().arg("check").arg(&file));
    assert!(status.success(), "{printed}{told}");
    assert_eq!(printed.lines().count(), 1, "not even a warning:\n{printed}");
    let (status, printed, _) = output(program().arg("test").arg(&file));
    assert!(status.success(), "{printed}");
    assert!(printed.ends_with("2 passed, 0 failed\n"), "{printed}");
    for kind in ["send", "wait", "wait_for", "branch", "split", "update", "raise", "exit"] {
        assert!(
            page("journeys.md").contains(&format!("{kind}: ")) || page("journeys.md").contains(&format!("{kind}:\n")),
            "{kind}"
        );
    }
}

/// The literals that follow `marker` in the sources below `folder` and look like a code.
fn codes_in(folder: &str, markers: &[&str]) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for marker in markers {
            for rest in source.split(marker).skip(1) {
                // Up to the end of the statement.
                let rest = rest.split(';').next().unwrap();
                let literals = rest.split('"').skip(1).step_by(2);
                let is_code = |text: &&str| {
                    !text.is_empty() && text.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase())
                };
                codes.extend(literals.take(1).filter(is_code).map(str::to_owned));
            }
        }
    }
    codes
}

fn documented(page: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let headings = page.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned);
    let rows =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).map(|(code, _)| code.to_owned());
    (headings.collect(), rows.collect())
}

#[test]
fn every_problem_and_every_rejection_is_documented() {
    let (problems, rows) = documented(&page("errors.md"));
    let given = codes_in("hosts/http/src", &["Problem::new(", "bad_request("]);
    assert!(given.len() > 10, "{given:?}");
    assert!(given.is_subset(&problems), "not documented: {:?}", given.difference(&problems));
    let given = codes_in("hosts/intake/src", &["Rejection::new("]);
    assert!(!given.is_empty() && given.is_subset(&rows), "{given:?}");
}

#[test]
fn every_finding_is_documented_with_its_remedy() {
    // Those of reading come before there is a catalog.
    let reading = codes_in("core/model/src", &["Finding::error("]);
    let (_, rows) = documented(&page("errors.md"));
    assert!(reading.len() > 2 && reading.is_subset(&rows), "{reading:?}");

    let made: String =
        catalog::codes::CODES.iter().map(|(code, remedy)| format!("| `{code}` | {remedy} |\n")).collect();
    let made = format!("\n| code | what to do |\n|---|---|\n{made}\n");
    let page = page("errors.md");
    let (before, rest) = page.split_once("writes it anew -->\n").unwrap();
    let (held, after) = rest.split_once("<!-- findings end -->").unwrap();
    if std::env::var_os("SOJOURN_BLESS").is_some() {
        let text = format!("{before}writes it anew -->\n{made}<!-- findings end -->{after}");
        std::fs::write(repository().join("docs/errors.md"), text).unwrap();
        return;
    }
    assert!(
        held == made,
        "docs/errors.md is not what core/catalog/src/codes.rs says; run this test with SOJOURN_BLESS=1"
    );
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    let pages = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| repository().join(name));
    let docs = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for path in pages.into_iter().chain(docs).filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    {
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            let is_ours = !target.is_empty() && !target.contains("://");
            assert!(!is_ours || path.parent().unwrap().join(target).exists(), "{}: {link}", path.display());
        }
    }
}

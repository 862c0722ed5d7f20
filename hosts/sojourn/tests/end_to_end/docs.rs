//! The documentation is true: its examples run, its lists are complete.

use crate::mail::MailSink;
use crate::server::{Start, client, output, program, repository, sign_up, wait_until};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

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
    assert_eq!(problems, given);
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

/// All pages, with where they are.
fn pages() -> Vec<PathBuf> {
    let pages = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| repository().join(name));
    let docs = std::fs::read_dir(repository().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    pages.into_iter().chain(docs).filter(is_page).collect()
}

#[test]
fn every_command_on_a_page_is_one_that_there_is() {
    let mut seen = 0;
    for path in pages() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = blocks(&text, "sh").into_iter().flat_map(str::lines).map(|line| line.split(" #").next().unwrap());
        for line in lines.filter_map(|line| line.split_once("sojourn ").filter(|(before, _)| !before.contains(' '))) {
            let words: Vec<&str> = line.1.split_whitespace().collect();
            let sub = words.iter().take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
            let known = [
                "serve", "keys", "create", "list", "revoke", "apply", "export", "diff", "check", "test", "tail",
                "explain", "doctor", "skip", "bench",
            ];
            let sub: Vec<&str> = sub.copied().filter(|word| known.contains(word)).collect();
            assert!(!sub.is_empty(), "{}: {}", path.display(), line.1);
            let (status, help, told) = output(program().args(&sub).arg("--help"));
            assert!(status.success(), "{}: {}: {told}", path.display(), line.1);
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                assert!(
                    help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
                    "{}: {flag} of {}",
                    path.display(),
                    line.1
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 15, "only {seen} commands were found");
}

#[test]
fn what_is_to_be_pasted_works() {
    if Command::new("curl").arg("--version").output().is_err() {
        println!("skipped: there is no curl");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Start::new(&folder.path().join("data")).run();
    server.apply_examples();
    let texts = [page("sending-events.md"), std::fs::read_to_string(repository().join("README.md")).unwrap()];
    let mut pasted = 0;
    for block in texts.iter().flat_map(|text| blocks(text, "sh")).filter(|block| block.contains("curl -s")) {
        // The commands of ours in these blocks have their own tests; `tail` has no end.
        let curls: String =
            block.lines().filter(|line| !line.contains("sojourn ")).map(|line| format!("{line}\n")).collect();
        let curls =
            curls.replace("http://127.0.0.1:8080", &server.base).replace("curl -s", "curl -sS --fail-with-body");
        let (status, printed, told) = output(Command::new("sh").args(["-e", "-c", &curls]));
        assert!(status.success(), "{curls}{printed}{told}");
        assert!(!printed.contains("rejected\",\"reason"), "{printed}");
        pasted += 1;
    }
    assert!(pasted >= 4, "only {pasted} blocks were found");
    let (_, profile) = server.get("/api/v1/profiles/user_id:42");
    assert_eq!(profile["attributes"]["first_name"], "Ada", "{profile}");
    assert_eq!(profile["participants"][0]["journey"], "abandoned_cart", "{profile}");
}

#[test]
fn every_metric_on_a_page_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let sink = MailSink::start(Duration::ZERO);
    let server = Start::new(&folder.path().join("data")).config(&sink.config(2)).run();
    server.apply_examples();
    let mut free = sign_up(1);
    free["attributes"]["plan"] = "free".into();
    server.stored(&free);
    let position = server.stored(&sign_up(2));
    assert_eq!(server.get(&format!("/api/v1/books?at_least={position}")).0, 200);
    wait_until("the mail is accepted", || {
        let (_, sends) = server.get("/api/v1/sends?state=accepted");
        sends["sends"].as_array().is_some_and(|sends| !sends.is_empty()).then_some(())
    });
    // Counted before it was settled.
    assert!(server.metric("sojourn_channel_hand_offs_total{channel=\"email\",outcome=\"accepted\"}") >= 1.0);
    let metrics = client().get(format!("{}/metrics", server.base)).send().unwrap().text().unwrap();
    let page = page("operating.md");
    let named: BTreeSet<&str> = page.split('`').filter(|text| text.starts_with("sojourn_")).collect();
    assert!(named.len() > 4, "{named:?}");
    for name in named {
        assert!(metrics.contains(&format!("\n{name}")) || metrics.starts_with(name), "{name} is not in\n{metrics}");
    }
}

#[test]
fn every_link_between_pages_leads_somewhere() {
    for path in pages() {
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            let is_ours = !target.is_empty() && !target.contains("://");
            assert!(!is_ours || path.parent().unwrap().join(target).exists(), "{}: {link}", path.display());
        }
    }
}

//! Documents between files and a server, and the commands that look at both.

use crate::server::{Start, output, program, repository, sign_up, wait_until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

const TRIGGER: &str =
    "apiVersion: sojourn/v1\nkind: Trigger\nmetadata: {name: paid}\nspec: {title: Paid, kind: custom}\n";

#[test]
fn export_then_apply_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Start::new(&folder.path().join("data")).run();
    server.apply_examples();
    let (status, exported, told) = output(&mut server.cli(&["export"]));
    assert!(status.success(), "{told}");
    let file = write(folder.path(), "exported.yaml", &exported);
    let (_, version) = server.get("/api/v1/documents");
    let (status, printed, told) = output(server.cli(&["apply"]).arg(&file));
    assert!(status.success() && printed.contains("nothing to change"), "{printed}{told}");
    assert_eq!(server.get("/api/v1/documents").1, version);
    let (status, printed, _) = output(&mut server.cli(&["diff", "examples"]));
    assert!(status.success(), "{printed}");
    assert_eq!(printed, "0 differences\n");
}

#[test]
fn a_plan_is_shown_and_a_dry_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Start::new(&folder.path().join("data")).run();
    let (status, printed, told) = output(&mut server.cli(&["apply", "examples/welcome", "--dry-run"]));
    assert!(status.success(), "{told}");
    assert!(printed.contains("create    Journey/welcome (version 1)"), "{printed}");
    assert!(printed.ends_with("to change; nothing was changed (--dry-run)\n"), "{printed}");
    let (_, journeys) = server.get("/api/v1/journeys");
    assert_eq!(journeys["journeys"], json!([]));
    let (status, printed, _) = output(&mut server.cli(&["apply", "examples/welcome"]));
    assert!(status.success() && printed.contains("applied; the catalog is at version 1"), "{printed}");
}

#[test]
fn diff_tells_what_differs_and_what_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = Start::new(&folder.path().join("data")).run();
    let same = write(folder.path(), "trigger.yaml", TRIGGER);
    server.apply(&same);
    let edited = write(folder.path(), "edited.yaml", &TRIGGER.replace("Paid", "Paid in full"));
    let (status, printed, _) = output(server.cli(&["diff"]).arg(&edited));
    assert_eq!(status.code(), Some(1));
    let expected = "differs: Trigger/paid\n  -   title: Paid\n  +   title: Paid in full\n1 difference\n";
    assert_eq!(printed, expected);
    // A file that cannot be read is not a document that is missing.
    let torn = write(folder.path(), "torn.yaml", &TRIGGER.replace("kind: custom}", "kind: custom"));
    let (status, printed, told) = output(server.cli(&["diff"]).arg(&torn));
    assert_eq!(status.code(), Some(1));
    assert!(printed.contains("torn.yaml") && !printed.contains("only on the server"), "{printed}");
    assert!(told.contains("some files cannot be read"), "{told}");
}

#[test]
fn check_names_file_document_and_step_and_counts() {
    let (status, printed, _) = output(program().arg("check").arg(repository().join("examples")));
    assert!(status.success(), "{printed}");
    let counted = printed.lines().last().unwrap();
    assert!(counted.ends_with(" passed, 0 failed") && !counted.starts_with("0 "), "{printed}");

    let folder = tempfile::tempdir().unwrap();
    let bad = write(
        folder.path(),
        "bad.yaml",
        &format!(
            "{TRIGGER}---\napiVersion: sojourn/v1\nkind: Journey\nmetadata: {{name: thanks}}\nspec:\n  start: {{trigger: \
             paid}}\n  steps: [{{id: mail, send: {{message: thank_you}}}}]\n"
        ),
    );
    let (status, printed, _) = output(program().arg("check").arg(&bad));
    assert_eq!(status.code(), Some(1));
    let line = printed.lines().next().unwrap();
    for part in ["error[message_unknown]", "bad.yaml", "Journey/thanks", " mail "] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(printed.ends_with("\n1 passed, 1 failed\n"), "{printed}");
    let (status, _, told) = output(program().args(["check", "no/such/path"]));
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("no/such/path"), "{told}");
}

#[test]
fn journey_tests_pass_or_say_what_came_instead() {
    let (status, printed, _) = output(program().arg("test").arg(repository().join("examples")));
    assert!(status.success(), "{printed}");
    let counted = printed.lines().last().unwrap();
    assert!(counted.ends_with(" passed, 0 failed") && !counted.starts_with("0 "), "{printed}");

    let folder = tempfile::tempdir().unwrap();
    for name in ["journey.yaml", "tests.yaml"] {
        let text = std::fs::read_to_string(repository().join("examples/welcome").join(name)).unwrap();
        write(folder.path(), name, &text.replace("up_to: 5m", "up_to: 6m"));
    }
    let (status, printed, _) = output(program().arg("test").arg(folder.path()));
    assert_eq!(status.code(), Some(1));
    assert!(printed.contains("FAIL  ") && printed.contains("tests.yaml"), "{printed}");
    assert!(printed.lines().last().unwrap().ends_with(" failed"), "{printed}");
    assert!(!printed.contains(" 0 failed"), "{printed}");
}

#[test]
fn explain_says_why_in_and_why_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = Start::new(&folder.path().join("data")).run();
    server.apply_examples();
    let cart = |person: &str, total: u32| {
        json!({"trigger": "abandoned_cart", "identities": {"user_id": person, "email": format!("{person}@example.org")},
            "attributes": {"cart_id": "c1", "cart_total": total}})
    };
    assert_eq!(server.post("/v1/events", &cart("in", 80)).0, 202);
    assert_eq!(server.post("/v1/events", &cart("out", 50)).0, 202);
    let explain = |person: &str, journey: &str| {
        let profile = format!("user_id:{person}");
        output(&mut server.cli(&["explain", "--profile", &profile, "--journey", journey]))
    };
    let (status, printed, _) = explain("in", "abandoned_cart");
    assert!(status.success() && printed.starts_with("user_id:in is in abandoned_cart now\n"), "{printed}");
    assert!(printed.lines().count() > 2, "{printed}");
    let (status, printed, _) = explain("out", "abandoned_cart");
    assert!(status.success(), "{printed}");
    assert!(printed.starts_with("user_id:out has not entered abandoned_cart; the reasons are below\n"), "{printed}");
    assert!(printed.contains("condition_false (event.cart_total = 50)"), "{printed}");
    let (status, _, told) = explain("in", "abandoned_card");
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("did you mean abandoned_cart?"), "{told}");
    let (status, _, told) = explain("nobody", "abandoned_cart");
    assert_eq!(status.code(), Some(1));
    assert!(told.contains("no profile is known as user_id:nobody"), "{told}");
}

#[test]
fn tail_shows_events_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let server = Start::new(&folder.path().join("data")).run();
    server.apply_examples();
    let mut tail = server.cli(&["tail", "--trigger", "signed_up"]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (lines, shown) = std::sync::mpsc::channel();
    let printed = BufReader::new(tail.stdout.take().unwrap());
    std::thread::spawn(move || printed.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    // It sees what comes from when it is connected on; until then events go by unseen.
    let mut person = 0;
    let first = wait_until("a line", || {
        person += 1;
        server.stored(&sign_up(person));
        server.stored(&json!({"trigger": "never_heard", "identities": {"user_id": person.to_string()}}));
        shown.try_recv().ok()
    });
    assert!(first.contains(" matched signed_up "), "{first}");
    let did = wait_until("what it did", || shown.try_recv().ok());
    assert!(did.starts_with("    "), "{did}");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn without_a_channel_a_send_is_blocked_and_the_journey_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (status, key, told) =
        output(program().args(["keys", "create", "--name", "a", "--scope", "admin", "--data"]).arg(&data));
    assert!(status.success(), "{told}");
    let key = key.trim();
    let server = Start { development: false, ..Start::new(&data) }.run();
    let (status, printed, told) = output(&mut server.cli(&["apply", "examples/welcome", "--key", key]));
    assert!(status.success(), "{printed}{told}");
    assert_eq!(server.send("POST", "/v1/events", key, sign_up(1).to_string()).0, 202);
    let profile = wait_until("blocked", || {
        let (_, profile) = server.send("GET", "/api/v1/profiles/user_id:1", key, "");
        (profile["sends"][0]["state"] == "blocked").then_some(profile)
    });
    assert_eq!(profile["sends"][0]["reason"], "no_channel", "{profile}");
    assert_eq!(profile["participants"][0]["step"], "read", "{profile}");
    let (_, mailbox) = server.send("GET", "/api/v1/mailbox", key, "");
    assert_eq!(mailbox["messages"], Value::Null);
}

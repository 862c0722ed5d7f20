//! What prevents a start, and what a start makes.

use crate::server::{Start, client, free_port, output, program, wait_until};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// It did not start, said so in one line, and the line has `expected` in it.
fn refused(command: &mut Command, expected: &str) {
    let (status, _, told) = output(command.env("RUST_LOG", "off"));
    assert_eq!(status.code(), Some(1), "{told}");
    assert!(told.contains(expected), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn what_prevents_a_start_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data"));
    let _server = start.run();
    refused(&mut Start { port: free_port(), ..start.clone() }.command(), "another process uses it");
    refused(&mut Start { port: start.port, ..Start::new(&folder.path().join("other")) }.command(), "cannot listen on");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    refused(&mut Start::new(&file.join("below")).command(), "it cannot be made");
    refused(&mut Start::new(&file).command(), "it cannot be made");
    let wrong = Start::new(&folder.path().join("third")).config("[storage]\nreserve = 256\n");
    refused(&mut wrong.command(), "third.toml: storage.reserve: expected a whole number and a unit");
    let typo = Start::new(&folder.path().join("third")).config("[chanels]\n");
    refused(&mut typo.command(), "unknown field `chanels`");
    assert!(!folder.path().join("third").exists(), "a wrong configuration makes nothing");
}

#[test]
fn only_its_owner_may_enter_the_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _server = Start::new(&data).run();
    for name in ["", "log", "trace", "keys", "state"] {
        let mode = std::fs::metadata(data.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{name}: {mode:o}");
    }
}

#[test]
fn health_is_answered_from_the_start_and_everything_else_when_the_log_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data"));
    let server = start.spawn();
    // The first answer to come is from a server that may still be opening: it is healthy, and never says 401.
    let first = wait_until("an answer", || {
        let answer = client().get(format!("{}/api/v1/triggers", server.base)).bearer_auth("dev-admin").send();
        answer.ok().map(|answer| answer.status().as_u16())
    });
    assert!([200, 503].contains(&first), "{first}");
    assert_eq!(client().get(format!("{}/healthz", server.base)).send().unwrap().status(), 200);
    wait_until("ready", || (server.get("/readyz").0 == 200).then_some(()));
    assert_eq!(server.get("/api/v1/triggers").0, 200);
}

#[test]
fn links_that_would_lead_nowhere_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let warned = |config: &str| {
        let start = Start::new(&folder.path().join("data")).config(config);
        let mut command = program();
        command.arg("serve").arg("--data").arg(&start.data).arg("--config").arg(start.config.as_ref().unwrap());
        let told_path = folder.path().join("told");
        let told = std::fs::File::create(&told_path).unwrap();
        command.args(["--listen", &format!("0.0.0.0:{}", start.port)]).env("RUST_LOG", "info").stderr(told);
        let mut child = command.spawn().unwrap();
        wait_until("serving", || std::fs::read_to_string(&told_path).unwrap().contains("serving").then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::read_to_string(&told_path).unwrap().contains("public_url")
    };
    assert!(warned(""));
    assert!(!warned("[server]\npublic_url = \"https://sojourn.example.org\"\n"));
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let commands: [&[&str]; 14] = [
        &["serve"],
        &["keys", "create"],
        &["keys", "list"],
        &["keys", "revoke"],
        &["apply"],
        &["export"],
        &["diff"],
        &["check"],
        &["test"],
        &["tail"],
        &["explain"],
        &["bench"],
        &["doctor"],
        &["doctor", "skip"],
    ];
    for command in commands {
        let (status, printed, told) = output(program().args(command).arg("--help"));
        assert!(status.success(), "{command:?}: {told}");
        assert!(printed.contains("Example"), "{command:?}:\n{printed}");
        assert!(printed.contains(&format!("  sojourn {}", command.join(" "))), "{command:?}:\n{printed}");
    }
}

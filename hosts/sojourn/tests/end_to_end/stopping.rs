//! SIGTERM: what is under way ends, a checkpoint is made, and the next start has nothing to do.

use crate::mail::MailSink;
use crate::server::{Server, Start, repository, sign_up, wait_until};
use serde_json::Value;
use std::time::{Duration, Instant};

fn states(server: &Server) -> Vec<String> {
    let (status, sends) = server.get("/api/v1/sends?limit=1000");
    assert_eq!(status, 200, "{sends}");
    sends["sends"].as_array().unwrap().iter().map(|send| send["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_clean_stop_checkpoints_and_the_next_start_replays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data"));
    let server = start.run();
    server.apply_examples();
    assert_eq!(server.post("/v1/events", &sign_up(1)).0, 202);
    assert_eq!(server.terminate().code(), Some(0));
    let server = start.run();
    assert_eq!(server.metric("sojourn_recovery_records_replayed"), 0.0);
    let (_, profile) = server.get("/api/v1/profiles/user_id:1");
    assert_eq!(profile["participants"][0]["step"], "read", "{profile}");
    let (status, timeline) = server.get("/api/v1/profiles/user_id:1/timeline");
    assert_eq!(status, 200);
    let first = timeline["timeline"].as_array().unwrap().last().unwrap();
    assert_eq!(first["what"], "event signed_up", "{timeline}");
    assert!(first["did"][0].as_str().unwrap().starts_with("event signed_up"), "{timeline}");
    // A kill, on the other hand, leaves a tail: the number can be something else.
    server.stored(&sign_up(2));
    drop(server);
    assert!(start.run().metric("sojourn_recovery_records_replayed") > 0.0);
}

#[test]
fn a_stop_waits_for_hand_offs_under_way_and_claims_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let sink = MailSink::start(Duration::from_millis(700));
    let start = Start::new(&folder.path().join("data")).config(&sink.config(2));
    let server = start.run();
    server.apply(&repository().join("examples/welcome"));
    let people: Value = (0..20).map(sign_up).collect();
    server.stored(&people);
    // Two are being taken, two wait for their turn, sixteen are not claimed.
    assert_eq!(server.terminate().code(), Some(0));
    let before = sink.mails().len();
    assert!((2..20).contains(&before), "{before} mails went out before the stop ended");

    let server = start.run();
    assert_eq!(server.metric("sojourn_recovery_records_replayed"), 0.0);
    let unsettled = states(&server);
    assert!(!unsettled.contains(&"unknown".to_owned()), "{unsettled:?}");
    wait_until("every mail", || states(&server).iter().all(|state| state == "accepted").then_some(()));
    let mails = sink.mails();
    assert_eq!(mails.len(), 20);
    assert!(mails.values().all(|mail| mail.times == 1), "doubled");
}

#[test]
fn a_stop_does_not_wait_for_ever_and_says_what_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let silent = MailSink::start(Duration::from_secs(600));
    let data = folder.path().join("data");
    let start = Start::new(&data).config(&format!("[server]\ndrain = \"500 ms\"\n{}", silent.config(1)));
    let server = start.run();
    server.apply(&repository().join("examples/welcome"));
    server.stored(&(0..5).map(sign_up).collect());
    wait_until("a hand-off", || states(&server).contains(&"handed_off".to_owned()).then_some(()));
    let began = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());

    let quick = MailSink::start(Duration::ZERO);
    let server = start.config(&quick.config(1)).run();
    let shown = wait_until("settled", || {
        let states = states(&server);
        states.iter().all(|state| ["accepted", "unknown", "deferred"].contains(&state.as_str())).then_some(states)
    });
    // The one that the relay had and did not answer. The one that waited for its turn was put back.
    let count = |state: &str| shown.iter().filter(|shown| *shown == state).count();
    assert_eq!((count("unknown"), count("deferred"), count("accepted")), (1, 1, 3), "{shown:?}");
}

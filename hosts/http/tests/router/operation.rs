//! Readiness and numbers.

use crate::support::{System, now};
use http_api::OpenCircuit;
use serde_json::json;

#[tokio::test]
async fn an_open_circuit_is_degraded_and_not_red() {
    let system = System::start().await;
    let before = system.read("/readyz").await;
    assert_eq!((&before["ready"], &before["degraded"]), (&json!(true), &json!(null)));
    let open = OpenCircuit { channel: "email".into(), since: now(), retry_at: now().plus_ms(5_000) };
    system.channels.0.lock().unwrap().push(open);
    let readiness = system.read("/readyz").await;
    assert_eq!(readiness["ready"], true);
    let expected = json!([{"channel": "email", "since": "2026-05-04T10:00:00Z", "retry_at": "2026-05-04T10:00:05Z"}]);
    assert_eq!(readiness["degraded"], expected);
}

async fn metrics(system: &System) -> String {
    let answer = system.get("/metrics").send().await;
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn metrics_show_the_channels_and_what_they_measure() {
    let system = System::start().await;
    let open = OpenCircuit { channel: "email".into(), since: now(), retry_at: now() };
    system.channels.0.lock().unwrap().extend([open.clone(), open]);
    // Measured anywhere in the process, as the channels do on their own tasks.
    system.shared.count_here();
    std::thread::spawn(|| {
        metrics::counter!("sojourn_channel_hand_offs_total", "channel" => "email", "outcome" => "accepted")
            .increment(3);
        metrics::histogram!("sojourn_channel_hand_off_seconds", "channel" => "email").record(0.03);
    })
    .join()
    .unwrap();
    system.shared.tidy_metrics();
    let text = metrics(&system).await;
    for line in [
        r#"sojourn_channel_circuits_open{channel="email"} 2"#,
        r#"sojourn_channel_circuits_open{channel="webhook"} 0"#,
        r#"sojourn_channel_hand_offs_total{channel="email",outcome="accepted"} 3"#,
        r#"sojourn_channel_hand_off_seconds_bucket{channel="email",le="0.02"} 0"#,
        r#"sojourn_channel_hand_off_seconds_bucket{channel="email",le="0.05"} 1"#,
        "sojourn_partitions_stopped 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    system.channels.0.lock().unwrap().clear();
    assert!(metrics(&system).await.contains(r#"sojourn_channel_circuits_open{channel="email"} 0"#));
}

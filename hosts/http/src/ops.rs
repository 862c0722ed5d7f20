//! For operators: is it alive, can it store, and its numbers.

use crate::shared::Shared;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::{counter, gauge};
use processor::{Recovered, Running, Status};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether everything can be stored and sent
#[utoipa::path(get, path = "/readyz", tag = "operation", responses((status = 200, body = Value), (status = 503, body = Value)))]
pub async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.status.load();
    let (code, body) = match status.as_ref() {
        Status::Running(running) if running.stopped.is_empty() => {
            (StatusCode::OK, json!({"ready": true, "position": running.position}))
        }
        Status::Running(running) => {
            let stopped: Vec<Value> = running
                .stopped
                .iter()
                .map(|(partition, stopped)| {
                    json!({"partition": partition.to_string(), "lsn": stopped.lsn, "why": stopped.why})
                })
                .collect();
            let why = "a partition is stopped; `sojourn doctor` shows it";
            (StatusCode::SERVICE_UNAVAILABLE, json!({"ready": false, "why": why, "stopped": stopped}))
        }
        Status::Starting => (StatusCode::SERVICE_UNAVAILABLE, json!({"ready": false, "why": "starting"})),
        Status::Unavailable { why } => (StatusCode::SERVICE_UNAVAILABLE, json!({"ready": false, "why": why})),
        Status::Ended => (StatusCode::SERVICE_UNAVAILABLE, json!({"ready": false, "why": "shutting down"})),
    };
    (code, Json(body)).into_response()
}

/// Numbers for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, content_type = "text/plain")))]
pub async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    if let Some(recovered) = shared.recovered.load().as_deref() {
        metrics::with_local_recorder(&shared.recorder, || record_recovery(recovered));
    }
    if let Status::Running(running) = shared.status.load().as_ref() {
        metrics::with_local_recorder(&shared.recorder, || record(running));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.recorder.handle().render()).into_response()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; these are far below 2^53")]
fn record_recovery((recovered, took): &(Recovered, Duration)) {
    gauge!("sojourn_recovery_records_replayed").set(recovered.records_replayed as f64);
    gauge!("sojourn_recovery_seconds").set(took.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; these are far below 2^53")]
fn record(running: &Running) {
    let Running { position, checkpointed, now: _, stopped, timers, hot_profiles, waiting_sends, counters } = running;
    gauge!("sojourn_log_position").set(position.0 as f64);
    gauge!("sojourn_checkpoint_position").set(checkpointed.0 as f64);
    gauge!("sojourn_partitions_stopped").set(stopped.len() as f64);
    gauge!("sojourn_timers").set(*timers as f64);
    gauge!("sojourn_hot_profiles").set(*hot_profiles as f64);
    for (channel, waiting) in waiting_sends {
        gauge!("sojourn_sends_waiting", "channel" => channel.to_string()).set(*waiting as f64);
    }
    let processor::Counters {
        records,
        frames,
        events,
        duplicates,
        timers_fired,
        timers_stale,
        hand_offs,
        settled,
        checkpoints,
        refusals,
    } = counters;
    for (name, value) in [
        ("sojourn_records_total", records),
        ("sojourn_frames_total", frames),
        ("sojourn_events_total", events),
        ("sojourn_duplicates_total", duplicates),
        ("sojourn_timers_fired_total", timers_fired),
        ("sojourn_timers_stale_total", timers_stale),
        ("sojourn_hand_offs_total", hand_offs),
        ("sojourn_settled_total", settled),
        ("sojourn_checkpoints_total", checkpoints),
    ] {
        counter!(name).absolute(*value);
    }
    for (reason, count) in refusals {
        counter!("sojourn_refused_entries_total", "reason" => *reason).absolute(*count);
    }
}

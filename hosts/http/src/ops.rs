//! For operators: is it alive, can it store, and its numbers.

use crate::shared::{OpenCircuit, Shared};
use crate::views::{Degraded, Readiness, StoppedPartition};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::{counter, gauge};
use model::Text;
use processor::{Recovered, Running, Status};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "operation", security(()), responses((status = 200, body = String)))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether everything can be stored
///
/// 503 when it cannot. A channel whose circuit is open is told as `degraded`: what comes is taken all the same, and
/// goes out when the other side answers again.
#[utoipa::path(get, path = "/readyz", tag = "operation", security(()),
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let status = shared.status.load();
    let red = |why: &str| Readiness {
        ready: false,
        position: None,
        why: Some(why.to_owned()),
        stopped: Vec::new(),
        degraded: Vec::new(),
    };
    let readiness = match status.as_ref() {
        Status::Running(running) if running.stopped.is_empty() => Readiness {
            ready: true,
            position: Some(running.position),
            why: None,
            stopped: Vec::new(),
            degraded: degraded(&shared),
        },
        Status::Running(running) => {
            let stopped = running.stopped.iter().map(|(partition, stopped)| StoppedPartition {
                partition: partition.to_string(),
                lsn: stopped.lsn,
                why: stopped.why.to_string(),
            });
            Readiness { stopped: stopped.collect(), ..red("a partition is stopped; `sojourn doctor` shows it") }
        }
        Status::Starting => red("starting"),
        Status::Unavailable { why } => red(why),
        Status::Ended => red("shutting down"),
    };
    let code = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(readiness)).into_response()
}

fn open_circuits(shared: &Shared) -> Vec<OpenCircuit> {
    shared.outside.circuits.as_ref().map(|circuits| circuits.open()).unwrap_or_default()
}

/// NOTE: neither peer nor reason: whoever may ask for readiness need not know who is written to.
fn degraded(shared: &Shared) -> Vec<Degraded> {
    let circuits = open_circuits(shared).into_iter();
    circuits.map(|OpenCircuit { channel, since, retry_at }| Degraded { channel, since, retry_at }).collect()
}

/// Numbers for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation", security(()),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let circuits = open_circuits(&shared);
    metrics::with_local_recorder(&shared.recorder, || {
        record_circuits(&shared, &circuits);
        if let Some(recovered) = shared.recovered.load().as_deref() {
            record_recovery(recovered);
        }
        if let Status::Running(running) = shared.status.load().as_ref() {
            record(running);
        }
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shared.recorder.handle().render()).into_response()
}

/// Of every channel, so that one without an open circuit is seen as zero.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; these are far below 2^53")]
fn record_circuits(shared: &Shared, open: &[OpenCircuit]) {
    let channels = shared.outside.circuits.as_ref().map(|circuits| circuits.channels()).unwrap_or_default();
    let mut counts: BTreeMap<Text, usize> = channels.into_iter().map(|channel| (channel, 0)).collect();
    for circuit in open {
        *counts.entry(circuit.channel.clone()).or_default() += 1;
    }
    for (channel, count) in counts {
        gauge!("sojourn_channel_circuits_open", "channel" => channel.to_string()).set(count as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; these are far below 2^53")]
fn record_recovery((recovered, took): &(Recovered, Duration)) {
    gauge!("sojourn_recovery_records_replayed").set(recovered.records_replayed as f64);
    gauge!("sojourn_recovery_seconds").set(took.as_secs_f64());
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; these are far below 2^53")]
fn record(running: &Running) {
    let Running {
        position,
        checkpointed,
        now: _,
        stopped,
        timers,
        hot_profiles,
        dedup_window_held_ms,
        waiting_sends,
        counters,
    } = running;
    gauge!("sojourn_log_position").set(position.0 as f64);
    gauge!("sojourn_checkpoint_position").set(checkpointed.0 as f64);
    gauge!("sojourn_partitions_stopped").set(stopped.len() as f64);
    gauge!("sojourn_timers").set(*timers as f64);
    gauge!("sojourn_dedup_window_held_seconds").set(*dedup_window_held_ms as f64 / 1_000.0);
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
        profile_rate,
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
        ("sojourn_refused_profile_rate_total", profile_rate),
    ] {
        counter!(name).absolute(*value);
    }
    for (reason, count) in refusals {
        counter!("sojourn_refused_entries_total", "reason" => *reason).absolute(*count);
    }
}

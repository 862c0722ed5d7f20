use super::*;

#[test]
fn whatever_fails_nothing_is_lost_or_doubled() {
    let mut all = Summary::default();
    for seed in 1..=60 {
        match run(seed, None) {
            Ok(summary) => {
                all.crashes += summary.crashes;
                all.acknowledged += summary.acknowledged;
                all.hand_offs += summary.hand_offs;
                all.checkpoints += summary.checkpoints;
            }
            Err(violation) => panic!("seed {seed}: {violation}; repeat it with `cargo run -p sim -- --seed {seed}`"),
        }
    }
    // The runs were not idle.
    assert!(all.crashes > 300 && all.acknowledged > 3_000 && all.hand_offs > 500 && all.checkpoints > 300, "{all:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run(7, None), run(7, None));
}

/// The checkers are worth something only if they find what is wrong.
fn is_found(bug: Bug, told: &str) {
    let found = (1..=20).find_map(|seed| run(seed, Some(bug)).err());
    let violation = found.unwrap_or_else(|| panic!("{bug:?} was not found in 20 seeds"));
    assert!(violation.0.contains(told), "{violation}");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    is_found(Bug::AcknowledgesBeforeSync, "before");
}

#[test]
fn a_row_that_the_store_lost_is_found() {
    is_found(Bug::LosesARow, "");
}

#[test]
fn a_timer_that_fired_twice_is_found() {
    is_found(Bug::FiresTimersTwice, "ended twice");
}

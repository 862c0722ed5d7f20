use super::*;

fn by_chance(seed: u64) -> Run {
    Run { seed, plan: Plan::ByChance, turns: 120, bug: None }
}

/// A short run, for a crash at every write of it.
fn crash_at(write: u64, side: Side, again: Option<u64>) -> Run {
    Run { seed: 6, plan: Plan::CrashAt { write, side, again }, turns: 12, bug: None }
}

fn holds(of: &Run) -> Summary {
    run(of).unwrap_or_else(|violation| panic!("{violation}; repeat it with `{of}`"))
}

#[test]
fn t71_whatever_fails_nothing_is_lost_or_doubled() {
    let mut all = Summary::default();
    for seed in 1..=60 {
        let summary = holds(&by_chance(seed));
        all.crashes += summary.crashes;
        all.reopened += summary.reopened;
        all.full += summary.full;
        all.acknowledged += summary.acknowledged;
        all.hand_offs += summary.hand_offs;
        all.checkpoints += summary.checkpoints;
        all.publishes += summary.publishes;
    }
    // The runs were not idle.
    assert!(all.crashes > 300 && all.reopened > 50 && all.full > 100, "{all:?}");
    assert!(all.acknowledged > 3_000 && all.hand_offs > 500 && all.checkpoints > 300 && all.publishes > 150, "{all:?}");
}

#[test]
fn t71_a_crash_before_or_after_any_write_changes_nothing() {
    let undisturbed = holds(&crash_at(0, Side::Before, None));
    assert_eq!(undisturbed.crashes, 0);
    assert!(
        undisturbed.hand_offs > 5 && undisturbed.checkpoints > 2 && undisturbed.acknowledged > 20,
        "{undisturbed:?}"
    );
    for write in 1..=undisturbed.writes {
        for side in [Side::Before, Side::After] {
            let summary = holds(&crash_at(write, side, None));
            assert_eq!(summary.crashes, 1, "at write {write}");
        }
    }
}

#[test]
fn t71_a_second_crash_while_recovering_changes_nothing() {
    let writes = holds(&crash_at(0, Side::Before, None)).writes;
    let mut twice = 0;
    for write in (1..=writes).step_by(17) {
        for again in 1..=20 {
            twice += u32::from(holds(&crash_at(write, Side::After, Some(again))).crashes == 2);
        }
    }
    assert!(twice > 150, "{twice}");
}

/// House §3: what is broken in one partition stops that one. The log has everything, and gives it back.
#[test]
fn a_partition_that_a_bad_row_stopped_holds_up_no_other_and_nothing_of_it_is_lost() {
    let (mut stopped, mut beside) = (0, 0);
    for seed in 1..=20 {
        let summary = holds(&Run { bug: Some(Bug::DamagesARow), ..by_chance(seed) });
        stopped += summary.turns_stopped;
        beside += summary.stored_beside_stopped;
    }
    assert!(stopped > 50 && beside > 50, "{stopped} turns with a stopped one, {beside} stored for others in them");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (first, second) = (holds(&by_chance(7)), holds(&by_chance(7)));
    assert_eq!(first, second, "down to the bytes of every record and trace");
    assert_ne!(first.digest, holds(&by_chance(8)).digest);
}

/// The checkers are worth something only if they find what is wrong, and say what.
fn is_found(bug: Bug, told: &str) {
    let mut found = Vec::new();
    for seed in 1..=30 {
        let Err(violation) = run(&Run { bug: Some(bug), ..by_chance(seed) }) else { continue };
        if violation.0.contains(told) {
            return;
        }
        found.push(violation.0);
    }
    panic!("{bug:?} was not found to be `{told}` in 30 seeds, but {found:#?}");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    is_found(Bug::AcknowledgesBeforeSync, "was acknowledged before it was durable");
}

#[test]
fn a_hand_off_before_the_sync_is_found() {
    is_found(Bug::AcknowledgesBeforeSync, "left before its claim was durable");
}

#[test]
fn a_synced_frame_that_is_gone_after_a_crash_is_found() {
    is_found(Bug::LosesASyncedFrame, "of them are lost");
}

#[test]
fn records_that_were_released_too_early_are_found_missing() {
    is_found(Bug::ReleasesTooMuch, "it does not open again");
}

#[test]
fn a_record_that_is_replayed_twice_is_found() {
    is_found(Bug::ReplaysTwice, "trace rows must ascend");
}

#[test]
fn lost_traces_are_found() {
    is_found(Bug::LosesTraces, "left no trace");
}

#[test]
fn a_row_that_the_store_lost_is_found() {
    is_found(Bug::LosesARow, "was acknowledged and no profile has it");
}

#[test]
fn an_event_applied_twice_is_found() {
    is_found(Bug::KeepsAStaleRowAtRest, "expected Duplicate");
}

#[test]
fn a_timer_that_fires_twice_is_found() {
    is_found(Bug::KeepsAStaleRowAtRest, "fired twice");
}

#[test]
fn a_send_that_is_handed_off_twice_is_found() {
    is_found(Bug::KeepsAStaleRow, "was handed off twice");
}

#[test]
fn books_that_do_not_balance_are_found() {
    is_found(Bug::LosesABook, "the books of");
}

#[test]
fn a_timer_that_never_fires_is_found() {
    is_found(Bug::ScansNotAll, "did not fire");
}

#[test]
fn a_send_that_is_stuck_is_found() {
    is_found(Bug::ScansNotAll, "is stuck");
}

#[test]
fn a_body_that_changed_is_found() {
    is_found(Bug::ChangesABody, "carries two different bodies");
}

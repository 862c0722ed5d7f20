//! Golden traces: what RULES_VERSION stands for. A log tail is only replayed under the rules it was written under (design
//! §2.5), so whoever changes a decision must say so by raising the version.
//!
//! ```text
//! rules 1                    the version that the traces were made under
//! # name of a scenario
//! its trace, ids as they are
//! ```

use super::stage::{Ids, Stage};
use super::{documents, stage};
use crate::RULES_VERSION;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Each scenario once: names are lines of the file.
fn scenarios() -> Vec<(&'static str, String)> {
    let play = |spec: &str, script: &str| stage(spec).with_ids(Ids::Raw).play_to_the_end(script);
    vec![
        ("a reminder, opened, clicked or not", play(REMINDER, REMINDER_SCRIPT)),
        ("two orders, one cancelled", play(ORDERS, ORDERS_SCRIPT)),
        ("local times", play(TIMES, TIMES_SCRIPT)),
        ("arms, updates and raises", play(ARMS, ARMS_SCRIPT)),
        ("sends that go wrong", play(WRONG, WRONG_SCRIPT)),
        ("what comes in oddly", play(ODD, ODD_SCRIPT)),
        ("a second version", second_version()),
    ]
}

const REMINDER: &str =
    "{start: {trigger: go, where: event.total > 50, repeat: {mode: restart}}, exits: [{trigger: halt}],
    goals: [{name: bought, trigger: halt, where: event.total > 50}], steps: [{id: m, send: {message: mail}},
    {id: f, wait_for: {outcomes: [
        {interaction: email_opened, of: m, steps: [{id: opened, exit: {reason: engaged}}]},
        {interaction: email_link_clicked, of: m, where: \"event.url.startsWith('https')\"},
        {trigger: sign, since: start, where: event.total > trigger.go.total}], up_to: 1d,
      otherwise: [{id: again, send: {message: mail}}, {id: p, wait: {for: 1d2h}}]}},
    {id: last, send: {message: greeting}}]}";
const REMINDER_SCRIPT: &str = "
    09:00 event go total=50
    10:00 event go total=80
    10:00 sent m
    10:10 open m @machine
    10:20 event go total=90
    10:20 sent m
    10:30 click m url=http
    10:31 click m url=https://x.org
    11:00 event go total=100
    11:00 claim m
    11:01 defer m
    11:02 event halt total=60
    12:00 event go total=70
    12:01 event sign total=60
    12:02 event sign total=71
    13:00 event go total=70
    2d15:00 event halt total=70
    3d09:00 event go total=70
    3d09:01 open m
";

const ORDERS: &str = "{start: {trigger: go, repeat: {mode: always}}, exits: [{trigger: halt, where: event.total > 5}],
    steps: [{id: w, wait: {until: {attribute: event.at, offset: -1d, on_missing: exit}}}, {id: m, send: {message: mail}}]}";
const ORDERS_SCRIPT: &str = "
    10:00 event go order=a at=2026-05-20T09:00:00+02:00
    10:01 event go order=b at=2026-05-21T09:00:00
    10:02 event go order=b at=2026-05-21T09:00:00
    10:03 event go order=c
    10:04 event halt order=a
    10:05 event halt order=a total=6
    10:06 stale
    17d10:00 claim m
";

const TIMES: &str = "{start: {trigger: go, repeat: {mode: after, delay: 1mo}}, time_zone: Europe/Berlin, steps: [
    {id: a, wait: {for: 1mo}}, {id: b, wait: {until: {window: {from: '09:00', to: '17:00', days: [monday, friday]}}}},
    {id: c, wait: {until: {time: '02:30'}}}, {id: d, wait: {for: 1d, if_late_over: 1h, late: park}}]}";
const TIMES_SCRIPT: &str = "
    2027-01-31T12:00:00Z event go
    2027-02-01T12:00:00Z update time_zone=Mars/Olympus
    2027-03-27T23:30:00Z event go
    2027-06-01T00:00:00Z update time_zone=America/New_York
    2027-06-01T00:00:00Z event go
    2027-08-01T00:00:00Z wake
";

const ARMS: &str = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: s, split: {arms: [{name: a, weight: 1}, {name: b, weight: 2}]}},
    {id: u, update: {attributes: {count: {from: 'has(profile.count) ? profile.count + 1 : 1'}}}},
    {id: b, branch: {when: [{if: profile.count > 3, steps: [{id: x, exit: {}}]}, {if: has(event.note)}],
        otherwise: [{id: r, raise: {trigger: pong, attributes: {number: {from: profile.count}}, binding_id: {from: event.order}}}]}},
    {id: w, wait_for: {outcomes: [{trigger: pong, steps: [{id: g, go_to: s}]}], up_to: 5m}}]}";
const ARMS_SCRIPT: &str = "
    10:00 event go order=ping/1
    10:01 event pong number=9 @binding=ping/1
    10:10 event go note=hello order=x
    10:11 event go order=y @depth=10
";

const WRONG: &str = "{start: {trigger: go, repeat: {mode: always}}, steps: [{id: m, on_blocked: exit, on_failure: park, send: {message: mail}},
    {id: n, send: {message: to_work}}, {id: g, on_failure: exit, send: {message: greeting}}]}";
const WRONG_SCRIPT: &str = "
    10:00 event go order=a
    10:00 claim m
    10:00 claim m
    10:01 defer m 120000
    10:05 claim m
    10:05 not_tried m
    10:07 claim m
    10:08 reject m
    10:10 event go order=b
    10:10 claim m
    10:11 unknown m
    10:12 claim n
    10:20 update email=null
    10:20 event go order=c
    10:20 claim m
    10:30 event go order=d
    10:31 update email=ada@example.org
    10:31 sent m
    10:40 stop j
";

const ODD: &str = "{start: {trigger: go, window: {from: '2026-05-04T10:00:00Z'}}, exits: [{trigger: old_news}], steps: [{id: w, wait: {for: 1h}}]}";
const ODD_SCRIPT: &str = "
    09:00 event go @id=1 @created @identity=user_id:42
    10:00 event go @id=1
    10:00 event go @id=1 total=7
    10:01 event go @id=2 @conflict=email:b@x.org extra=1
    10:02 event old_news @occurred=-7200
    10:03 event old_nws
    10:04 event planned
    10:05 event sign @occurred=9999
    10:06 update plan=pro @id=1
    10:07 update plan=pro gone=null
    10:08 event old_news @occurred=-7200 @live
";

fn second_version() -> String {
    let journey = |seconds: u32| {
        documents(&format!(
            "{{start: {{trigger: go, repeat: {{mode: always}}}}, steps: [{{id: w, wait: {{for: {seconds}s}}}}]}}"
        ))
    };
    let mut stage = Stage::new(&journey(60)).with_ids(Ids::Raw);
    let first = stage.play("10:00 event go order=a");
    stage.publish(&journey(90));
    first + &stage.play_to_the_end("10:00 event go order=b")
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tests/golden.txt")
}

fn print(scenarios: &[(&'static str, String)]) -> String {
    let traces = scenarios.iter().map(|(name, trace)| format!("# {name}\n{trace}"));
    format!("rules {RULES_VERSION}\n{}", traces.collect::<String>())
}

/// What is to be done about the file.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    /// The version was raised, or there is no file: it may be written.
    Write,
    Wrong(String),
}

/// The scenarios of a file: name and trace.
fn parse(file: &str) -> BTreeMap<&str, &str> {
    file.split("# ").skip(1).filter_map(|scenario| scenario.split_once('\n')).collect()
}

fn judge(held: Option<&str>, now: &str, blessed: bool) -> Verdict {
    let Some(held) = held else { return if blessed { Verdict::Write } else { Verdict::Wrong(bless("is missing")) } };
    if held == now {
        return Verdict::Right;
    }
    let rules = held.lines().next().unwrap_or_default();
    if rules != format!("rules {RULES_VERSION}") {
        return if blessed { Verdict::Write } else { Verdict::Wrong(bless(&format!("was made under {rules}"))) };
    }
    let traces = parse(now);
    let changed = parse(held).into_iter().find(|(name, trace)| traces.get(name) != Some(trace));
    let Some((name, held)) = changed else {
        return if blessed { Verdict::Write } else { Verdict::Wrong(bless("lacks a new scenario")) };
    };
    let now = traces.get(name).copied().unwrap_or_default();
    let differs = held.lines().zip(now.lines()).find(|(held, now)| held != now);
    Verdict::Wrong(format!(
        "a decision changed in `{name}`: {differs:?}. If that is meant, raise RULES_VERSION in core/engine/src/lib.rs, so that no log \
         tail written under the old rules is replayed under the new ones; then run this test with SOJOURN_BLESS=1"
    ))
}

fn bless(why: &str) -> String {
    format!("golden.txt {why}; SOJOURN_BLESS=1 writes it under rules {RULES_VERSION}")
}

#[test]
fn a_changed_decision_raises_the_rules_version() {
    let now = print(&scenarios());
    let held = std::fs::read_to_string(path()).ok();
    match judge(held.as_deref(), &now, std::env::var_os("SOJOURN_BLESS").is_some()) {
        Verdict::Right => {}
        Verdict::Write => std::fs::write(path(), now).unwrap(),
        Verdict::Wrong(why) => panic!("{why}"),
    }
}

#[test]
fn blessing_needs_a_raised_version() {
    let now = format!("rules {RULES_VERSION}\n# a\nx\n");
    let changed = now.replace('x', "y");
    assert_eq!(judge(Some(&now), &now, false), Verdict::Right);
    let refused = judge(Some(&changed), &now, true);
    assert!(matches!(&refused, Verdict::Wrong(why) if why.contains("raise RULES_VERSION")), "{refused:?}");
    let more = format!("{now}# b\ny\n");
    assert_eq!(judge(Some(&now), &more, true), Verdict::Write, "a scenario more changes none");
    let fewer = judge(Some(&more), &now, true);
    assert!(matches!(fewer, Verdict::Wrong(_)), "{fewer:?}");
    let older = changed.replace(&format!("rules {RULES_VERSION}"), "rules 0");
    assert_eq!(judge(Some(&older), &now, true), Verdict::Write);
    let told = judge(Some(&older), &now, false);
    assert!(matches!(&told, Verdict::Wrong(why) if why.contains("SOJOURN_BLESS=1")), "{told:?}");
}

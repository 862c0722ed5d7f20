//! The compiled form: edges, defaults, and the examples as a whole.

use super::*;
use crate::{Next, StepKind};
use std::path::Path;

/// Each step with where it leads, one line a step.
fn edges(journey: &JourneyVersion) -> String {
    let to = |next: &Next| next.map_or("end".to_owned(), |index| journey.step(index).id.to_string());
    let line = |step: &crate::Step| {
        let arms: Vec<String> = match &step.kind {
            StepKind::Branch { arms, otherwise } => {
                arms.iter().map(|(_, next)| to(next)).chain([to(otherwise)]).collect()
            }
            StepKind::WaitFor(wait) => {
                let outcomes = wait.outcomes.iter().map(|outcome| to(&outcome.next));
                outcomes.chain([to(&wait.otherwise)]).collect()
            }
            StepKind::Split { arms, .. } => arms.iter().map(|arm| to(&arm.next)).collect(),
            StepKind::GoTo(target) => vec![journey.step(*target).id.to_string()],
            StepKind::Exit { reason } => vec![format!("({reason})")],
            StepKind::Send { .. }
            | StepKind::Wait(_)
            | StepKind::Update { .. }
            | StepKind::Raise { .. }
            | StepKind::Inert => vec![],
        };
        let arms = if arms.is_empty() { String::new() } else { format!(" [{}]", arms.join(", ")) };
        format!("{} {}{arms} -> {}\n", step.id, step.kind.as_str(), to(&step.next))
    };
    journey.steps.iter().map(line).collect()
}

#[test]
fn arms_go_on_after_their_container_and_empty_ones_fall_through() {
    let yaml = steps(
        "{id: a, branch: {when: [
            {if: event.total > 90, steps: [{id: b, wait: {for: 1h}}, {id: c, split: {arms: [
                {name: x, weight: 1, steps: [{id: d, send: {message: mail}}]}, {name: y, weight: 1}]}}]},
            {if: event.total > 50},
            {if: event.total > 40, steps: [{id: e, exit: {reason: small}}]}],
          otherwise: [{id: f, exit: {}}]}},
         {id: g, wait_for: {outcomes: [{trigger: bought, steps: [{id: h, go_to: a}]}, {trigger: cart}], up_to: 1d}}",
    );
    let catalog = published(&base(), &yaml);
    insta::assert_snapshot!(edges(live(&catalog, "j")), @r"
    a branch [b, g, e, f] -> g
    b wait -> c
    c split [d, g] -> g
    d send -> g
    e exit [(small)] -> g
    f exit [(f)] -> g
    g wait_for [h, end, end] -> end
    h go_to [a] -> end
    ");
}

#[test]
fn the_last_arm_of_the_last_step_leads_to_the_end() {
    let yaml = steps("{id: a, split: {arms: [{name: x, weight: 1, steps: [{id: b, wait: {for: 1h}}]}]}}");
    let catalog = published(&base(), &yaml);
    insta::assert_snapshot!(edges(live(&catalog, "j")), @r"
    a split [b] -> end
    b wait -> end
    ");
}

#[test]
fn policies_that_are_not_given_are_filled_in() {
    let yaml = steps(
        "{id: a, send: {message: mail}}, {id: b, wait: {for: 1h}}, \
         {id: c, send: {message: mail}, on_failure: park, on_blocked: exit}, {id: d, wait: {for: 1h}, on_failure: exit}",
    );
    let catalog = published(&base(), &yaml);
    let policies: Vec<String> = live(&catalog, "j")
        .steps
        .iter()
        .map(|step| format!("{} {:?} {:?}", step.id, step.on_failure, step.on_blocked))
        .collect();
    assert_eq!(policies, ["a Continue Continue", "b Park Continue", "c Park Exit", "d Exit Continue"]);
}

#[test]
fn t46_every_loop_that_need_not_take_time_is_told_at_its_head() {
    let yaml = steps(
        "{id: a, branch: {when: [{if: event.total > 5, steps: [{id: x, go_to: x}]}]}},
         {id: b, wait: {for: 1h}},
         {id: c, send: {message: mail}},
         {id: d, branch: {when: [{if: event.total > 7, steps: [{id: y, go_to: c}]}, {if: event.total > 6, steps: [{id: z, go_to: b}]}]}}",
    );
    let found = with(&base(), &puts(&yaml)).findings;
    let found = lines(&found);
    let errors: Vec<&String> = found.iter().filter(|line| line.starts_with("error")).collect();
    assert_eq!(errors, ["error loop_without_time Journey/j x", "error loop_without_time Journey/j c"]);
}

#[test]
fn the_largest_journey_is_checked_quickly() {
    // Branches in a row, each of whose arms goes on with the next: the number of ways doubles at each.
    let branches: Vec<String> = (0..666)
        .map(|at| {
            format!(
                "{{id: b{at}, branch: {{when: [{{if: event.total > {at}, steps: [{{id: x{at}, wait: {{for: 1h}}}}]}}], \
                 otherwise: [{{id: y{at}, wait: {{for: 1h}}}}]}}}}"
            )
        })
        .collect();
    let yaml = steps(&branches.join(", "));
    let before = std::thread::spawn(move || with(&base(), &puts(&yaml)).findings.len());
    assert_eq!(before.join().unwrap(), 0);
}

fn example_files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut files = Vec::new();
    for folder in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "yaml") {
                files.push((file.display().to_string(), std::fs::read_to_string(&file).unwrap()));
            }
        }
    }
    files.sort();
    assert!(files.len() >= 4, "the examples are where they are expected");
    files
}

#[test]
fn the_examples_have_no_errors() {
    let documents: Vec<Change> = example_files().iter().flat_map(|(_, yaml)| puts(yaml)).collect();
    let built = with(&Catalog::empty(), &documents);
    let errors: Vec<&Finding> = built.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert_eq!(errors, Vec::<&Finding>::new());
    assert!(built.catalog.unwrap().starts("abandoned_cart").len() == 1);
}

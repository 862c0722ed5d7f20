//! A journey's steps as a graph: what can be reached, and where people would go round without ever waiting.

use crate::compiled::{Next, Step, StepIndex, StepKind, WaitUntil};
use model::Finding;
use std::collections::BTreeSet;

/// What is wrong with the way through the steps.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Unreachable { step: String },
    LoopWithoutTime { step: String },
    NoWayToEnd { step: String },
}

impl Problem {
    pub(crate) fn finding(self, document: &str) -> Finding {
        match self {
            Problem::Unreachable { step } => {
                let message = "nobody can come here; the steps before it all lead elsewhere";
                Finding::warning("step_unreachable", document, message).at_step(step)
            }
            Problem::LoopWithoutTime { step } => {
                let message = "from here people come back here without any time going by; put a wait into the loop";
                Finding::error("loop_without_time", document, message).at_step(step)
            }
            Problem::NoWayToEnd { step } => {
                let message = "from here nobody ever comes to an end; only an exit trigger or a stop would free them";
                Finding::warning("no_way_to_end", document, message).at_step(step)
            }
        }
    }
}

/// Every edge out of a step, and whether time goes by on it.
fn edges(step: &Step) -> Vec<(Next, bool)> {
    match &step.kind {
        StepKind::Send { .. } | StepKind::Update { .. } | StepKind::Raise { .. } => vec![(step.next, false)],
        StepKind::Wait(wait) => {
            // An instant that is past, or a window one stands in, goes on at once; a duration never does.
            let takes_time = matches!(wait.until, WaitUntil::For(_));
            vec![(step.next, takes_time)]
        }
        StepKind::WaitFor(wait) => {
            // An outcome spends its event, so going round on outcomes alone comes to an end by itself.
            let outcomes = wait.outcomes.iter().map(|outcome| (outcome.next, true));
            outcomes.chain([(wait.otherwise, true)]).collect()
        }
        StepKind::Branch { arms, otherwise } => {
            arms.iter().map(|(_, next)| (*next, false)).chain([(*otherwise, false)]).collect()
        }
        StepKind::Split { arms, .. } => arms.iter().map(|arm| (arm.next, false)).collect(),
        StepKind::GoTo(target) => vec![(Some(*target), false)],
        StepKind::Exit { .. } => Vec::new(),
    }
}

pub(crate) fn check(steps: &[Step]) -> Vec<Problem> {
    let name = |at: usize| steps[at].id.to_string();
    let mut problems = Vec::new();
    let reached = reach(steps, 0, &|_| true);
    let unreachable = (0..steps.len()).filter(|at| !reached.contains(at));
    // Of a block of unreachable steps only the first is told.
    let first_of_each = unreachable.filter(|at| *at == 0 || reached.contains(&(at - 1)));
    problems.extend(first_of_each.map(|at| Problem::Unreachable { step: name(at) }));

    let mut told: BTreeSet<usize> = BTreeSet::new();
    for at in reached.iter().copied() {
        let without_time = successors(&steps[at], &|takes_time| !takes_time);
        let back: BTreeSet<usize> =
            without_time.iter().flat_map(|next| reach(steps, *next, &|takes_time| !takes_time)).collect();
        if back.contains(&at) && !back.iter().any(|other| told.contains(other)) {
            told.insert(at);
            problems.push(Problem::LoopWithoutTime { step: name(at) });
        }
    }
    let ends = |at: usize| {
        matches!(steps[at].kind, StepKind::Exit { .. }) || edges(&steps[at]).iter().any(|(next, _)| next.is_none())
    };
    let stuck = reached.iter().copied().find(|at| !reach(steps, *at, &|_| true).into_iter().any(ends));
    problems.extend(stuck.map(|at| Problem::NoWayToEnd { step: name(at) }));
    problems
}

fn successors(step: &Step, follow: &dyn Fn(bool) -> bool) -> Vec<usize> {
    let taken = edges(step).into_iter().filter(|(_, takes_time)| follow(*takes_time));
    taken.filter_map(|(next, _)| next.map(|StepIndex(at)| usize::from(at))).collect()
}

/// `from` and everything that can be reached over the edges to `follow`.
fn reach(steps: &[Step], from: usize, follow: &dyn Fn(bool) -> bool) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut to_visit = vec![from];
    while let Some(at) = to_visit.pop() {
        if reached.insert(at) {
            to_visit.extend(successors(&steps[at], follow));
        }
    }
    reached
}

//! A journey's steps as a graph: what can be reached, and where people would go round without ever waiting.
//! All of it in time that grows with the number of edges, since every publish waits for it.

use crate::builtin;
use crate::compiled::{Next, OutcomeOn, Step, StepIndex, StepKind, WaitUntil};
use model::Finding;

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
                let message = "from here people come back here without any time going by; put a `wait: {for: …}` or a \
                               `wait_for` into the loop";
                Finding::error("loop_without_time", document, message).at_step(step)
            }
            Problem::NoWayToEnd { step } => {
                let message = "from here nobody ever comes to an end; only an exit trigger or a stop would free them";
                Finding::warning("no_way_to_end", document, message).at_step(step)
            }
        }
    }
}

/// What goes by on the way from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    Passes,
    MayNotPass,
}

/// Every edge out of a step.
fn edges(step: &Step) -> Vec<(Next, Time)> {
    match &step.kind {
        StepKind::Send { .. } | StepKind::Update { .. } | StepKind::Raise { .. } => vec![(step.next, Time::MayNotPass)],
        StepKind::Wait(wait) => {
            // An instant that is past, or a window one stands in, goes on at once; a duration never does.
            let time = match wait.until {
                WaitUntil::For(_) => Time::Passes,
                WaitUntil::Instant(_) | WaitUntil::Attribute { .. } | WaitUntil::Time { .. } | WaitUntil::Window(_) => {
                    Time::MayNotPass
                }
            };
            vec![(step.next, time)]
        }
        StepKind::WaitFor(wait) => {
            let outcomes = wait.outcomes.iter().map(|outcome| match &outcome.on {
                // An outcome spends its event, so going round on events alone comes to an end by itself.
                OutcomeOn::Trigger { .. } => (outcome.next, Time::Passes),
                OutcomeOn::Interaction { interaction, .. } if builtin::is_by_person(interaction) => {
                    (outcome.next, Time::Passes)
                }
                // What the provider says of a send comes by itself, as fast as sends go out.
                OutcomeOn::Interaction { .. } => (outcome.next, Time::MayNotPass),
            });
            outcomes.chain([(wait.otherwise, Time::Passes)]).collect()
        }
        StepKind::Branch { arms, otherwise } => {
            let arms = arms.iter().map(|(_, next)| *next).chain([*otherwise]);
            arms.map(|next| (next, Time::MayNotPass)).collect()
        }
        StepKind::Split { arms, .. } => arms.iter().map(|arm| (arm.next, Time::MayNotPass)).collect(),
        StepKind::GoTo(target) => vec![(Some(*target), Time::MayNotPass)],
        StepKind::Exit { .. } | StepKind::Inert => Vec::new(),
    }
}

/// The steps as numbers.
struct Graph {
    /// By step: where it leads.
    edges: Vec<Vec<(usize, Time)>>,
    /// By step: whether a participant can end there.
    ends: Vec<bool>,
}

impl Graph {
    fn of(steps: &[Step]) -> Self {
        let mut graph = Graph { edges: Vec::with_capacity(steps.len()), ends: Vec::with_capacity(steps.len()) };
        for step in steps {
            let out = edges(step);
            let is_exit = matches!(step.kind, StepKind::Exit { .. });
            graph.ends.push(is_exit || out.iter().any(|(next, _)| next.is_none()));
            let inside = out.into_iter().filter_map(|(next, time)| Some((next?, time)));
            graph.edges.push(inside.map(|(StepIndex(at), time)| (usize::from(at), time)).collect());
        }
        graph
    }

    /// What can be reached from the first step.
    fn reached(&self) -> Vec<bool> {
        let mut reached = vec![false; self.edges.len()];
        let mut to_visit = vec![0];
        while let Some(at) = to_visit.pop() {
            if !std::mem::replace(&mut reached[at], true) {
                to_visit.extend(self.edges[at].iter().map(|(next, _)| *next));
            }
        }
        reached
    }

    /// From where an end can be reached.
    fn ending(&self) -> Vec<bool> {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.edges.len()];
        for (from, edges) in self.edges.iter().enumerate() {
            edges.iter().for_each(|(to, _)| before[*to].push(from));
        }
        let mut ending = vec![false; self.edges.len()];
        let mut to_visit: Vec<usize> = (0..self.ends.len()).filter(|at| self.ends[*at]).collect();
        while let Some(at) = to_visit.pop() {
            if !std::mem::replace(&mut ending[at], true) {
                to_visit.extend(&before[at]);
            }
        }
        ending
    }

    /// Where loops on which no time need pass come back to, of those among `reached`.
    fn loop_heads(&self, reached: &[bool]) -> Vec<bool> {
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum Visit {
            Not,
            OnTheWay,
            Done,
        }
        let mut visits = vec![Visit::Not; self.edges.len()];
        let mut heads = vec![false; self.edges.len()];
        for first in (0..self.edges.len()).filter(|at| reached[*at]) {
            // The way from `first`, each step with how many of its edges were taken.
            let mut way = Vec::new();
            if visits[first] == Visit::Not {
                visits[first] = Visit::OnTheWay;
                way.push((first, 0));
            }
            while let Some((at, taken)) = way.last_mut() {
                let Some((next, time)) = self.edges[*at].get(*taken).copied() else {
                    visits[*at] = Visit::Done;
                    way.pop();
                    continue;
                };
                *taken += 1;
                match (time, visits[next]) {
                    (Time::Passes, _) | (Time::MayNotPass, Visit::Done) => {}
                    (Time::MayNotPass, Visit::OnTheWay) => heads[next] = true,
                    (Time::MayNotPass, Visit::Not) => {
                        visits[next] = Visit::OnTheWay;
                        way.push((next, 0));
                    }
                }
            }
        }
        heads
    }
}

pub(crate) fn check(steps: &[Step]) -> Vec<Problem> {
    let graph = Graph::of(steps);
    let (reached, ending) = (graph.reached(), graph.ending());
    let heads = graph.loop_heads(&reached);
    let name = |at: usize| steps[at].id.to_string();
    let mut problems = Vec::new();
    for at in 0..steps.len() {
        // Of a block of unreachable steps only the first is told.
        if !reached[at] && (at == 0 || reached[at - 1]) {
            problems.push(Problem::Unreachable { step: name(at) });
        }
        if heads[at] {
            problems.push(Problem::LoopWithoutTime { step: name(at) });
        }
    }
    // Where nobody gets out, nobody gets out further on either: the first is told.
    let stuck = (0..steps.len()).find(|at| reached[*at] && !ending[*at]);
    problems.extend(stuck.map(|at| Problem::NoWayToEnd { step: name(at) }));
    problems
}

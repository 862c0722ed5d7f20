//! Which paths a template reads, and whether it copes without each.

use crate::Variable;
use crate::syntax::{Chain, Condition, Expression, Node, Over, Path, Step, Test};
use std::collections::BTreeMap;

/// Sorted by path, each once; a path that is read in several places needs a default in each of them.
pub fn read_by(nodes: &[Node]) -> Vec<Variable> {
    let mut reader = Reader::default();
    reader.nodes(nodes);
    reader.found.into_iter().map(|(path, has_default)| Variable { path, has_default }).collect()
}

#[derive(Default)]
struct Reader<'a> {
    found: BTreeMap<String, bool>,
    /// The template's own variables. A loop's stands for `list[]`, others for nothing of the data.
    locals: Vec<(&'a str, Option<String>)>,
    /// Paths that an `if` around the place asks about.
    guards: Vec<String>,
}

impl<'a> Reader<'a> {
    fn nodes(&mut self, nodes: &'a [Node]) {
        for node in nodes {
            self.node(node);
        }
    }

    fn node(&mut self, node: &'a Node) {
        match node {
            Node::Text(_) | Node::Break | Node::Continue => {}
            Node::Output { chain, .. } => self.chain(chain),
            Node::Assign { name, chain, .. } => {
                self.chain(chain);
                self.locals.push((name, None));
            }
            Node::Capture { name, body } => {
                self.nodes(body);
                self.locals.push((name, None));
            }
            Node::If { arms, otherwise, .. } => {
                let guarded = self.guards.len();
                // The paths stay guarded in the later arms too: they were asked about.
                for arm in arms {
                    self.condition(&arm.condition);
                    self.nodes(&arm.body);
                }
                self.nodes(otherwise);
                self.guards.truncate(guarded);
            }
            Node::Case { subject, arms, otherwise, .. } => {
                let guarded = self.guards.len();
                self.guard(subject);
                for (values, body) in arms {
                    values.iter().for_each(|value| self.expression(value, true));
                    self.nodes(body);
                }
                self.nodes(otherwise);
                self.guards.truncate(guarded);
            }
            Node::For(each) => {
                let item = match &each.over {
                    Over::List(list) => {
                        self.expression(list, each.otherwise.is_some());
                        if let Expression::Path(path) = list {
                            self.resolve(path).map(|list| list + "[]")
                        } else {
                            None
                        }
                    }
                    Over::Range(first, last) => {
                        self.expression(first, true);
                        self.expression(last, true);
                        None
                    }
                };
                for bound in [&each.limit, &each.offset].into_iter().flatten() {
                    self.expression(bound, true);
                }
                let depth = self.locals.len();
                self.locals.push(("forloop", None));
                self.locals.push((&each.variable, item));
                self.nodes(&each.body);
                self.locals.drain(depth..depth + 2);
                self.nodes(each.otherwise.as_deref().unwrap_or_default());
            }
        }
    }

    fn chain(&mut self, chain: &'a Chain) {
        let has_default = chain.has_default();
        self.expression(&chain.entry, has_default);
        for argument in chain.calls.iter().flat_map(|call| &call.arguments) {
            self.expression(argument, has_default);
        }
    }

    fn condition(&mut self, condition: &'a Condition) {
        for test in &condition.tests {
            match test {
                Test::Truthy(value) => self.guard(value),
                Test::Compare(left, _, right) => {
                    self.guard(left);
                    self.guard(right);
                }
            }
        }
    }

    fn guard(&mut self, expression: &'a Expression) {
        self.expression(expression, true);
        if let Expression::Path(path) = expression {
            self.guards.extend(self.resolve(path));
        }
    }

    fn expression(&mut self, expression: &'a Expression, has_default: bool) {
        let Expression::Path(path) = expression else {
            return;
        };
        for step in &path.steps {
            if let Step::Index(index) = step {
                self.expression(index, has_default);
            }
        }
        let Some(path) = self.resolve(path) else {
            return;
        };
        let copes = has_default || self.guards.contains(&path);
        *self.found.entry(path).or_insert(true) &= copes;
    }

    /// The path in the data; None for what the template made itself.
    fn resolve(&self, path: &Path) -> Option<String> {
        let mut text = match self.locals.iter().rfind(|(name, _)| *name == path.root) {
            Some((_, stands_for)) => stands_for.clone()?,
            None => path.root.clone(),
        };
        for step in &path.steps {
            match step {
                Step::Name(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Step::Index(Expression::Int(index)) => text.push_str(&format!("[{index}]")),
                Step::Index(_) => text.push_str("[]"),
            }
        }
        Some(text)
    }
}

//! Where in a file something stands: from the place within a document, as findings name it, to its line.

use crate::document::DEPTH_MAX;
use granit_parser::{Event, Parser};

/// The outline of a file: its documents with the lines of all that is in them.
#[derive(Debug, Default)]
pub struct Places {
    documents: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    /// From 1.
    line: usize,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Scalar(String),
    List(Vec<Node>),
    /// Each name with its own line.
    Map(Vec<(String, usize, Node)>),
}

impl Places {
    /// Of a file in YAML or JSON, as far as it can be read.
    pub fn of(text: &str) -> Self {
        let mut places = Places::default();
        let mut parser = Parser::new_from_str(text);
        while let Some(Ok((event, span))) = parser.next_event() {
            let Some(node) = node(&mut parser, &event, span.start.line(), 0) else { continue };
            match node.shape {
                // A list is a list of documents, and an empty document is none.
                Shape::List(items) => places.documents.extend(items),
                Shape::Scalar(text) if ["", "~", "null"].contains(&text.as_str()) => {}
                Shape::Scalar(_) | Shape::Map(_) => places.documents.push(node),
            }
        }
        places
    }

    /// The line of what a finding is about: in the document `Journey/welcome`, within the step of that id if there is
    /// one, at a path such as `spec.start.where` or, of a step, `wait.for`. As near as it can be found: a field that is
    /// missing has the line of what it is missing from.
    pub fn line(&self, document: &str, step: Option<&str>, path: &str) -> Option<usize> {
        let (kind, name) = document.split_once('/')?;
        let is_it = |node: &&Node| {
            node.get("kind").and_then(Node::text) == Some(kind)
                && node.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text) == Some(name)
        };
        let document = self.documents.iter().find(is_it)?;
        Some(match step {
            None => document.line_at(path),
            Some(step) => document.step(step)?.line_at(path),
        })
    }

    /// The line of `path` in the document that stands at `nth` place.
    pub(crate) fn line_in(&self, nth: usize, path: &str) -> Option<usize> {
        Some(self.documents.get(nth)?.line_at(path))
    }
}

impl Node {
    fn get(&self, name: &str) -> Option<&Node> {
        let Shape::Map(pairs) = &self.shape else { return None };
        pairs.iter().find(|(held, ..)| held == name).map(|(_, _, node)| node)
    }

    fn text(&self) -> Option<&str> {
        if let Shape::Scalar(text) = &self.shape { Some(text) } else { None }
    }

    /// Of the last part of `path` that is there.
    fn line_at(&self, path: &str) -> usize {
        let (mut node, mut line) = (self, self.line);
        for segment in path.split(['.', '[']).map(|segment| segment.trim_end_matches(']')) {
            let found = match &node.shape {
                Shape::Map(pairs) => {
                    pairs.iter().find(|(name, ..)| name == segment).map(|(_, line, node)| (*line, node))
                }
                Shape::List(items) => {
                    segment.parse::<usize>().ok().and_then(|at| items.get(at)).map(|node| (node.line, node))
                }
                Shape::Scalar(_) => None,
            };
            let Some(found) = found else { break };
            (line, node) = found;
        }
        line
    }

    /// The step with this id, however deep within arms.
    fn step(&self, id: &str) -> Option<&Node> {
        if self.get("id").and_then(Node::text) == Some(id) {
            return Some(self);
        }
        match &self.shape {
            Shape::Scalar(_) => None,
            Shape::List(items) => items.iter().find_map(|item| item.step(id)),
            Shape::Map(pairs) => pairs.iter().find_map(|(_, _, node)| node.step(id)),
        }
    }
}

type Source<'a> = Parser<'a, granit_parser::StrInput<'a>>;

/// The node that begins with `event`; None where none does, or it nests deeper than any document may.
#[expect(clippy::wildcard_enum_match_arm, reason = "the enum is not ours and may grow; only nodes are of interest")]
fn node(parser: &mut Source<'_>, event: &Event<'_>, line: usize, depth: usize) -> Option<Node> {
    if depth > DEPTH_MAX + 1 {
        return None;
    }
    let shape = match event {
        Event::Scalar(text, ..) => Shape::Scalar(text.to_string()),
        Event::Alias(_) | Event::UnresolvedAlias(_) => Shape::Scalar(String::new()),
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            while let Some(item) = next_node(parser, depth) {
                items.push(item);
            }
            Shape::List(items)
        }
        Event::MappingStart(..) => {
            let mut pairs = Vec::new();
            while let Some(key) = next_node(parser, depth) {
                let Some(value) = next_node(parser, depth) else { break };
                pairs.push((key.text().unwrap_or_default().to_owned(), key.line, value));
            }
            Shape::Map(pairs)
        }
        // The end of something, or nothing that is a node.
        _ => return None,
    };
    Some(Node { line, shape })
}

/// The next item of a list or object; None at its end.
fn next_node(parser: &mut Source<'_>, depth: usize) -> Option<Node> {
    loop {
        let (event, span) = parser.next_event()?.ok()?;
        if !matches!(event, Event::Comment(..) | Event::Anchor(..)) {
            return node(parser, &event, span.start.line(), depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# A comment.
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: cart}
spec: {}
---
apiVersion: sojourn/v1
kind: Journey
metadata:
  name: j
spec:
  start:
    trigger: cart # here
    where: event.x > 5
  steps:
    - id: a
      branch:
        when:
          - if: event.y > 5
            steps:
              - {id: b, wait: {
                  for: 1y}}
";

    #[test]
    fn a_place_has_its_line() {
        let places = Places::of(FILE);
        for (document, step, path, line) in [
            ("Trigger/cart", None, "spec.attributes", 5),
            ("Journey/j", None, "", 7),
            ("Journey/j", None, "spec.start.where", 14),
            ("Journey/j", None, "spec.steps[0].branch", 17),
            ("Journey/j", Some("a"), "branch.when[0].if", 19),
            ("Journey/j", Some("b"), "wait.for", 22),
            ("Journey/j", Some("b"), "wait.late", 21),
            // Of another document: the step that sends it.
            ("Journey/j", Some("b"), "Message/mail spec.text", 21),
        ] {
            assert_eq!(places.line(document, step, path), Some(line), "{document} {step:?} {path}");
        }
        assert_eq!(places.line("Journey/k", None, ""), None);
        assert_eq!(places.line("Journey/j", Some("c"), ""), None);
        assert_eq!(places.line_in(1, "spec.start"), Some(12));
    }

    #[test]
    fn json_and_lists_have_lines_too_and_what_is_broken_has_none() {
        let places =
            Places::of("[\n{\"kind\": \"Trigger\",\n\"metadata\": {\"name\": \"t\"},\n\"spec\": {\"x\": 1}}\n]");
        assert_eq!(places.line("Trigger/t", None, "spec.x"), Some(4));
        assert_eq!(Places::of("a: [").line("Trigger/t", None, ""), None);
        assert_eq!(Places::of(&"[".repeat(100_000)).line("Trigger/t", None, ""), None);
    }
}

//! Stories: a journey, what happens to one profile, and the whole trace of it.

mod ends;
mod events;
mod golden;
mod orders;
mod sends;
mod stage;
mod starts;
mod steps;
mod waits;

use stage::Stage;

/// What the journeys of the stories use.
const BASE: &str = "
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: go}
spec:
  bind: contact
  binding: order/{order}
  attributes: {order: {type: text}, total: {type: number}, at: {type: datetime}, note: {type: text}}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: halt}
spec: {binding: 'order/{order}', attributes: {order: {type: text}, total: {type: number}}}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: sign}
spec: {attributes: {total: {type: number}, note: {type: text}}}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: pong}
spec: {binding: 'ping/{number}', attributes: {number: {type: number, required: true}, note: {type: text}}}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: old_news}
spec: {bind: lead, max_age: 1h}
---
apiVersion: sojourn/v1
kind: Trigger
metadata: {name: planned}
spec: {state: draft}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: mail}
spec: {channel: email, purpose: transactional, subject: Hello, text: Hello}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: greeting}
spec: {channel: email, purpose: transactional, subject: 'Hello {{ profile.first_name }}', text: Hello}
---
apiVersion: sojourn/v1
kind: Message
metadata: {name: to_work}
spec: {channel: email, purpose: transactional, to: work_email, subject: Work, text: Hello}
";

fn documents(spec: &str) -> String {
    format!("{BASE}---\napiVersion: sojourn/v1\nkind: Journey\nmetadata: {{name: j}}\nspec: {spec}\n")
}

/// A stage on which the journey `j` with this spec is live.
fn stage(spec: &str) -> Stage {
    Stage::new(&documents(spec))
}

/// Plays the script on the journey `j`, and lets every timer fire after it.
fn story(spec: &str, script: &str) -> String {
    stage(spec).play_to_the_end(script)
}

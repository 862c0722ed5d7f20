//! How long a condition takes to evaluate, and to compile: `cargo run --release -p condition --example condition_speed`.

use condition::{Condition, Facts, Lookup, Root, Schema};
use model::{Attributes, Timestamp, Value};
use std::hint::black_box;

struct Undeclared;

impl Schema for Undeclared {
    fn lookup(&self, _: &[&str]) -> Lookup {
        Lookup::Open
    }
}

struct World {
    event: Attributes,
    profile: Attributes,
}

impl Facts for World {
    fn root(&self, root: &Root) -> Option<&Attributes> {
        match root {
            Root::Event => Some(&self.event),
            Root::Profile => Some(&self.profile),
            Root::Record | Root::Trigger(_) | Root::Step(_) => None,
        }
    }
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }
    fn zone(&self) -> calendar::Zone {
        calendar::Zone::utc()
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures")]
fn nanoseconds(rounds: u32, mut run: impl FnMut()) -> f64 {
    (0..rounds / 10).for_each(|_| run());
    let begun = std::time::Instant::now();
    (0..rounds).for_each(|_| run());
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
}

fn main() {
    let event = [("cart_id", Value::from("c1")), ("cart_total", Value::from(80)), ("currency", Value::from("EUR"))];
    let profile =
        ["city", "email", "first_name", "language", "plan", "time_zone"].map(|name| (name, Value::from("pro")));
    let world = World { event: event.into_iter().collect(), profile: profile.into_iter().collect() };
    for source in [
        "event.cart_total > 50 && profile.plan == 'pro'",
        "profile.plan in ['free', 'basic', 'pro'] && !has(profile.unsubscribed)",
        "profile.plan.startsWith('p') || event.currency.matches('^EU')",
        "event.cart_total / 3 > 20.5 ? profile.city != 'Berlin' : now > timestamp('2026-05-01T09:00:00Z')",
    ] {
        let condition = Condition::compile(source, &Undeclared).expect("the condition is right").0;
        let evaluate_ns = nanoseconds(5_000_000, || {
            black_box(black_box(&condition).evaluate(black_box(&world)));
        });
        let compile_ns = nanoseconds(2_000, || {
            black_box(Condition::compile(black_box(source), &Undeclared).is_ok());
        });
        println!("{evaluate_ns:6.1} ns to evaluate, {:5.1} µs to compile: {source}", compile_ns / 1e3);
    }
}

//! Our evaluation beside the cel crate's interpreter, on generated conditions and values.
//!
//! The conditions stay within what both understand in the same way. Where we differ on purpose (the crate's own
//! documentation says where) the generators avoid it: no `/` of whole numbers, no null, no `has` below something absent.
//! Nor do they compare whole numbers past 2^53 with floats: the interpreter rounds there, against CEL's definition.

use cel::{Context, Program};
use condition::{Condition, Facts, Lookup, Outcome, Root, Schema};
use model::{Attributes, Timestamp, Value};
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// Nothing is declared, so that nothing is refused for its type before it runs.
struct Undeclared;

impl Schema for Undeclared {
    fn lookup(&self, _: &[&str]) -> Lookup {
        Lookup::Open
    }
}

#[derive(Clone, Debug)]
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

#[derive(Debug, PartialEq)]
enum Answer {
    Is(bool),
    /// An error, or not a boolean.
    None,
    /// The check found that a part always fails, though something beside it may decide.
    Refused,
}

fn ours(source: &str, world: &World) -> Answer {
    match Condition::compile(source, &Undeclared) {
        Ok((condition, _)) => match condition.evaluate(world) {
            Outcome::True => Answer::Is(true),
            Outcome::False => Answer::Is(false),
            Outcome::Failed(_) => Answer::None,
        },
        Err(problems) => {
            let by_type =
                problems.iter().all(|problem| ["condition_always_fails", "condition_type"].contains(&problem.code));
            assert!(by_type, "{source}: {problems:?}");
            Answer::Refused
        }
    }
}

fn oracle(source: &str, world: &World) -> Answer {
    let mut context = Context::default();
    context.add_variable("event", &world.event).expect("attributes are values");
    context.add_variable("profile", &world.profile).expect("attributes are values");
    match Program::compile(source).expect("what is generated is CEL").execute(&context) {
        Ok(cel::Value::Bool(truth)) => Answer::Is(truth),
        Ok(_) | Err(_) => Answer::None,
    }
}

fn one_of(strategies: Vec<BoxedStrategy<String>>) -> BoxedStrategy<String> {
    Union::new(strategies).boxed()
}

fn words(words: &'static [&'static str]) -> BoxedStrategy<String> {
    proptest::sample::select(words).prop_map(str::to_owned).boxed()
}

fn infix(
    left: &BoxedStrategy<String>,
    operators: &'static [&'static str],
    right: &BoxedStrategy<String>,
) -> BoxedStrategy<String> {
    (left.clone(), proptest::sample::select(operators), right.clone())
        .prop_map(|(left, operator, right)| format!("({left} {operator} {right})"))
        .boxed()
}

/// Expressions of one type each, built on each other.
#[derive(Clone)]
struct Expressions {
    whole: BoxedStrategy<String>,
    float: BoxedStrategy<String>,
    text: BoxedStrategy<String>,
    truth: BoxedStrategy<String>,
}

const COMPARISONS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];

impl Expressions {
    /// The names of `event` are always there, those of `profile` may be absent.
    fn leaves() -> Self {
        Expressions {
            whole: words(&[
                "0",
                "1",
                "2",
                "7",
                "-3",
                "9223372036854775807",
                "9007199254740993",
                "event.whole",
                "profile.whole",
            ]),
            float: words(&[
                "0.0",
                "0.5",
                "-2.25",
                "7.0",
                "9007199254740992.0",
                "1e300",
                "event.float",
                "profile.float",
            ]),
            text: words(&["''", "'a'", "'ab'", "'b'", "'Köln'", "event.text", "profile.text"]),
            truth: words(&["true", "false", "event.truth", "profile.truth", "has(profile.whole)", "has(profile.text)"]),
        }
    }

    fn deeper(&self) -> Self {
        let Expressions { whole, float, text, truth } = self.clone();
        let ternary = |of: &BoxedStrategy<String>| {
            (truth.clone(), of.clone(), of.clone())
                .prop_map(|(condition, yes, no)| format!("({condition} ? {yes} : {no})"))
                .boxed()
        };
        let wrap = |of: &BoxedStrategy<String>, before: &'static str, after: &'static str| {
            of.clone().prop_map(move |inner| format!("{before}({inner}){after}")).boxed()
        };
        let list_of = |of: &BoxedStrategy<String>| {
            prop::collection::vec(of.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))).boxed()
        };
        let text_lists = one_of(vec![list_of(&text), words(&["event.texts", "profile.texts"])]);
        let small = one_of(vec![words(&["0", "1", "7", "-3"]), wrap(&text, "size", "")]);
        let whole_lists = one_of(vec![list_of(&whole), words(&["event.wholes"])]);
        Expressions {
            whole: one_of(vec![
                whole.clone(),
                infix(&whole, &["+", "-", "*", "%"], &whole),
                wrap(&whole, "-", ""),
                wrap(&text, "size", ""),
                wrap(&text_lists, "size", ""),
                wrap(&whole, "int(string", ")"),
                ternary(&whole),
                (whole_lists.clone(), words(&["0", "1", "5"])).prop_map(|(list, at)| format!("{list}[{at}]")).boxed(),
            ]),
            float: one_of(vec![
                float.clone(),
                infix(&float, &["+", "-"], &float),
                wrap(&float, "-", ""),
                wrap(&whole, "double", ""),
                ternary(&float),
            ]),
            text: one_of(vec![text.clone(), infix(&text, &["+"], &text), wrap(&whole, "string", ""), ternary(&text)]),
            truth: one_of(vec![
                truth.clone(),
                infix(&truth, &["&&", "||"], &truth),
                infix(&truth, &["&&", "||"], &truth),
                wrap(&truth, "!", ""),
                ternary(&truth),
                infix(&whole, COMPARISONS, &whole),
                infix(&small, COMPARISONS, &float),
                infix(&float, COMPARISONS, &small),
                infix(&float, COMPARISONS, &float),
                infix(&text, COMPARISONS, &text),
                infix(&truth, &["==", "!="], &truth),
                infix(&text, &["in"], &text_lists),
                infix(&whole, &["in"], &whole_lists),
                infix(&text_lists, &["==", "!="], &text_lists),
                (text.clone(), words(&["contains", "startsWith", "endsWith"]), text)
                    .prop_map(|(text, function, part)| format!("({text}).{function}({part})"))
                    .boxed(),
            ]),
        }
    }
}

fn world() -> impl Strategy<Value = World> {
    let whole = || prop_oneof![-10_i64..10, any::<i64>()].prop_map(Value::Int);
    let float = || prop_oneof![(-10_i32..10).prop_map(f64::from), -1e12..1e12].prop_map(Value::Float);
    let text = || prop_oneof![Just("a"), Just("ab"), Just("b"), Just(""), Just("Kölnab")].prop_map(Value::from);
    let texts = move || prop::collection::vec(text(), 0..4).prop_map(Value::List);
    let attributes = move || {
        let wholes = prop::collection::vec(whole(), 0..4).prop_map(Value::List);
        (whole(), float(), text(), any::<bool>().prop_map(Value::from), texts(), wholes).prop_map(
            |(whole, float, text, truth, texts, wholes)| {
                [
                    ("whole", whole),
                    ("float", float),
                    ("text", text),
                    ("truth", truth),
                    ("texts", texts),
                    ("wholes", wholes),
                ]
            },
        )
    };
    let kept = prop::array::uniform6(any::<bool>());
    (attributes(), attributes(), kept).prop_map(|(event, profile, kept)| World {
        event: event.into_iter().collect(),
        profile: profile.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(pair, _)| pair).collect(),
    })
}

/// Values whose types nobody knows.
fn untyped_world() -> impl Strategy<Value = World> {
    let atom = prop_oneof![
        1 => any::<bool>().prop_map(Value::from),
        6 => (-3_i64..3).prop_map(Value::from),
        1 => prop_oneof![Just(0.0), Just(1.0), Just(2.5)].prop_map(Value::Float),
        2 => prop_oneof![Just("a"), Just("1"), Just("x")].prop_map(Value::from),
    ];
    let value = prop_oneof![
        8 => atom.clone(),
        1 => prop::collection::vec(atom.clone(), 0..3).prop_map(Value::List),
        1 => prop::collection::btree_map("[ax]", atom, 0..3).prop_map(|map| Value::Map(map.into_iter().collect())),
    ];
    let attributes = move || {
        prop::array::uniform5(value.clone())
            .prop_map(|values| ["a", "b", "c", "d", "x"].into_iter().zip(values).collect())
    };
    (attributes(), attributes()).prop_map(|(event, profile)| World { event, profile })
}

fn untyped() -> BoxedStrategy<String> {
    let path = words(&[
        "event.a",
        "event.b",
        "event.c",
        "profile.a",
        "profile.b",
        "profile['c']",
        "event.d.x",
        "profile.gone",
    ]);
    let value = one_of(vec![
        path.clone(),
        path.clone(),
        words(&["1", "2.5", "'a'", "'x'", "true", "[1, 'a']"]),
        infix(&path, &["+", "-", "*"], &path),
        path.clone().prop_map(|of| format!("size({of})")).boxed(),
        (path.clone(), path.clone()).prop_map(|(list, at)| format!("({list})[{at}]")).boxed(),
    ]);
    let truth = one_of(vec![
        infix(&path, COMPARISONS, &value),
        infix(&value, COMPARISONS, &path),
        infix(&value, &["in"], &path),
        words(&["has(event.a)", "has(profile.gone)", "event.a < 1", "profile.b >= 0", "event.a"]),
    ]);
    truth
        .prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                6 => infix(&inner.clone().boxed(), &["&&", "||"], &inner.clone().boxed()),
                1 => infix(&inner.clone().boxed(), &["==", "!="], &inner.clone().boxed()),
                1 => inner.clone().prop_map(|one| format!("!({one})")),
                1 => (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            ]
        })
        .boxed()
}

const CASES: u32 = 2_000;

fn config() -> ProptestConfig {
    ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() }
}

/// Where the types are right, every answer is CEL's, and where CEL has none, neither have we.
#[test]
fn well_typed_conditions_mean_what_cel_means() {
    let compared = Cell::new(0);
    let strategy = (Expressions::leaves().deeper().deeper().deeper().truth, world());
    let result = TestRunner::new(config()).run(&strategy, |(source, world)| {
        let answer = ours(&source, &world);
        if answer != Answer::Refused {
            compared.set(compared.get() + u32::from(matches!(answer, Answer::Is(_))));
            prop_assert_eq!(answer, oracle(&source, &world), "{}", source);
        }
        Ok(())
    });
    result.unwrap();
    // Were everything refused or without answer, nothing would have been compared.
    assert!(compared.get() > CASES / 2, "only {} of {CASES} had an answer", compared.get());
}

/// Where types do not fit we may have no answer though CEL has one (T12), but never another one.
#[test]
fn t12_ill_typed_conditions_never_contradict_cel() {
    let compared = Cell::new(0);
    let result = TestRunner::new(config()).run(&(untyped(), untyped_world()), |(source, world)| {
        if let (Answer::Is(ours), Answer::Is(cel)) = (ours(&source, &world), oracle(&source, &world)) {
            compared.set(compared.get() + 1);
            prop_assert_eq!(ours, cel, "{}", source);
        }
        Ok(())
    });
    result.unwrap();
    assert!(compared.get() > CASES / 10, "only {} of {CASES} had two answers", compared.get());
}

proptest! {
    #![proptest_config(config())]

    /// Whatever is sent, there is an answer and no panic.
    #[test]
    fn any_text_is_compiled_or_refused(source in "\\PC{0,60}") {
        let _compiled_or_refused = Condition::compile(&source, &Undeclared);
    }

    /// The same of what looks like a condition but for its order.
    #[test]
    fn any_words_are_compiled_or_refused(words in prop::collection::vec(proptest::sample::select(&[
        "(", ")", "[", "]", "{", "}", "?", ":", ",", ".", "-", "!", "+", "*", "/", "%", "==", "<", ">=", "&&", "||", "in",
        "has", "all", "exists", "map", "filter", "size", "matches", "timestamp", "duration", "event", "profile", "trigger",
        "now", "x", "1", "2.5", "1u", "0x1F", "'a'", "\"b\"", "r'c'", "b'd'", "'''e'''", "`f g`", "null", "true", "'", "\\",
        "//", "\n", "ü", "reserved", "for", "_",
    ][..]), 0..24), spaced: bool) {
        let _compiled_or_refused = Condition::compile(&words.join(if spaced { " " } else { "" }), &Undeclared);
    }
}

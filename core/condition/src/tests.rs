use super::*;
use model::{Attributes, Timestamp};

struct Shop;

impl Schema for Shop {
    fn lookup(&self, path: &[&str]) -> Lookup {
        let known = |ty, required| Lookup::Known { ty, required };
        match path {
            ["event", "cart_total"] => known(Type::Number, true),
            ["event", "coupon"] => known(Type::Text, false),
            ["event", "starts_at"] => known(Type::Datetime, true),
            ["event", "gift"] => known(Type::Bool, true),
            ["event", name] => {
                let near = model::nearest::nearest(name, ["cart_total", "coupon", "starts_at", "gift"]);
                let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                Lookup::Unknown { why: format!("event.{name} is not an attribute of the trigger abandoned_cart{hint}") }
            }
            _ => Lookup::Open,
        }
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
            Root::Trigger(name) if name == "bought" => Some(&self.event),
            Root::Record | Root::Trigger(_) | Root::Step(_) => None,
        }
    }
    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-05-01T09:00:00Z").unwrap()
    }
}

fn world() -> World {
    let json = |text| serde_json::from_str(text).unwrap();
    World {
        event: json(
            r#"{"cart_total": 80, "starts_at": "2026-05-02T09:00:00Z", "gift": true,
                "items": [{"sku": "a"}, {"sku": "b"}], "big": 9007199254740993}"#,
        ),
        profile: json(
            r#"{"plan": "pro", "age": 41, "score": 1.5, "tags": ["vip", "beta"], "none": null, "numeric": "80"}"#,
        ),
    }
}

fn outcome(source: &str) -> String {
    match Condition::compile(source, &Shop) {
        Ok((condition, _)) => match condition.evaluate(&world()) {
            Outcome::True => "true".into(),
            Outcome::False => "false".into(),
            Outcome::Failed(lack) => lack.to_string(),
        },
        Err(problems) => {
            problems.iter().map(|problem| format!("{}: {problem}", problem.code)).collect::<Vec<_>>().join("; ")
        }
    }
}

#[test]
fn conditions_say_true_false_or_what_they_lack() {
    for (source, expected) in [
        ("event.cart_total > 50 && profile.plan == 'pro'", "true"),
        ("event.cart_total > 80.5", "false"),
        ("event.cart_total == 80.0", "true"),
        ("profile.big_spender == true", "profile.big_spender has no value"),
        ("profile.big_spender == true || profile.plan == 'pro'", "true"),
        ("profile.big_spender == true && profile.plan == 'free'", "false"),
        ("profile.big_spender == true && profile.plan == 'pro'", "profile.big_spender has no value"),
        ("has(profile.big_spender) && profile.big_spender", "false"),
        ("!has(profile.none)", "true"),
        ("profile.none == null", "true"),
        ("profile.plan != null", "true"),
        ("'vip' in profile.tags", "true"),
        ("profile.plan in ['free', 'basic']", "false"),
        ("profile.tags[1] == 'beta'", "true"),
        ("profile.tags[2] == 'beta'", "item 2 of a list of 2 has no value"),
        ("size(profile.tags) == 2", "true"),
        ("profile.plan.startsWith('p') && profile.plan.endsWith('o') && profile.plan.contains('r')", "true"),
        ("profile.plan.upperAscii() == 'PRO'", "true"),
        ("event.starts_at > now && event.starts_at - now <= duration('24h')", "true"),
        ("event.starts_at == timestamp('2026-05-02T11:00:00+02:00')", "true"),
        ("(profile.age + 1) * 2 == 84", "true"),
        ("profile.age / 0 == 1", "a division by zero"),
        ("profile.age % 2 == 1 ? event.gift : false", "true"),
        ("trigger.bought.cart_total == 80", "true"),
        ("trigger.other.cart_total == 80", "trigger.other.cart_total has no value"),
        ("event['gift']", "true"),
        ("int(profile.numeric) == event.cart_total", "true"),
        ("-profile.score < 0", "true"),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

/// The catalog knows the types of events; of profiles nothing is declared, and a value that does not fit is an error.
#[test]
fn t12_a_value_of_another_type_is_an_error_and_never_false() {
    assert_eq!(outcome("profile.numeric > 50"), "a text cannot be compared with a number");
    assert_eq!(outcome("profile.numeric == 80"), "a text cannot be compared with a number");
    assert_eq!(outcome("profile.plan"), "true or false was expected, a text came");
}

#[test]
fn bad_conditions_say_what_is_wrong_and_where() {
    for (source, expected) in [
        (
            "event.cart_totl > 50",
            "condition_unknown_path: event.cart_totl is not an attribute of the trigger abandoned_cart; did you mean cart_total? (column 1)",
        ),
        (
            "event.cart_total > '50'",
            "condition_type: a number (event.cart_total) cannot be compared with a text (column 1)",
        ),
        ("event.gift > true", "condition_type: a boolean (event.gift) cannot be compared with a boolean (column 1)"),
        (
            "event.cart_total",
            "condition_type: the condition `event.cart_total` gives a number; expected true or false (column 1)",
        ),
        (
            "cart_total > 5",
            "condition_unknown_path: `cart_total` is not known; a condition reads event, profile, trigger.<name>, record, steps.<id> and now (column 1)",
        ),
        (
            "profile == 1",
            "condition_unknown_path: `profile` alone is not a value; name an attribute of it, such as profile.id (column 1)",
        ),
        (
            "event.gift && event.cart_total",
            "condition_type: `&&` needs a boolean, not a number (event.cart_total) (column 12)",
        ),
        (
            "shout(profile.plan)",
            "condition_unknown_function: there is no function `shout`; there are has, size, contains, startsWith, endsWith, lowerAscii, upperAscii, timestamp, duration, int, double, string (column 1)",
        ),
        (
            "timestamp('tomorrow') < now",
            "condition_type: `tomorrow` is not an instant; expected RFC 3339 with an offset (column 12)",
        ),
        (
            "[1, 2].exists(x, x > 1)",
            "condition_unsupported: all, exists, exists_one, map and filter cannot be used in a condition (column 1)",
        ),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
    assert!(outcome("event.cart_total >").starts_with("condition_syntax: "));
}

#[test]
fn an_optional_attribute_read_without_a_guard_is_a_warning() {
    let (_, warnings) = Condition::compile("event.coupon == 'x'", &Shop).unwrap();
    assert_eq!(warnings[0].code, "condition_may_lack_data");
    let (_, warnings) = Condition::compile("has(event.coupon) && event.coupon == 'x'", &Shop).unwrap();
    assert_eq!(warnings, []);
}

#[test]
fn large_whole_numbers_are_compared_exactly() {
    assert_eq!(outcome("trigger.bought.big == 9007199254740993"), "true");
    assert_eq!(outcome("trigger.bought.big > 9007199254740992.0"), "true");
}

#[test]
fn hostile_sources_are_refused_and_overflow_no_stack() {
    for source in [
        "(".repeat(4000),
        "!".repeat(4000),
        "-".repeat(3000) + "1",
        format!("{}true{}", "(".repeat(33), ")".repeat(33)),
        "a?".repeat(1500),
        "a.".repeat(2000),
        "[".repeat(2000),
        "\0".into(),
        String::new(),
        "x".repeat(5000),
    ] {
        assert!(Condition::compile(&source, &Shop).is_err(), "{}", &source[..source.len().min(20)]);
    }
    // Long but flat is fine as long as it is short enough.
    let flat = vec!["event.gift"; 60].join(" && ");
    assert!(Condition::compile(&flat, &Shop).is_ok());
}

#[test]
fn what_a_condition_saw_is_listed_once_each() {
    let (condition, _) =
        Condition::compile("event.cart_total > 50 && (event.cart_total < 90 || has(profile.x))", &Shop).unwrap();
    let seen = condition.seen(&world());
    assert_eq!(seen, [("event.cart_total".into(), Value::Int(80)), ("profile.x".into(), Value::Null)]);
}

#[test]
fn a_bare_path_keeps_its_text() {
    let (expression, _) = Expression::compile("event.starts_at", &Shop).unwrap();
    assert_eq!(expression.evaluate(&world()), Ok(Value::from("2026-05-02T09:00:00Z")));
}

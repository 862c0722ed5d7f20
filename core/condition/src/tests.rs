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
    zone: &'static str,
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
    fn zone(&self) -> calendar::Zone {
        calendar::Zone::find(self.zone).unwrap()
    }
}

fn world() -> World {
    let json = |text| serde_json::from_str(text).unwrap();
    World {
        zone: "UTC",
        event: json(
            r#"{"cart_total": 80, "starts_at": "2026-05-02T09:00:00Z", "gift": true,
                "items": [{"sku": "a"}, {"sku": "b"}], "big": 9007199254740993}"#,
        ),
        profile: json(
            r#"{"plan": "pro", "age": 41, "score": 1.5, "tags": ["vip", "beta"], "none": null, "numeric": "80",
                "born": "1951-07-04", "seen_at": "2026-04-30T23:30:00+02:00", "garbled": "soon", "first name": "Ada",
                "address": {"city": "Köln", "zip": null}, "zero": 0, "half": 0.5, "counts": [1, 2.0, 3]}"#,
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
        ("event['gift']", "true"),
        ("profile['first name'] == 'Ada'", "true"),
        ("profile.address.city == 'K\\u00f6ln'", "true"),
        ("trigger.bought.cart_total == 80", "true"),
        ("trigger.other.cart_total == 80", "trigger.other.cart_total has no value"),
        ("record.statecode == 1", "record.statecode has no value"),
        ("steps.hook.status == 200", "steps.hook.status has no value"),
        ("profile['last name'] == 'L'", "profile.`last name` has no value"),
        ("profile['L\\u00e4nge'] == 1", "profile[\"Länge\"] has no value"),
        ("has(profile.`first name`) && profile.`first name` == 'Ada'", "true"),
        ("profile.plan.tier == 'x'", "profile.plan.tier has no value"),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

/// J10: what is absent is false nowhere, except where CEL lets the other side decide.
#[test]
fn j10_an_absent_value_is_never_false_by_itself() {
    for (source, expected) in [
        ("profile.gone == true", "profile.gone has no value"),
        ("profile.gone != true", "profile.gone has no value"),
        ("!profile.gone", "profile.gone has no value"),
        ("profile.gone || profile.plan == 'pro'", "true"),
        ("profile.plan == 'pro' || profile.gone", "true"),
        ("profile.gone || profile.plan == 'free'", "profile.gone has no value"),
        ("profile.plan == 'free' || profile.gone", "profile.gone has no value"),
        ("profile.gone && profile.plan == 'free'", "false"),
        ("profile.plan == 'free' && profile.gone", "false"),
        ("profile.gone && profile.plan == 'pro'", "profile.gone has no value"),
        ("profile.gone && profile.lost", "profile.gone has no value"),
        ("profile.gone ? true : true", "profile.gone has no value"),
        ("event.gift ? true : profile.gone", "true"),
        ("profile.gone in ['a']", "profile.gone has no value"),
        ("'a' in profile.gone", "profile.gone has no value"),
        ("'pro' in [profile.plan, profile.gone]", "profile.gone has no value"),
        ("size(profile.gone) == 0", "profile.gone has no value"),
        ("profile.tags[2] == 'beta'", "item 2 of profile.tags, which has 2, has no value"),
        ("has(profile.gone)", "false"),
        ("has(profile.plan)", "true"),
        ("has(profile.none)", "false"),
        ("has(profile.gone.far)", "false"),
        ("has(profile.address.city)", "true"),
        ("has(profile.address.zip)", "false"),
        ("has(trigger.bought.items[0].sku)", "true"),
        ("has(trigger.bought.items[0].price)", "false"),
        ("has(trigger.bought.items[7].sku)", "false"),
        ("has(profile.tags[0].sku)", "`has` needs an object, not a text"),
        ("has(profile.gone) && profile.gone", "false"),
        ("profile.none == null", "true"),
        ("profile.none == 'x'", "false"),
        ("profile.plan != null", "true"),
        ("profile.gone == null", "profile.gone has no value"),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

/// The catalog knows the types of events; of profiles nothing is declared, and a value that does not fit is an error.
#[test]
fn t12_a_value_of_another_type_is_an_error_and_never_false() {
    for (source, expected) in [
        ("profile.numeric > 50", "a text (profile.numeric) cannot be compared with a number"),
        ("profile.numeric == 80", "a text (profile.numeric) cannot be compared with a number"),
        ("profile.numeric != 80", "a text (profile.numeric) cannot be compared with a number"),
        ("80 == profile.numeric", "a number cannot be compared with a text (profile.numeric)"),
        ("profile.none > 5", "null (profile.none) cannot be compared with a number"),
        (
            "trigger.bought.gift > profile.age",
            "a boolean (trigger.bought.gift) cannot be compared with a number (profile.age)",
        ),
        (
            "trigger.bought.gift > trigger.bought.gift",
            "a boolean (trigger.bought.gift) cannot be compared with a boolean (trigger.bought.gift)",
        ),
        ("profile.numeric in [80, 90]", "a text (profile.numeric) cannot be compared with a number in a list"),
        ("80 in profile.tags", "a number cannot be compared with a text in a list (profile.tags)"),
        ("profile.tags == ['vip', 1]", "a list (profile.tags) cannot be compared with a list"),
        ("profile.tags == [1, 'nothing of it']", "false"),
        ("profile.plan", "true or false was expected, a text (profile.plan) came"),
        ("profile.plan && true", "true or false was expected, a text (profile.plan) came"),
        ("!profile.age", "true or false was expected, a number (profile.age) came"),
        ("-profile.plan == 1", "`-` needs a number, not a text (profile.plan)"),
        ("profile.plan + 1 == 2", "`+` is not defined for a text (profile.plan) and a number"),
        ("profile.age.contains('4')", "`contains` cannot be applied to a number (profile.age) and a text"),
        ("profile.age.matches('4')", "`matches` needs a text, not a number (profile.age)"),
        ("size(profile.age) == 2", "`size` cannot be applied to a number (profile.age)"),
        ("profile.age[0] == 4", "a number (profile.age) has no item named by a number"),
        ("profile.garbled < now", "profile.garbled holds `soon`, which is not a date-time"),
        ("timestamp(profile.garbled) < now", "`soon` is not a date-time"),
        ("int(profile.plan) == 1", "`pro` is not a whole number"),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

#[test]
fn each_operator_and_function_does_what_it_says() {
    for (source, expected) in [
        ("profile.age < 42 && profile.age <= 41 && profile.age >= 41 && profile.age > 40", "true"),
        ("profile.plan < 'q' && 'Z' < profile.plan", "true"),
        ("(profile.age + 1) * 2 - 4 == 80", "true"),
        ("profile.age % 2 == 1 ? event.gift : false", "true"),
        // Not CEL's: a number is a number, however it is written.
        ("profile.age / 2 == 20.5", "true"),
        ("int(profile.age / 2) == 20", "true"),
        ("profile.score + profile.age == 42.5", "true"),
        ("profile.age / profile.zero == 1", "a division by zero"),
        ("profile.score / profile.zero == 1", "a division by zero"),
        ("profile.age % profile.zero == 1", "a division by zero"),
        ("profile.age + 9223372036854775807 > 0", "a number is too large"),
        ("profile.score * 1e308 * 1e308 > 0", "a number is too large"),
        ("-profile.score == -1.5", "true"),
        ("profile.plan + '-' + string(profile.age) == 'pro-41'", "true"),
        ("'vip' in profile.tags", "true"),
        ("'gold' in profile.tags", "false"),
        ("2 in profile.counts && 3.0 in profile.counts", "true"),
        ("profile.plan in ['free', 'basic']", "false"),
        ("profile.plan in ['free', profile.plan]", "true"),
        ("'city' in profile.address", "true"),
        ("profile.tags == ['vip', 'beta']", "true"),
        ("profile.counts == [1.0, 2, 3]", "true"),
        ("profile.address == profile.address", "true"),
        ("profile.tags[1] == 'beta' && profile.tags[1.0] == 'beta' && ['x', profile.plan][1] == 'pro'", "true"),
        ("trigger.bought.items[1].sku == 'b'", "true"),
        (
            "profile['ad' + 'dress']['city'] == 'x'",
            "condition_unknown_path: `profile` alone is not a value; name an attribute of it, such as profile.id (column 1)",
        ),
        ("size(profile.tags) == 2 && size(profile.address) == 2 && size('K\\u00f6ln') == 4", "true"),
        ("profile.plan.startsWith('p') && profile.plan.endsWith('o') && profile.plan.contains('r')", "true"),
        ("profile.plan.upperAscii() == 'PRO' && profile.plan.upperAscii().lowerAscii() == 'pro'", "true"),
        ("profile.plan.matches('^p.o$') && !profile.plan.matches('^r')", "true"),
        ("int(profile.numeric) == event.cart_total && double('1.5') == profile.score && int(2.9) == 2", "true"),
        ("string(event.gift) == 'true' && string(profile.half) == '0.5'", "true"),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

#[test]
fn instants_are_compared_as_instants() {
    for (source, expected) in [
        ("event.starts_at > now && event.starts_at - now <= duration('24h')", "true"),
        ("event.starts_at == timestamp('2026-05-02T11:00:00+02:00')", "true"),
        ("event.starts_at - duration('24h') == now && now + duration('24h') == event.starts_at", "true"),
        ("now - event.starts_at == -duration('24h') && duration('90m') == duration('1h30m')", "true"),
        ("duration('1h') + duration('30m') > duration('1h') - duration('30m')", "true"),
        // 23:30 in Berlin; a profile's attributes are not declared, and so hold texts.
        ("profile.seen_at == timestamp('2026-04-30T21:30:00Z')", "true"),
        // Older than 1970; a date without time and offset is its midnight in UTC.
        ("profile.born < timestamp('1951-07-04T00:00:01Z')", "true"),
        ("profile.born < timestamp('1951-07-04T00:00:00Z')", "false"),
        ("timestamp(profile.born) < timestamp('1960-01-01T00:00:00Z')", "true"),
        ("string(event.starts_at) == '2026-05-02T09:00:00Z'", "true"),
        (
            "timestamp('9999-01-01T00:00:00Z') + duration('1000000h') > now",
            "condition_always_fails: this always fails: a date-time is out of range (column 1)",
        ),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

#[test]
fn numbers_are_compared_exactly() {
    for (source, expected) in [
        ("trigger.bought.big == 9007199254740993", "true"),
        // As floats both would be 2^53.
        ("trigger.bought.big > 9007199254740992.0", "true"),
        ("trigger.bought.big == 9007199254740992.0", "false"),
        ("profile.age < 1e300 && profile.age > -1e300", "true"),
        ("9223372036854775807 < 9223372036854775808.0", "true"),
        ("-9223372036854775808 == -9223372036854775808.0", "true"),
        ("profile.age > 40.5 && profile.age < 41.5 && -profile.age < -40.5 && -profile.age > -41.5", "true"),
    ] {
        assert_eq!(outcome(source), expected, "{source}");
    }
}

#[test]
fn bad_conditions_say_what_is_wrong_and_where() {
    let messages: Vec<String> = [
        "event.cart_totl > 50",
        "event.gift && event.cart_totl > 50",
        "event.cart_total > '50'",
        "'ü' == profile.plan && event.cart_total > '50'",
        "event.starts_at > '2026-05-02T09:00:00Z'",
        "event.gift > true",
        "profile.x < event.gift",
        "profile.x < null",
        "event.cart_total in ['50', 60]",
        "event.coupon in 'abc'",
        "event.cart_total",
        "null",
        "cart_total > 5",
        "events.cart_total > 5",
        "profile == 1",
        "trigger.bought",
        "event.gift && event.cart_total",
        "event.gift ? 1 : 'a'",
        "event.cart_total[0] == 1",
        "event.cart_total + event.gift == 1",
        "-event.coupon == 'x'",
        "shout(profile.plan)",
        "profile.plan.startWith('p')",
        "size(profile.plan, 1) == 1",
        "size (event.cart_total) == 1",
        "timestamp('tomorrow') < now",
        "timestamp('2026-05-01T09:00:00') < now",
        "now - duration('1d') < now",
        "profile.plan.matches('(')",
        "profile.plan.matches(profile.other)",
        "profile.plan.matches('(\\\\w{200}){200}')",
        "[1, 2].exists(x, x > 1)",
        "profile.plan == b'pro'",
        "profile.x == {'a': 1}",
        "1 / 0 == 1",
        "event.cart_totl > 50 && event.cart_total > '50'",
        "event.cart_total >",
        "event.cart_total = 5",
        "event.gift &&\n  event. > 1",
        "event.cart_total > 5)",
        "'abc",
    ]
    .map(|source| format!("{source}\n    {}", outcome(source).replace("; condition_", "\n    condition_")))
    .into();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    event.cart_totl > 50
        condition_unknown_path: event.cart_totl is not an attribute of the trigger abandoned_cart; did you mean cart_total? (column 1)
    event.gift && event.cart_totl > 50
        condition_unknown_path: event.cart_totl is not an attribute of the trigger abandoned_cart; did you mean cart_total? (column 15)
    event.cart_total > '50'
        condition_type: a number (event.cart_total) cannot be compared with a text; a number is written without quotes (column 1)
    'ü' == profile.plan && event.cart_total > '50'
        condition_type: a number (event.cart_total) cannot be compared with a text; a number is written without quotes (column 24)
    event.starts_at > '2026-05-02T09:00:00Z'
        condition_type: a date-time (event.starts_at) cannot be compared with a text; write timestamp(…) around the text (column 1)
    event.gift > true
        condition_type: a boolean (event.gift) has no order; it can be compared with == and != only (column 1)
    profile.x < event.gift
        condition_type: a boolean (event.gift) has no order; it can be compared with == and != only (column 1)
    profile.x < null
        condition_type: null has no order; it can be compared with == and != only (column 1)
    event.cart_total in ['50', 60]
        condition_type: a number (event.cart_total) cannot be compared with a text; a number is written without quotes (column 22)
    event.coupon in 'abc'
        condition_type: `in` needs a list, not a text; to look into a text write text.contains(part) (column 1)
    event.cart_total
        condition_type: the condition `event.cart_total` gives a number; expected true or false (column 1)
    null
        condition_type: the condition `null` gives null; expected true or false (column 1)
    cart_total > 5
        condition_unknown_path: `cart_total` is not known; a condition reads event, profile, trigger.<name> and now; did you mean event.cart_total? (column 1)
    events.cart_total > 5
        condition_unknown_path: `events.cart_total` is not known; a condition reads event, profile, trigger.<name> and now; did you mean event? (column 1)
    profile == 1
        condition_unknown_path: `profile` alone is not a value; name an attribute of it, such as profile.id (column 1)
    trigger.bought
        condition_unknown_path: `trigger.bought` alone is not a value; name an attribute of it, such as trigger.bought.id (column 1)
    event.gift && event.cart_total
        condition_type: `&&` needs a boolean, not a number (event.cart_total) (column 15)
    event.gift ? 1 : 'a'
        condition_type: both sides of `:` must be of one type, not a number and a text (column 1)
    event.cart_total[0] == 1
        condition_type: a number (event.cart_total) has no item named by a number (column 1)
    event.cart_total + event.gift == 1
        condition_type: `+` is not defined for a number (event.cart_total) and a boolean (event.gift) (column 1)
    -event.coupon == 'x'
        condition_type: `-` needs a number, not a text (event.coupon) (column 2)
    shout(profile.plan)
        condition_unknown_function: there is no function `shout`; there are has, size, contains, startsWith, endsWith, matches, lowerAscii, upperAscii, timestamp, duration, int, double, string (column 1)
    profile.plan.startWith('p')
        condition_unknown_function: there is no function `startWith`; did you mean startsWith? (column 1)
    size(profile.plan, 1) == 1
        condition_type: `size` takes 1 argument(s), not 2 (column 1)
    size (event.cart_total) == 1
        condition_type: `size` needs a text or a list or an object, not a number (event.cart_total) (column 7)
    timestamp('tomorrow') < now
        condition_type: `tomorrow` is not an instant; expected RFC 3339 with an offset (column 11)
    timestamp('2026-05-01T09:00:00') < now
        condition_type: `2026-05-01T09:00:00` is not an instant; expected RFC 3339 with an offset (column 11)
    now - duration('1d') < now
        condition_always_fails: this always fails: `1d` is not an exact duration; expected h, m and s, such as 36h (column 7)
    profile.plan.matches('(')
        condition_type: `(` is not a pattern: unclosed group (column 22)
    profile.plan.matches(profile.other)
        condition_unsupported: a pattern that is not a literal text cannot be used in a condition (column 22)
    profile.plan.matches('(\\w{200}){200}')
        condition_type: `(\w{200}){200}` is not a pattern: Compiled regex exceeds size limit of 1048576 bytes. (column 22)
    [1, 2].exists(x, x > 1)
        condition_unsupported: all, exists, exists_one, map and filter cannot be used in a condition (column 14)
    profile.plan == b'pro'
        condition_unsupported: a literal of bytes cannot be used in a condition (column 17)
    profile.x == {'a': 1}
        condition_unsupported: an object literal cannot be used in a condition (column 14)
    1 / 0 == 1
        condition_always_fails: this always fails: a division by zero (column 1)
    event.cart_totl > 50 && event.cart_total > '50'
        condition_unknown_path: event.cart_totl is not an attribute of the trigger abandoned_cart; did you mean cart_total? (column 1)
        condition_type: a number (event.cart_total) cannot be compared with a text; a number is written without quotes (column 25)
    event.cart_total >
        condition_syntax: `event.cart_total >` is not a condition: the end was not expected (column 19)
    event.cart_total = 5
        condition_syntax: `event.cart_total = 5` is not a condition: `=` compares nothing; write == (column 18)
    event.gift &&
      event. > 1
        condition_syntax: `event.gift &&   event. > 1` is not a condition: '. >' was not expected (column 24)
    event.cart_total > 5)
        condition_syntax: `event.cart_total > 5)` is not a condition: ')' was not expected (column 21)
    'abc
        condition_syntax: `'abc` is not a condition: a text has no closing quote (column 1)
    "#);
    assert_eq!(outcome("  "), "condition_syntax: the condition is empty (column 1)");
}

#[test]
fn an_optional_attribute_read_without_a_guard_is_a_warning() {
    for (source, warned) in [
        ("event.coupon == 'x'", true),
        ("has(event.coupon) && event.coupon == 'x'", false),
        ("event.coupon == 'x' && has(event.coupon)", false),
        ("has(event.coupon) && event.gift && event.coupon == 'x'", false),
        ("!has(event.coupon) || event.coupon == 'x'", false),
        ("!(has(event.coupon) && event.gift) || event.coupon == 'x'", false),
        ("has(event.coupon) ? event.coupon == 'x' : event.gift", false),
        ("has(event.`coupon`) && event['coupon'] == 'x'", false),
        // Where the guard does not hold, or holds the other way round:
        ("has(event.coupon) || event.coupon == 'x'", true),
        ("!has(event.coupon) && event.coupon == 'x'", true),
        ("has(event.coupon) ? event.gift : event.coupon == 'x'", true),
        ("(has(event.coupon) || event.gift) && event.coupon == 'x'", true),
        ("(has(event.coupon) && event.gift) || event.coupon == 'x'", true),
        ("event.coupon != null && event.coupon == 'x'", true),
        ("has(profile.coupon) && event.coupon == 'x'", true),
    ] {
        let (_, warnings) = Condition::compile(source, &Shop).unwrap();
        let warnings: Vec<String> =
            warnings.iter().map(|problem| format!("{}: {}", problem.code, problem.message)).collect();
        let expected = "condition_may_lack_data: event.coupon may be missing; guard it with has(event.coupon)";
        assert_eq!(warnings, if warned { vec![expected] } else { vec![] }, "{source}");
    }
}

#[test]
fn what_depends_on_nothing_is_known_beforehand() {
    for (source, constant) in [
        ("true", Some(true)),
        ("1 + 1 == 3 || size('abc') > 3", Some(false)),
        ("event.gift && false", Some(false)),
        ("true || profile.gone", Some(true)),
        ("'a' in ['a', 'b'] && duration('1h') == duration('60m')", Some(true)),
        ("timestamp('2026-05-01T09:00:00Z') in [timestamp('2026-05-01T09:00:00Z')]", None),
        ("event.gift && true", None),
        ("now == now", None),
    ] {
        let (condition, _) = Condition::compile(source, &Shop).unwrap();
        assert_eq!(condition.constant(), constant, "{source}");
    }
}

/// Each in a thread with half of the stack that threads have, in a build that spends the most of it.
#[test]
fn hostile_sources_are_refused_and_overflow_no_stack() {
    let sources = [
        "(".repeat(4000),
        "[".repeat(4000),
        "{1:".repeat(1300),
        "!".repeat(4000),
        "-".repeat(3000) + "1",
        format!("{}true{}", "(".repeat(33), ")".repeat(33)),
        // Brackets in texts must not be taken for closed ones.
        format!("{}1{}", "(')'+".repeat(500), ")".repeat(500)),
        "a?".repeat(1500),
        "a?a:".repeat(1000) + "a",
        "has(".repeat(1000),
        "[1].all(x,".repeat(400),
        "a.".repeat(2000),
        vec!["1"; 2000].join("+") + " == 1",
        vec!["1"; 2000].join("<"),
        vec!["1"; 800].join(" in "),
        format!("profile.a{} == 1", "[0]".repeat(1300)),
        format!("profile.a{} == 1", ".b()".repeat(1000)),
        // Each operator hidden from the count of operators by a text.
        vec!["'?'"; 1000].join("+"),
        vec!["'?'"; 1000].join("<"),
        "1".repeat(4000),
        "'".repeat(4001),
        "\0".into(),
        String::new(),
        "x".repeat(5000),
    ];
    for source in sources {
        let refused = move || {
            let refused = Condition::compile(&source, &Shop).is_err();
            assert!(refused, "{}", &source[..source.len().min(20)]);
        };
        std::thread::Builder::new().stack_size(1 << 20).spawn(refused).unwrap().join().unwrap();
    }
}

#[test]
fn long_and_flat_is_fine() {
    for source in [
        vec!["event.cart_total > 50"; 160].join(" && "),
        vec!["event.gift"; 300].join("||"),
        format!("profile.plan in [{}]", vec!["'pro'"; 600].join(",")),
        format!("{}event.gift{}", "(".repeat(31), ")".repeat(31)),
        format!("profile{} == 1", "['?']".repeat(800)),
        format!("profile.plan + {} == 'x'", vec!["' '"; 100].join(" + ")),
        format!("profile.plan == '{}'", "((((.....?????!!!!!".repeat(12)),
    ] {
        assert_eq!(Condition::compile(&source, &Shop).err(), None, "{source}");
    }
}

#[test]
fn what_a_condition_saw_is_listed_once_each() {
    let source = "event.cart_total > 50 && (event.cart_total < 90 || has(profile.x)) && trigger.bought.gift";
    let (condition, _) = Condition::compile(source, &Shop).unwrap();
    let seen = condition.seen(&world());
    let expected = [
        ("event.cart_total".into(), Value::Int(80)),
        ("profile.x".into(), Value::Null),
        ("trigger.bought.gift".into(), Value::Bool(true)),
    ];
    assert_eq!(seen, expected);
    assert_eq!(condition.triggers(), ["bought"]);
    assert_eq!(condition.source(), source);
}

#[test]
fn an_expression_gives_a_value_of_its_type() {
    for (source, ty, expected) in [
        // A bare path keeps its text (J7).
        ("event.starts_at", Type::Datetime, Value::from("2026-05-02T09:00:00Z")),
        ("event.starts_at + duration('90m')", Type::Datetime, Value::from("2026-05-02T10:30:00Z")),
        ("now - event.starts_at", Type::Duration, Value::from("-24h")),
        ("now - now", Type::Duration, Value::from("0s")),
        ("duration('26h') - duration('59m30s')", Type::Duration, Value::from("25h30s")),
        ("event.cart_total * 2", Type::Number, Value::Int(160)),
        ("event.cart_total / 3", Type::Number, Value::Float(80.0 / 3.0)),
        ("'Hello ' + profile['first name']", Type::Any, Value::from("Hello Ada")),
        ("string(event.cart_total) + '!'", Type::Text, Value::from("80!")),
        ("has(profile.gone) ? profile.gone : 'none'", Type::Any, Value::from("none")),
        ("[profile.plan, 1]", Type::List, Value::List(vec![Value::from("pro"), Value::Int(1)])),
        ("profile.none", Type::Any, Value::Null),
        ("event.gift", Type::Bool, Value::Bool(true)),
    ] {
        let (expression, _) = Expression::compile(source, &Shop).unwrap();
        assert_eq!((expression.ty(), expression.evaluate(&world())), (ty, Ok(expected)), "{source}");
    }
    let (expression, _) = Expression::compile("profile.gone", &Shop).unwrap();
    assert_eq!(expression.evaluate(&world()), Err(Lack::Missing("profile.gone".into())));
}

/// At 11:00 in Berlin, 10:00 there is past; read as UTC it would be an hour ahead.
#[test]
fn a_date_time_without_offset_is_local_to_the_person() {
    let check = |source: &str, starts_at: &str, zone: &'static str| {
        let mut world = World { zone, ..world() };
        world.event.insert("starts_at", starts_at.into());
        world.profile.insert("seen_at", starts_at.into());
        let (condition, _) = Condition::compile(source, &Shop).unwrap();
        condition.evaluate(&world)
    };
    for source in [
        "event.starts_at > now",
        "profile.seen_at > now",
        "now < profile.seen_at",
        "timestamp(profile.seen_at) > now",
        "timestamp(profile.seen_at) - now > duration('0s')",
        "!(profile.seen_at in [now]) && profile.seen_at > now",
    ] {
        assert_eq!(check(source, "2026-05-01T10:00", "Europe/Berlin"), Outcome::False, "{source}");
        assert_eq!(check(source, "2026-05-01T10:00", "UTC"), Outcome::True, "{source}");
        assert_eq!(check(source, "2026-05-01T10:00Z", "Europe/Berlin"), Outcome::True, "{source}");
    }
    assert_eq!(check("profile.seen_at in [now]", "2026-05-01T11:00", "Europe/Berlin"), Outcome::True);
}

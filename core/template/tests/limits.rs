//! Hostile templates and data: every one ends soon, with an answer, and takes nothing down (trap T61).
#![expect(clippy::disallowed_methods, reason = "a test that something ends soon reads the clock")]

use model::{Attributes, Timestamp, Value};
use proptest::prelude::*;
use std::time::{Duration, Instant};
use template::data::Roots;
use template::{Error, Format, Limits, Rendered, Template};

fn render(source: &str) -> Result<Rendered, Error> {
    let event: Attributes =
        [("long", Value::Text("x".repeat(20_000).into())), ("list", Value::List((0..1_000).map(Value::Int).collect()))]
            .into_iter()
            .collect();
    let data = Roots::new(Timestamp::EPOCH).with("event", &event);
    Template::compile(source, Format::Html)?.render(&data, &Limits::default())
}

/// Far more than any of them needs in a debug build on a busy machine, far less than "hangs".
const SOON: Duration = Duration::from_secs(20);

#[test]
fn t61_looking_at_long_values_again_and_again_is_paid_for() {
    ends_with_limit("{% for i in (1..150000) %}{% if event.long.size == 0 %}{% endif %}{% endfor %}");
    ends_with_limit("{% for i in (1..150000) %}{% if event.list == event.list %}{% endif %}{% endfor %}");
    ends_with_limit("{% for i in (1..150000) %}{% case event.list %}{% when event.list %}{% endcase %}{% endfor %}");
    ends_with_limit("{% for i in (1..150000) %}{% for p in event limit: 0 %}{% endfor %}{% endfor %}");
    ends_with_limit("{% for i in (1..150000) %}{% assign x = event.list %}{% endfor %}");
}

fn ends_with_limit(source: &str) {
    let start = Instant::now();
    let error = render(source).expect_err(&source[..source.len().min(200)]);
    assert!(matches!(error, Error::OutputTooLong { .. } | Error::TooMuchWork { .. }), "{error}: {source}");
    assert!(start.elapsed() < SOON, "{:?}: {source}", start.elapsed());
}

#[test]
fn t61_endless_loops_end() {
    ends_with_limit("{% for i in (1..1000000000) %}{% endfor %}");
    ends_with_limit("{% for i in (-999999999999999999..999999999999999999) %}{% endfor %}");
    ends_with_limit("{% for i in (1..1000000000) %}{{ i }}{% endfor %}");
    ends_with_limit("{% for i in (1..1000000000) reversed %}{% assign x = i %}{% endfor %}");
    let nested = format!("{}x{}", "{% for i in event.list %}".repeat(20), "{% endfor %}".repeat(20));
    ends_with_limit(&nested);
    let wide = format!("{{% for i in event.list %}}{}{{% endfor %}}", "{% if true %}{% endif %}".repeat(5_000));
    ends_with_limit(&wide);
    let cases = format!(
        "{{% for i in event.list %}}{{% case 1 %}}{}{{% endcase %}}{{% endfor %}}",
        "{% when 2, 3 %}".repeat(5_000)
    );
    ends_with_limit(&cases);
}

#[test]
fn t61_values_do_not_explode() {
    ends_with_limit(&format!("{{% assign a = event.long %}}{}", "{% assign a = a | append: a %}".repeat(60)));
    ends_with_limit(&format!("{{% assign a = 'x,y' | split: ',' %}}{}", "{% assign a = a | concat: a %}".repeat(60)));
    ends_with_limit("{{ event.long | replace: '', event.long }}");
    ends_with_limit("{{ event.long | split: '' | join: event.long }}");
    ends_with_limit("{% capture a %}{% for i in event.list %}{{ event.long }}{% endfor %}{% endcapture %}");
    ends_with_limit("{% for i in event.list %}{{ event.long }}{% endfor %}");
    ends_with_limit(
        "{% for i in event.list %}{% assign x = event.long | upcase | split: '' | sort | uniq %}{% endfor %}",
    );
    ends_with_limit("{% for i in (1..100000) %}{% assign x = event.list | json %}{% endfor %}");
    ends_with_limit("{% for i in (1..100000) %}{% if event.list contains 'x' %}{% endif %}{% endfor %}");
}

#[test]
fn t61_hostile_source_is_compiled_or_refused_soon() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(9_000), close.repeat(9_000));
    let sources = [
        deep("{% if a %}", "{% endif %}"),
        deep("{% for a in b %}", ""),
        deep("{% capture a %}", "{% endcapture %}"),
        format!("{{{{ {} }}}}", "a[".repeat(1_500)),
        format!("{{{{ {} }}}}", "a[".repeat(30_000)),
        format!("{{% if {} a %}}{{% endif %}}", "a and ".repeat(600)),
        format!("{{% if a %}}{}{{% endif %}}", "{% elsif b %}".repeat(18_000)),
        format!("{{{{ a {} }}}}", "| upcase ".repeat(400)),
        " ".repeat(250_000) + "{{ a }}",
        "{{ a -}}".to_owned() + &" ".repeat(250_000),
        "{{- a }} ".repeat(25_000),
        "{%".repeat(120_000),
        "{{".repeat(120_000),
        "{% raw %}".to_owned() + &"{%".repeat(120_000),
        "{% raw %}".to_owned() + &"{% endraw ".repeat(20_000),
        "{% comment %}".to_owned() + &"{%-   ".repeat(40_000),
        "\0{{ a }}\u{202e}".to_owned(),
    ];
    for source in &sources {
        let start = Instant::now();
        let compiled = Template::compile(source, Format::Html);
        let rendered = compiled.map(|template| template.render(&Roots::new(Timestamp::EPOCH), &Limits::default()));
        assert!(start.elapsed() < SOON, "{:?}: {}", start.elapsed(), &source[..40]);
        drop(rendered);
    }
    let refused = [0, 1, 3, 4, 11, 12, 13, 14, 15].map(|at| Template::compile(&sources[at], Format::Html).is_err());
    assert_eq!(refused, [true; 9]);
    let accepted = [6, 7, 8, 9, 10].map(|at| Template::compile(&sources[at], Format::Html).is_ok());
    assert_eq!(accepted, [true; 5]);
}

#[test]
fn t61_a_source_over_the_limit_is_refused() {
    let bytes = Template::SOURCE_BYTES_MAX + 1;
    assert_eq!(Template::compile(&"x".repeat(bytes), Format::Text).unwrap_err(), Error::SourceTooLong { bytes });
    assert!(Template::compile(&"x".repeat(bytes - 1), Format::Text).is_ok());
}

#[test]
fn the_output_may_be_as_long_as_the_limit_and_no_longer() {
    let event: Attributes = [("text", Value::from("<<"))].into_iter().collect();
    let data = Roots::new(Timestamp::EPOCH).with("event", &event);
    let render = |source: &str, format, output_bytes_max| {
        let limits = Limits { output_bytes_max, ..Limits::default() };
        Template::compile(source, format).unwrap().render(&data, &limits).map(|rendered| rendered.text)
    };
    assert_eq!(render("ab{{ event.text }}", Format::Text, 4).unwrap(), "ab<<");
    assert_eq!(render("ab{{ event.text }}", Format::Html, 10).unwrap(), "ab&lt;&lt;");
    let too_long = |bytes_max| Error::OutputTooLong { line: 1, bytes_max };
    assert_eq!(render("ab{{ event.text }}", Format::Html, 9).unwrap_err(), too_long(9));
    assert_eq!(render("abc", Format::Text, 2).unwrap_err(), too_long(2));
}

#[test]
fn a_large_but_honest_mail_stays_far_from_the_limits() {
    let row = "<tr><td>{{ item }}</td><td>{{ item | times: 2 }}</td>{% if forloop.last %}</table>{% endif %}";
    let rendered = render(&format!("{{% for item in event.list %}}{row}{{% endfor %}}")).unwrap();
    assert!(rendered.text.ends_with("<td>1998</td></table>"), "{}", rendered.text.len());
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "{{",
            "}}",
            "{%",
            "%}",
            "{{-",
            "-}}",
            "{%-",
            "-%}",
            " if ",
            " endif ",
            " for ",
            " in ",
            " endfor ",
            " a ",
            "a.b",
            "[",
            "]",
            "(",
            ")",
            "..",
            "|",
            ":",
            ",",
            "'",
            "\"",
            "==",
            "<",
            " and ",
            " or ",
            " contains ",
            " case ",
            " when ",
            " endcase ",
            " else ",
            " elsif ",
            " raw ",
            " endraw ",
            " comment ",
            " endcomment ",
            " capture ",
            " assign ",
            "=",
            " x ",
            "upcase",
            "1",
            "-9",
            "99999999999999999999",
            "1.5",
            "split",
            "sort",
            "slice",
            "date",
            "\n",
            "é",
            "\0",
            "event.list",
            "event.long",
            "nil",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ]
}

/// Templates that mostly compile: a value through some filters with some arguments.
fn chain() -> impl Strategy<Value = String> {
    let value = || {
        prop::sample::select(vec![
            "event.list",
            "event.long",
            "event.gone",
            "'now'",
            "'a b,c'",
            "''",
            "-1",
            "0",
            "999999999999999999",
            "-999999999999999999",
            "1.5",
            "true",
            "nil",
            "empty",
            "event",
            "'%Y-%m'",
            "'UTC'",
            "' '",
        ])
    };
    let filter = prop::sample::select(vec![
        "default",
        "date",
        "json",
        "raw",
        "escape",
        "newline_to_br",
        "strip_html",
        "url_encode",
        "url_decode",
        "append",
        "prepend",
        "upcase",
        "downcase",
        "capitalize",
        "strip",
        "lstrip",
        "rstrip",
        "strip_newlines",
        "replace",
        "replace_first",
        "remove",
        "remove_first",
        "truncate",
        "truncatewords",
        "split",
        "slice",
        "size",
        "plus",
        "minus",
        "times",
        "divided_by",
        "modulo",
        "at_least",
        "at_most",
        "abs",
        "ceil",
        "floor",
        "round",
        "first",
        "last",
        "join",
        "map",
        "where",
        "sort",
        "sort_natural",
        "concat",
        "sum",
        "reverse",
        "compact",
        "uniq",
    ]);
    let call = (filter, prop::collection::vec(value(), 0..3)).prop_map(|(name, arguments)| match arguments.len() {
        0 => format!(" | {name}"),
        _ => format!(" | {name}: {}", arguments.join(", ")),
    });
    (value(), prop::collection::vec(call, 0..4))
        .prop_map(|(value, calls)| format!("{{{{ {value}{} }}}}", calls.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t61_no_source_panics(fragments in prop::collection::vec(fragment(), 0..24)) {
        let _answer = render(&fragments.concat());
    }

    #[test]
    fn t61_no_filter_panics(source in chain()) {
        let _answer = render(&source);
    }

    #[test]
    fn nothing_gets_out_of_a_text_or_an_attribute(value in "[<>&'\"a-z ;/=]{0,40}") {
        let event: Attributes = [("value", Value::from(value.as_str()))].into_iter().collect();
        let data = Roots::new(Timestamp::EPOCH).with("event", &event);
        let template = Template::compile("{{ event.value }}", Format::Html).unwrap();
        let text = template.render(&data, &Limits::default()).unwrap().text;
        prop_assert!(!text.contains(['<', '>', '\'', '"']));
        let back = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
        prop_assert_eq!(back, value);
    }
}

//! Tables of template and data to text and what was missing.

use model::{Attributes, Timestamp};
use template::data::Roots;
use template::{DataRef, Error, Format, Group, Limits, Rendered, Template};

fn attributes(json: &str) -> Attributes {
    serde_json::from_str(json).expect("the table's own JSON")
}

struct Triggers(Vec<(&'static str, Attributes)>);

impl Group for Triggers {
    fn member(&self, name: &str) -> Option<DataRef<'_>> {
        self.0.iter().find(|(held, _)| *held == name).map(|(_, attributes)| DataRef::Attributes(attributes))
    }
}

fn render(source: &str, format: Format) -> Result<Rendered, Error> {
    let profile = attributes(
        r#"{"first_name": "Ada", "last_name": "", "nick": null, "blank": "  ", "time_zone": "Europe/Berlin",
            "plan": "pro", "evil": "<script>alert('x')</script>", "address": "A & Co\nStreet 1", "url": "https://a.example/?a=1&b=2"}"#,
    );
    let event = attributes(
        r#"{"cart_id": "c1", "total": 80, "price": 29.5, "starts_at": "2026-03-29T09:00:00+02:00", "none": [], "paid": false,
            "items": [{"name": "Shoe", "price": 20, "tags": ["a", "b"]}, {"name": "Hat", "price": 60}],
            "sizes": [3, 1, 2, 2], "mixed": [3, "b", null, 1.5, "a", true, 9007199254740993]}"#,
    );
    let triggers = Triggers(vec![("purchase", attributes(r#"{"order": "o7"}"#))]);
    let data = Roots::new(Timestamp::parse("2026-03-28T22:30:00Z").expect("an instant"))
        .with("profile", &profile)
        .with("event", &event)
        .with_ref("trigger", DataRef::Group(&triggers));
    Template::compile(source, format)?.render(&data, &Limits::default())
}

/// Renders as text; missing paths follow after `!`.
fn text(source: &str) -> String {
    shown(render(source, Format::Text))
}

fn html(source: &str) -> String {
    shown(render(source, Format::Html))
}

fn shown(rendered: Result<Rendered, Error>) -> String {
    match rendered {
        Ok(rendered) if rendered.missing.is_empty() => rendered.text,
        Ok(rendered) => format!("{} ! {}", rendered.text, rendered.missing.join(", ")),
        Err(error) => format!("error: {error}"),
    }
}

fn check(render: impl Fn(&str) -> String, table: &[(&str, &str)]) {
    for (source, expected) in table {
        assert_eq!(render(source), *expected, "{source}");
    }
}

#[test]
fn values_are_printed() {
    check(
        text,
        &[
            ("plain text", "plain text"),
            ("", ""),
            ("{ not } {liquid}", "{ not } {liquid}"),
            ("Hello {{ profile.first_name }},", "Hello Ada,"),
            ("{{profile['first_name']}} {{ profile[\"plan\"] }}", "Ada pro"),
            ("{{ event.total }} {{ event.price }} {{ event.paid }}", "80 29.5 false"),
            ("{{ event.items[0].name }} {{ event.items[-1].name }} {{ event.items.first.tags[1] }}", "Shoe Hat b"),
            ("{{ event.items.size }} {{ event.cart_id.size }}", "2 2"),
            ("{% assign i = 1 %}{{ event.items[i].name }}", "Hat"),
            ("{{ event.sizes }}", "3122"),
            ("{{ event.items[1] }}", r#"{"name":"Hat","price":60}"#),
            ("{{ trigger.purchase.order }}", "o7"),
            ("{{ 'text' }}{{ 1.50 }}{{ -3 }}{{ true }}{{ nil }}", "text1.5-3true"),
            ("{{ '}}' }}{{ \"%}\" }}", "}}%}"),
            ("ünï {{ 'çødé' | upcase }} ✓", "ünï ÇØDÉ ✓"),
        ],
    );
}

#[test]
fn t62_what_is_missing_and_printed_is_named() {
    check(
        text,
        &[
            ("Hello {{ profile.middle_name }},", "Hello , ! profile.middle_name"),
            ("Hello {{ profile.nick }},", "Hello , ! profile.nick"),
            ("Hello {{ profile.last_name }},", "Hello , ! profile.last_name"),
            ("Hello {{ profile.blank }},", "Hello   , ! profile.blank"),
            ("{{ nothing.at.all[3].here }}", " ! nothing.at.all[3].here"),
            ("{{ profile.first_name.deeper }}", " ! profile.first_name.deeper"),
            ("{{ event.items[7].name }}{{ event.items[i].name }}", " ! event.items[7].name, i, event.items[].name"),
            ("{{ profile.nick }} {{ profile.nick }}", "  ! profile.nick"),
            ("{{ profile.nick | upcase }}", " ! profile.nick"),
            ("{{ profile.nick | append: '!' }}", "! ! profile.nick"),
            ("{{ profile.first_name | append: profile.nick }}", "Ada ! profile.nick"),
            ("{{ trigger.refund.order }}", " ! trigger.refund.order"),
            ("{% for item in event.items %}{{ item.colour }}{% endfor %}", " ! item.colour"),
            ("{% for item in event.gone %}x{% endfor %}", " ! event.gone"),
            ("{% assign name = profile.nick %}Hello {{ name }},", "Hello , ! profile.nick"),
            ("{% assign name = profile.nick | append: '!' %}{{ name }}", "! ! profile.nick"),
            ("{% capture name %}{{ profile.nick }}{% endcapture %}{{ name }}", " ! profile.nick, name"),
        ],
    );
}

#[test]
fn t62_a_default_or_a_question_makes_it_not_missing() {
    check(
        text,
        &[
            ("Hello {{ profile.middle_name | default: 'friend' }},", "Hello friend,"),
            ("Hello {{ profile.last_name | default: 'friend' }},", "Hello friend,"),
            ("Hello {{ profile.blank | default: 'friend' }},", "Hello friend,"),
            ("Hello {{ profile.nick | upcase | default: 'friend' }},", "Hello friend,"),
            ("{{ profile.nick | default: profile.first_name }}", "Ada"),
            ("{{ profile.nick | default: '' }}", ""),
            ("{{ event.paid | default: 'yes' }}{{ event.none | default: 'none' }}{{ 0 | default: 1 }}", "yesnone0"),
            ("{% if profile.nick %}Hi {{ profile.nick }}{% else %}Hi{% endif %}", "Hi"),
            ("{% unless profile.nick %}Hi{% endunless %}", "Hi"),
            ("{% if profile.last_name != blank %}{{ profile.last_name }}{% endif %}", ""),
            ("{% if profile.nick contains 'x' %}x{% endif %}{% if profile.nick > 3 %}y{% endif %}", ""),
            ("{% case profile.nick %}{% when 'x' %}x{% else %}none{% endcase %}", "none"),
            ("{% for item in event.gone %}x{% else %}no items{% endfor %}", "no items"),
            ("{% for item in event.none %}x{% endfor %}", ""),
            ("{% assign name = profile.nick %}{% if name %}{{ name }}{% endif %}", ""),
            ("{% assign name = profile.nick | default: 'friend' %}{{ name }}", "friend"),
            ("{% if profile.gone.deeper[0].still %}x{% endif %}ok", "ok"),
        ],
    );
    // An empty text is true in Liquid, so this guard guards nothing: it is still noticed.
    assert_eq!(text("{% if profile.last_name %}Hi {{ profile.last_name }},{% endif %}"), "Hi , ! profile.last_name");
}

#[test]
fn blocks() {
    check(
        text,
        &[
            ("{% if event.total > 50 %}big{% elsif event.total > 10 %}mid{% else %}small{% endif %}", "big"),
            ("{% if event.total > 500 %}big{% elsif event.total > 10 %}mid{% else %}small{% endif %}", "mid"),
            ("{% if event.total > 500 %}big{% endif %}-", "-"),
            ("{% if profile.plan == 'pro' and event.total >= 80 and event.price < 30 %}y{% endif %}", "y"),
            ("{% if profile.plan == 'free' or event.cart_id == 'c1' %}y{% endif %}", "y"),
            ("{% if event.items contains 'x' %}y{% else %}n{% endif %}", "n"),
            ("{% if event.sizes contains 2 %}y{% endif %}{% if profile.first_name contains 'd' %}y{% endif %}", "yy"),
            ("{% if event.none == empty %}y{% endif %}{% if event.items != empty %}y{% endif %}", "yy"),
            (
                "{% if event.paid %}y{% else %}n{% endif %}{% if 1 == 1.0 %}y{% endif %}{% if 1 == '1' %}y{% endif %}",
                "ny",
            ),
            ("{% unless event.paid %}n{% else %}y{% endunless %}", "n"),
            ("{% case profile.plan %} x {% when 'free', 'trial' %}a{% when 'pro' or 'max' %}b{% endcase %}", "b"),
            ("{% case event.total %}{% when 1 %}a{% else %}b{% endcase %}", "b"),
            ("{% for i in event.items %}{{ i.name }}:{{ i.price }};{% endfor %}", "Shoe:20;Hat:60;"),
            ("{% for i in (1..3) %}{{ i }}{% unless forloop.last %},{% endunless %}{% endfor %}", "1,2,3"),
            ("{% for i in (1..event.items.size) reversed %}{{ i }}{% endfor %}", "21"),
            ("{% for i in (3..1) %}{{ i }}{% else %}none{% endfor %}", "none"),
            ("{% for i in (1..9) limit: 2 offset: 3 %}{{ i }}{% endfor %}", "45"),
            (
                "{% for i in (1..5) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
                "13",
            ),
            (
                "{% for i in (1..2) %}{% for j in (1..2) %}{{ forloop.parentloop.index }}{{ forloop.index }} {% endfor %}{% endfor %}",
                "11 12 21 22 ",
            ),
            ("{% for pair in event.items[1] %}{{ pair[0] }}={{ pair[1] }} {% endfor %}", "name=Hat price=60 "),
            ("{% for i in (1..2) %}{% assign seen = i %}{% endfor %}{{ seen }}{{ i | default: '-' }}", "2-"),
            ("{% assign n = 0 %}{% for i in event.items %}{% assign n = n | plus: i.price %}{% endfor %}{{ n }}", "80"),
            ("{% capture x %}<{{ profile.first_name }}>{% endcapture %}{{ x }}{{ x }}", "<Ada><Ada>"),
            ("a{% comment %} {{ broken | {% nonsense %} {% endcomment %}b", "ab"),
            ("{% # don't %}{%- # trimmed -%} x", "x"),
            ("{% raw %}{{ not.read }} {% if %}{% endraw %}", "{{ not.read }} {% if %}"),
            ("{% echo profile.first_name | upcase %}", "ADA"),
            ("a  {%- if true -%}  b  {%- endif -%}  c", "abc"),
            ("a {{- ' b ' -}} c", "a b c"),
            ("{%\n  if\n\ttrue\n%}x{% endif %}", "x"),
        ],
    );
}

#[test]
fn filters() {
    check(
        text,
        &[
            ("{{ 'a' | append: 'b' | prepend: '<' }}", "<ab"),
            ("{{ 'hello wORLD' | capitalize }} {{ 'A' | downcase }}", "Hello wORLD a"),
            ("[{{ ' a ' | strip }}{{ ' a ' | lstrip }}{{ ' a ' | rstrip }}]", "[aa  a]"),
            ("{{ 'a-b-c' | replace: '-', '+' }}{{ 'a-b-c' | replace_first: '-', '+' }}", "a+b+ca+b-c"),
            ("{{ 'a-b-c' | remove: '-' }}{{ 'a-b-c' | remove_first: '-' }}", "abcab-c"),
            (
                "{{ 'ünïcode' | truncate: 5 }}{{ 'short' | truncate: 5 }}{{ 'abcdef' | truncate: 4, '' }}",
                "ün...shortabcd",
            ),
            ("{{ 'one two three' | truncatewords: 2 }} {{ 'one' | truncatewords: 2 }}", "one two... one"),
            ("{{ 'abc' | slice: 1 }}{{ 'abc' | slice: -2, 2 }}{{ 'abc' | slice: 9 }}{{ 'abc' | slice: -9, 2 }}", "bbc"),
            ("{{ 'a,b,,' | split: ',' | size }}{{ 'abc' | split: '' | join: '-' }}", "2a-b-c"),
            ("{{ event.sizes | slice: 1, 2 | join }}", "1 2"),
            ("{{ 'a b/ü' | url_encode }} {{ 'a%20b+c%2' | url_decode }}", "a%20b%2F%C3%BC a b c%2"),
            ("{{ '<p>a</p><!-- x > --><STYLE>b{}</style>c<script>d' | strip_html }}", "ac"),
            ("{{ \"a\nb\" | newline_to_br }}", "a<br />\nb"),
            ("{{ '<a>' | escape }}", "&lt;a&gt;"),
            ("{{ event.items[0] | json }}", r#"{"name":"Shoe","price":20,"tags":["a","b"]}"#),
            ("{{ 'say \"hi\"\\' | json }}{{ profile.gone | json | default: 'null' }}", r#""say \"hi\"\\"null"#),
            ("{{ 1 | plus: 2 }} {{ '3' | minus: 1.5 }} {{ 4 | times: 2 }}", "3 1.5 8"),
            ("{{ 7 | divided_by: 2 }} {{ -7 | divided_by: 2 }} {{ 7 | divided_by: 2.0 }}", "3 -4 3.5"),
            ("{{ 7 | modulo: 3 }} {{ -7 | modulo: 3 }}", "1 2"),
            (
                "{{ 1.25 | round: 1 }} {{ 1.5 | round }} {{ 1.2 | ceil }} {{ 1.8 | floor }} {{ -2 | abs }}",
                "1.3 2 2 1 2",
            ),
            ("{{ 5 | at_least: 7 }} {{ 5 | at_most: 3 }}", "7 3"),
            ("{{ event.items | map: 'name' | join: ', ' }}", "Shoe, Hat"),
            ("{{ event.items | where: 'name', 'Hat' | map: 'price' | first }}", "60"),
            ("{{ event.items | where: 'tags' | size }}{{ event.items | sum: 'price' }}", "180"),
            ("{{ event.items | sort: 'name' | map: 'name' | join }}", "Hat Shoe"),
            ("{{ event.sizes | sort | uniq | reverse | join: '' }}", "321"),
            ("{{ event.mixed | sort | compact | join: ' ' }}", "1.5 3 9007199254740993 a b true"),
            ("{{ 'b,A,a,B' | split: ',' | sort_natural | join: '' }}", "AabB"),
            (
                "{{ event.sizes | concat: event.items | size }} {{ event.sizes | first }}{{ event.sizes | last }}",
                "6 32",
            ),
            ("{{ profile.gone | plus: 1 }}", " ! profile.gone"),
        ],
    );
}

#[test]
fn what_a_filter_cannot_do_is_an_error_without_values() {
    check(
        text,
        &[
            (
                "\n{{ event.total | divided_by: 0 }}",
                "error: line 2: `divided_by`: there is no such number (division by zero, or too large)",
            ),
            ("{{ profile.first_name | plus: 1 }}", "error: line 1: `plus`: it takes numbers"),
            (
                "{{ 999999999999999999 | times: 100 }}",
                "error: line 1: `times`: there is no such number (division by zero, or too large)",
            ),
            (
                "{{ profile.first_name | date: '%Y' }}",
                "error: line 1: `date`: it takes a date such as 2026-05-01T09:00:00Z",
            ),
            (
                "{% for i in (1..'x') %}{% endfor %}",
                "error: line 1: the ends of a range, `limit` and `offset` are whole numbers",
            ),
        ],
    );
}

#[test]
fn dates_have_a_zone_and_now_is_given() {
    check(
        text,
        &[
            ("{{ event.starts_at | date: '%Y-%m-%d %H:%M' }}", "2026-03-29 09:00"),
            ("{{ event.starts_at | date: '%H:%M', 'UTC' }}", "07:00"),
            ("{{ event.starts_at | date: '%H:%M', 'America/New_York' }}", "03:00"),
            ("{{ event.starts_at | date: '%H:%M', 'No/Where' }}", "09:00"),
            (
                "{{ 'now' | date: '%Y-%m-%d %H:%M' }} {{ 'today' | date: '%d', profile.time_zone }}",
                "2026-03-28 22:30 28",
            ),
            ("{{ '2026-05-01' | date: '%-d %B %Y' }} {{ '2026-05-01 10:00' | date: '%H' }}", "1 May 2026 10"),
            ("{{ 0 | date: '%Y' }}", "1970"),
            ("{{ profile.nick | date: '%Y' }}", " ! profile.nick"),
            // 22:30 UTC; in Tokyo it is tomorrow.
            ("{{ 'now' | date: '%d %H:%M', profile.time_zone }} {{ 'now' | date: '%d', 'Asia/Tokyo' }}", "28 23:30 29"),
        ],
    );
}

#[test]
fn html_is_escaped_unless_told_otherwise() {
    check(
        html,
        &[
            ("<p>{{ profile.evil }}</p>", "<p>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</p>"),
            ("<a title=\"{{ '\" onclick=\"x' }}\">", "<a title=\"&quot; onclick=&quot;x\">"),
            ("{{ profile.evil | raw }}", "<script>alert('x')</script>"),
            // `raw` counts only as the last word.
            ("{{ profile.evil | raw | append: '' }}", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("{{ profile.evil | escape }}", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("{{ profile.evil | escape | escape }}", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("{{ profile.address | newline_to_br }}", "A &amp; Co<br />\nStreet 1"),
            ("{{ profile.gone | default: '<b>' }}", "&lt;b&gt;"),
            ("<a href=\"{{ profile.url }}\">", "<a href=\"https://a.example/?a=1&amp;b=2\">"),
            ("{% assign x = profile.evil %}{{ x | upcase }}", "&lt;SCRIPT&gt;ALERT(&#39;X&#39;)&lt;/SCRIPT&gt;"),
            (
                "{% capture x %}<b>{{ profile.evil }}</b>{% endcapture %}{{ x }}",
                "<b>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</b>",
            ),
            ("{% for c in profile.evil %}{{ c }}{% endfor %}", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("{{ event.items[1] }}", "{&quot;name&quot;:&quot;Hat&quot;,&quot;price&quot;:60}"),
            ("{% echo profile.evil %}", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("{{ profile.evil | split: '' | join: '' }}", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
        ],
    );
}

#[test]
fn what_is_wrong_with_a_template_is_said_with_its_line() {
    check(
        text,
        &[
            ("a\nb {{ x", "error: line 2: `{{` is not closed by `}}`"),
            ("{% if x", "error: line 1: `{%` is not closed by `%}`"),
            ("\n\n{% if x %}", "error: line 3: `{% if %}` is never closed by `{% endif %}`"),
            ("{% if x %}\n{% endfor %}", "error: line 2: `endfor` where the `if` of line 1 is to be closed"),
            ("{% endif %}", "error: line 1: `endif` stands outside of its block"),
            ("{% unknown %}", "error: line 1: the tag `unknown` is not known"),
            ("{% %}", "error: line 1: the tag `` is not known"),
            ("{{ x | nope }}", "error: line 1: the filter `nope` is not known"),
            ("{{ x | append }}", "error: line 1: the filter `append` takes 1 arguments, not 0"),
            ("{{ x | slice: 1, 2, 3 }}", "error: line 1: the filter `slice` takes 1 to 2 arguments, not 3"),
            ("{{ }}", "error: line 1: expected a value, found the end of the tag"),
            ("{{ x y }}", "error: line 1: `y` is not expected here"),
            ("{{ x! }}", "error: line 1: `!` is not expected here"),
            ("{{ 'x }}", "error: line 1: `{{` is not closed by `}}`"),
            ("{{ x | append: \"x }}", "error: line 1: `{{` is not closed by `}}`"),
            ("{{ 99999999999999999999 }}", "error: line 1: the number `99999999999999999999` is too large"),
            (
                "{% if a and b or c %}{% endif %}",
                "error: line 1: `and` and `or` in one condition are ambiguous; nest two `if`s",
            ),
            ("{% if a = b %}{% endif %}", "error: line 1: `=` is not expected here"),
            ("{% for x of y %}{% endfor %}", "error: line 1: expected `in`, found `of`"),
            ("{% assign x %}", "error: line 1: expected `=`, found the end of the tag"),
            ("{% break %}", "error: line 1: `break` stands outside of a `for`"),
            ("{% else %}", "error: line 1: `else` stands outside of its block"),
            ("{% comment %}", "error: line 1: `{% comment %}` is never closed by `{% endcomment %}`"),
            ("{% raw %}{% endraw", "error: line 1: `{% raw %}` is never closed by `{% endraw %}`"),
        ],
    );
}

#[test]
fn the_checker_learns_what_is_read() {
    let read = |source: &str| {
        let template = Template::compile(source, Format::Text).unwrap();
        let shown =
            |variable: &template::Variable| format!("{}{}", variable.path, if variable.has_default { "?" } else { "" });
        template.variables().iter().map(shown).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        read("{{ profile.first_name }} {{ profile.last_name | default: 'x' }}"),
        "profile.first_name profile.last_name?"
    );
    assert_eq!(read("{{ a.b | default: 1 }}{{ a.b }}"), "a.b");
    assert_eq!(read("{% if a.b %}{{ a.b }}{% endif %}"), "a.b?");
    assert_eq!(read("{% if a.b %}{{ a.b }}{% endif %}{{ a.b }}"), "a.b");
    assert_eq!(
        read("{% for i in event.items %}{{ i.name }}{{ forloop.index }}{% endfor %}"),
        "event.items event.items[].name"
    );
    assert_eq!(read("{% assign x = a.b %}{{ x }}{% capture y %}{{ c }}{% endcapture %}{{ y }}"), "a.b c");
    assert_eq!(read("{{ a['b'][0][c.d] }}"), "a.b[0][] c.d");
    assert_eq!(read("{{ 'x' | append: a.b }}{% case k %}{% when v %}{% endcase %}"), "a.b k? v?");
    assert_eq!(read("plain"), "");
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let source = "{{ 'now' | date: '%s' }}{{ event }}{{ event.items | json }}{% for p in event %}{{ p }}{% endfor %}\
                  {{ event.mixed | uniq | sort | join: ',' }}{{ profile.gone }}";
    let first = render(source, Format::Html).unwrap();
    for _ in 0..50 {
        assert_eq!(render(source, Format::Html).unwrap(), first);
    }
}

#[test]
fn a_template_is_cheap_to_share() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Template>();
}

//! Where data is complete, our engine says what the `liquid` crate says: an independent reading of the language.

use model::{Attributes, Timestamp};
use template::data::Roots;
use template::{Format, Limits, Template};

const DATA: &str = r#"{
    "name": "Ada", "n": 7, "price": 29.5, "yes": true, "no": false, "words": ["b", "a", "c"], "numbers": [3, 1, 2, 2],
    "items": [{"name": "Shoe", "price": 20}, {"name": "Hat", "price": 60}], "text": "one two three", "html": "<b>x & y</b>"
}"#;

const SOURCES: &[&str] = &[
    "Hello {{ d.name }}, {{ d.n }} {{ d.price }} {{ d.yes }}",
    "{{ d.words[1] }}{{ d.words.first }}{{ d.words.last }}{{ d.words.size }}{{ d.items[0].name }}{{ d['name'] }}",
    "{{ d.words }}{{ d.numbers }}",
    "{% if d.n > 5 and d.yes %}a{% endif %}{% if d.no or d.n == 7 %}b{% endif %}{% if d.no %}c{% else %}d{% endif %}",
    "{% if d.n != 7 %}a{% elsif d.n >= 7 %}b{% else %}c{% endif %}{% unless d.no %}e{% endunless %}",
    "{% if d.words contains 'a' %}a{% endif %}{% if d.name contains 'd' %}b{% endif %}{% if d.name contains 'x' %}c{% endif %}",
    "{% case d.name %}{% when 'Bob', 'Eve' %}1{% when 'Ada' %}2{% else %}3{% endcase %}{% case d.n %}{% when 1 or 7 %}4{% endcase %}",
    "{% for i in d.items %}{{ forloop.index }}/{{ forloop.length }}:{{ i.name }}{% if forloop.first %}f{% endif %}{% if forloop.last %}l{% endif %} {% endfor %}",
    "{% for i in (1..d.n) %}{% if i == 3 %}{% continue %}{% endif %}{% if i == 6 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for i in d.numbers limit: 2 offset: 1 %}{{ i }}{% endfor %}{% for i in d.words reversed %}{{ i }}{{ forloop.rindex0 }}{% endfor %}",
    "{% for i in (1..2) %}{% for j in (1..2) %}{{ i }}{{ j }}{{ forloop.parentloop.index }} {% endfor %}{% endfor %}",
    "{% assign x = d.name | upcase %}{{ x }}{% assign x = x | downcase %}{{ x }}{% capture y %}<{{ x }}>{% endcapture %}{{ y }}",
    "a {%- if d.yes -%} b {%- endif -%} c {{- d.name -}} d",
    "{% raw %}{{ d.name }}{% endraw %}{% comment %}{{ d.name }}{% endcomment %}",
    "{{ d.name | append: '!' | prepend: '<' | size }}{{ d.text | capitalize }}{{ d.name | downcase | upcase }}",
    "{{ d.text | replace: 'o', '0' }}{{ d.text | replace_first: 'o', '0' }}{{ d.text | remove: 'o' }}{{ d.text | remove_first: 'o' }}",
    "{{ d.text | truncate: 8 }}|{{ d.text | truncate: 8, '-' }}|{{ d.text | truncatewords: 2 }}|{{ d.text | slice: 4, 3 }}|{{ d.text | slice: -5, 2 }}",
    "{{ d.text | split: ' ' | join: '-' }}{{ d.text | split: ' ' | reverse | first }}{{ d.html | escape }}{{ d.html | strip_html }}",
    "{{ d.n | plus: 3 }} {{ d.n | minus: 3 }} {{ d.n | times: 3 }} {{ d.n | divided_by: 2 }} {{ d.n | modulo: 4 }} {{ d.price | plus: 0.5 }}",
    "{{ d.price | round }} {{ d.price | ceil }} {{ d.price | floor }} {{ 1.2345 | round: 2 }} {{ -3 | abs }} {{ 4 | at_least: 5 }} {{ 4 | at_most: 3 }}",
    "{{ d.words | sort | join: '' }}{{ d.numbers | sort | uniq | join: ',' }}{{ d.items | map: 'name' | join: ' ' }}",
    "{{ d.items | where: 'name', 'Hat' | map: 'price' | first }}{{ d.words | concat: d.numbers | size }}{{ d.words | last }}",
    "{{ '' | default: 'x' }}{{ d.no | default: 'y' }}{{ d.name | default: 'z' }}{{ nil | default: 1 }}",
    "{{ '  a ' | strip }}|{{ '  a ' | lstrip }}|{{ '  a ' | rstrip }}|{{ \"a\nb\" | newline_to_br }}|{{ \"a\nb\" | strip_newlines }}",
    "{% if d.words == empty %}a{% else %}b{% endif %}{% if '' == empty %}c{% endif %}{% if nil == nil %}d{% endif %}",
    "{{ 'a b&c=d/é' | url_encode }} {{ 'a%20b' | url_decode }}",
    "{{ 1 }}{{ -1.5 }}{{ 'x' }}{{ \"y\" }}{{ true }}{{ nil }}",
];

#[test]
fn complete_data_reads_the_same_as_in_the_liquid_crate() {
    let theirs = liquid::ParserBuilder::with_stdlib().build().unwrap();
    let their_data: liquid::Object = serde_json::from_str(&format!(r#"{{"d": {DATA}}}"#)).unwrap();
    let ours: Attributes = serde_json::from_str(DATA).unwrap();
    let data = Roots::new(Timestamp::EPOCH).with("d", &ours);
    for source in SOURCES {
        let expected = theirs.parse(source).unwrap().render(&their_data).unwrap();
        let rendered = Template::compile(source, Format::Text).unwrap().render(&data, &Limits::default()).unwrap();
        assert_eq!(rendered.text, expected, "{source}");
        assert_eq!(rendered.missing, Vec::<String>::new(), "{source}");
    }
}

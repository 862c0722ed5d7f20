//! MJML becomes the HTML that is rendered, with its Liquid untouched.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use model::{Attributes, EffectId, ProfileId, Timestamp};
use template::data::Roots;
use template::tracking::{Signer, instrument};
use template::{Format, Limits, Template, mjml};

const MAIL: &str = r##"<mjml>
  <mj-head>
    <mj-title>Cart {{ event.cart_id }}</mj-title>
    <mj-preview>Still here, {{ profile.name | default: "you" }}</mj-preview>
    <mj-attributes><mj-text color="#333333" /></mj-attributes>
  </mj-head>
  <mj-body>
    {% if event.total < 100 and event.total > 5 %}
    <mj-section>
      <mj-column>
        <mj-text>Hello {{ profile.name | default: "<you>" }} &amp; all</mj-text>
        {% for item in event.items %}
        <mj-text>{{ item.sku }}</mj-text>
        {% endfor %}
        <mj-button href="https://shop.example/{{ event.cart_id }}?a=1&amp;b=2">To the cart</mj-button>
      </mj-column>
    </mj-section>
    {% endif %}
  </mj-body>
</mjml>"##;

fn rendered(source: &str, event: &str, profile: &str) -> String {
    let html = mjml::to_html(source).unwrap();
    let template = Template::compile(&html, Format::Html).unwrap();
    let (event, profile): (Attributes, Attributes) =
        (serde_json::from_str(event).unwrap(), serde_json::from_str(profile).unwrap());
    let data = Roots::new(Timestamp::EPOCH).with("event", &event).with("profile", &profile);
    template.render(&data, &Limits::default()).unwrap().text
}

#[test]
fn liquid_stands_anywhere_and_is_rendered_afterwards() {
    let event = r#"{"cart_id":"c 1","total":80,"items":[{"sku":"shoe"},{"sku":"hat"}]}"#;
    let html = rendered(MAIL, event, r#"{"name":"Ada <3"}"#);
    assert!(html.contains("Hello Ada &lt;3 &amp; all"), "{html}");
    assert!(html.contains("<title>Cart c 1</title>"), "{html}");
    assert!(html.contains(r#"href="https://shop.example/c 1?a=1&amp;b=2""#), "{html}");
    assert!(html.find("shoe").unwrap() < html.find("hat").unwrap());
    assert!(html.contains("color:#333333"), "{html}");
    assert!(!html.contains("liquid") && !html.contains("{%") && !html.contains("<mj"), "{html}");
    // What the condition leaves out is left out.
    let html = rendered(MAIL, r#"{"total":800}"#, "{}");
    assert!(html.contains("Still here, you") && !html.contains("To the cart"), "{html}");
}

#[test]
fn its_links_are_tracked_as_those_of_html_are() {
    let html = rendered(MAIL, r#"{"cart_id":"c1","total":80}"#, "{}");
    let signer = Signer::new([7; 32], "https://go.example.org");
    let html = instrument(&html, &signer, ProfileId([1; 16]), EffectId([2; 16]));
    assert!(html.contains(r#"href="https://go.example.org/t/c/"#) && !html.contains("https://shop.example"), "{html}");
    assert_eq!(html.matches("/t/o/").count(), 1);
}

#[test]
fn a_mistake_is_told_with_its_line() {
    let error = |source: &str| mjml::to_html(source).unwrap_err().to_string();
    let body = |inside: &str| format!("<mjml>\n<mj-body>\n{inside}\n</mj-body>\n</mjml>");
    for (source, expected) in [
        (
            body("<mj-section>\n<mj-colum></mj-colum></mj-section>"),
            "line 4: there is no element mj-colum; did you mean mj-column?",
        ),
        (
            body("<mj-include path=\"x\" />"),
            "line 3: mj-include is not available; put what it includes into the message",
        ),
        (body("{% if event.x %}\n"), "line 3: `{% if %}` is never closed by `{% endif %}`"),
        (body("{{ event.x"), "line 3: `{{` is not closed by `}}`"),
        (body(&"<div>".repeat(100)), "line 3: elements are nested more than 64 deep"),
        (
            body("<mj-section>\n</mj-column>"),
            "line 4: </mj-column> closes nothing; it is <mj-section> of line 3 that is open",
        ),
        ("<mjml><mj-body>".to_owned(), "line 1: <mj-body> is never closed"),
        ("Hello".to_owned(), "line 1: it is no markup: unknown token at 1:1"),
        (String::new(), "line 1: it has no element mjml around it"),
    ] {
        assert_eq!(error(&source), expected, "{source}");
    }
}

#[test]
fn the_same_source_is_the_same_html() {
    assert_eq!(mjml::to_html(MAIL).unwrap(), mjml::to_html(MAIL).unwrap());
    // A source that has the words in it which stand for Liquid while it is read.
    let odd = MAIL.replace("To the cart", "liquid0x liquidq1x {{ event.cart_id }}");
    let html = rendered(&odd, r#"{"cart_id":"c1","total":80}"#, "{}");
    assert!(html.contains("liquid0x liquidq1x c1"), "{html}");
}

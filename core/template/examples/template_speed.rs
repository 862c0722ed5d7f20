//! What a rendering and an instrumentation cost: `cargo run --release -p template --example template_speed`.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use model::{Attributes, EffectId, ProfileId, Timestamp, Value};
use std::hint::black_box;
use std::time::Instant;
use template::data::Roots;
use template::tracking::{Signer, instrument};
use template::{Format, Limits, Template};

const ROUNDS: u32 = 50_000;

fn main() {
    let filler = "<p style=\"margin:0\">Lorem ipsum dolor sit amet, consectetur adipiscing elit.</p>\n".repeat(9);
    let source = format!(
        "<html><body><h1>Hello {{{{ profile.first_name | default: 'friend' }}}}</h1>{filler}\
         <a href=\"https://shop.example/cart/{{{{ event.cart_id }}}}\">Your cart</a> <a href=\"https://shop.example/help\">Help</a>\
         {{% if event.cart_total > 50 %}}<p>Total: {{{{ event.cart_total }}}}</p>{{% endif %}}\
         <a href=\"https://shop.example/imprint?a=1&amp;b=2\">Imprint</a></body></html>"
    );
    let profile: Attributes = [("first_name", Value::from("Ada"))].into_iter().collect();
    let event: Attributes = [("cart_id", Value::from("c1")), ("cart_total", Value::Int(80))].into_iter().collect();
    let data = Roots::new(Timestamp::EPOCH).with("profile", &profile).with("event", &event);
    let (limits, signer) = (Limits::default(), Signer::new([3; 32], "https://go.example.org"));
    let template = Template::compile(&source, Format::Html).expect("the example compiles");
    let plain = Template::compile("A subject without variables", Format::Text).expect("the example compiles");
    let html = template.render(&data, &limits).expect("the example renders").text;
    println!("{} bytes of HTML, 3 variables, 3 links", html.len());
    measure("compile", || Template::compile(black_box(&source), Format::Html).map(drop).is_ok());
    measure("render", || template.render(black_box(&data), &limits).is_ok());
    measure("render a plain subject", || plain.render(black_box(&data), &limits).is_ok());
    measure("instrument", || !instrument(black_box(&html), &signer, ProfileId([7; 16]), EffectId([9; 16])).is_empty());
}

fn measure(what: &str, mut run: impl FnMut() -> bool) {
    let start = Instant::now();
    for _ in 0..ROUNDS {
        assert!(run());
    }
    println!("{what}: {:.2} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}

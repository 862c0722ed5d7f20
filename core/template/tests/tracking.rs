//! Tokens that nobody can forge, and mails whose links carry them (S9).

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::{EffectId, ProfileId};
use proptest::prelude::*;
use template::tracking::{Error, Kind, Signer, Token, instrument};

const PROFILE: ProfileId = ProfileId([7; 16]);
const EFFECT: EffectId = EffectId([9; 16]);

fn signer() -> Signer {
    Signer::new([3; 32], "https://go.example.org/")
}

fn click(url: &str) -> Token {
    Token { profile: PROFILE, effect: EFFECT, kind: Kind::Click { url: url.to_owned() } }
}

fn open() -> Token {
    Token { profile: PROFILE, effect: EFFECT, kind: Kind::Open }
}

#[test]
fn a_token_reads_back() {
    let longest = format!("https://a.example/{}", "x".repeat(Signer::URL_BYTES_MAX - 18));
    for token in [open(), click("https://a.example/?a=1&b=ü#c"), click("HTTP://a.example"), click(&longest)] {
        assert_eq!(signer().verify(&signer().sign(&token).unwrap()), Ok(token));
    }
}

#[test]
fn the_format_of_version_1_does_not_change() {
    // Mails with these links are out there; a token of today must be read by every later version.
    let text = signer().sign(&click("https://a.example/")).unwrap();
    assert_eq!(text, "AQIHBwcHBwcHBwcHBwcHBwcHCQkJCQkJCQkJCQkJCQkJCWh0dHBzOi8vYS5leGFtcGxlL5ztAj7PdEE0P1pwZL2Rf5E");
}

#[test]
fn every_flipped_bit_is_noticed() {
    for token in [open(), click("https://a.example/x")] {
        let bytes = URL_SAFE_NO_PAD.decode(signer().sign(&token).unwrap()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(signer().verify(&URL_SAFE_NO_PAD.encode(&changed)), Err(Error::Forged), "bit {bit}");
        }
    }
}

#[test]
fn every_changed_character_and_every_shorter_or_longer_token_is_refused() {
    let text = signer().sign(&click("https://a.example/x")).unwrap();
    for at in 0..text.len() {
        for other in "AZaz09-_=+/. %\u{e9}".chars().filter(|other| !text[at..].starts_with(*other)) {
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(signer().verify(&changed).is_err(), "{changed}");
        }
        assert!(signer().verify(&text[..at]).is_err());
        assert!(signer().verify(&text[at + 1..]).is_err());
    }
    assert!(signer().verify(&format!("{text}A")).is_err());
    assert!(signer().verify(&format!("{text}=")).is_err());
    assert_eq!(signer().verify(&"A".repeat(1_000_000)), Err(Error::Malformed));
}

#[test]
fn another_spelling_of_the_same_bytes_is_refused() {
    // One more byte than a multiple of three leaves unused bits in the last character.
    for url in ["https://a.example/", "https://a.example/x", "https://a.example/xy"] {
        let text = signer().sign(&click(url)).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        let standard = STANDARD.encode(&bytes);
        assert!(standard == text || signer().verify(&standard).is_err());
        let accepted = (0..=u8::MAX)
            .filter(|last| last.is_ascii())
            .map(|last| format!("{}{}", &text[..text.len() - 1], char::from(last)))
            .filter(|other| signer().verify(other).is_ok())
            .count();
        assert_eq!(accepted, 1);
    }
}

#[test]
fn another_key_signs_nothing_here() {
    let foreign = Signer::new([4; 32], "https://go.example.org").sign(&open()).unwrap();
    assert_eq!(signer().verify(&foreign), Err(Error::Forged));
}

#[test]
fn a_redirect_to_anything_but_a_web_address_cannot_even_be_signed() {
    let too_long = format!("https://a.example/{}", "x".repeat(Signer::URL_BYTES_MAX));
    for url in [
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "/local",
        "ftp://a.example",
        "mailto:a@x.org",
        " https://a.example",
        "https://a.example/\r\nSet-Cookie: x",
        "https://a.example/a b",
        "httpsx://a",
        &too_long,
    ] {
        assert_eq!(signer().sign(&click(url)), Err(Error::Url), "{url:?}");
    }
}

/// Takes the tokens out of instrumented HTML: `[click https://…]`, `[open]`.
fn readable(html: &str) -> String {
    let signer = signer();
    let mut shown = String::new();
    let mut rest = html;
    while let Some(at) = rest.find("https://go.example.org/t/") {
        shown.push_str(&rest[..at]);
        let (path, after) = rest[at + 25..].split_at(rest[at + 25..].find('"').expect("a quote ends it"));
        let (text, is_open) = path.strip_prefix("o/").map_or_else(
            || (path.strip_prefix("c/").expect("a click"), false),
            |open| (open.strip_suffix(".gif").expect("a picture"), true),
        );
        let token = signer.verify(text).expect("our own token");
        assert_eq!((token.profile, token.effect), (PROFILE, EFFECT));
        match token.kind {
            Kind::Open => {
                assert!(is_open);
                shown.push_str("[open]");
            }
            Kind::Click { url } => {
                assert!(!is_open);
                shown.push_str(&format!("[click {url}]"));
            }
        }
        rest = after;
    }
    shown.push_str(rest);
    shown.replace(r#"<img src="[open]" width="1" height="1" alt="" style="display:block;border:0">"#, "[pixel]")
}

#[test]
fn links_and_pixel() {
    let table = [
        ("", "[pixel]"),
        ("<p>no link</p>", "<p>no link</p>[pixel]"),
        ("<html><body><p>x</p></body></html>", "<html><body><p>x</p>[pixel]</body></html>"),
        ("<BODY>x</BODY>\n</HTML>\n", "<BODY>x[pixel]</BODY>\n</HTML>\n"),
        (r#"<a href="https://a.example/x">x</a>"#, r#"<a href="[click https://a.example/x]">x</a>[pixel]"#),
        (r#"<A HREF='http://a.example' class="b">"#, r#"<A HREF="[click http://a.example]" class="b">[pixel]"#),
        ("<a href=https://a.example/x>x</a>", r#"<a href="[click https://a.example/x]">x</a>[pixel]"#),
        (r#"<a href=" https://a.example/x ">x</a>"#, r#"<a href="[click https://a.example/x]">x</a>[pixel]"#),
        (
            r#"<area href="https://a.example/?a=1&amp;b=2&#38;c=3&#x26;copy=4&copy=5">"#,
            r#"<area href="[click https://a.example/?a=1&b=2&c=3&copy=4&copy=5]">[pixel]"#,
        ),
        (r#"<a href="mailto:a@x.org?subject=b">"#, r#"<a href="mailto:a@x.org?subject=b">[pixel]"#),
        (
            r##"<a href="tel:+49">a</a><a href="#top">b</a><a name="c">"##,
            r##"<a href="tel:+49">a</a><a href="#top">b</a><a name="c">[pixel]"##,
        ),
        (r#"<a href="/local">"#, r#"<a href="/local">[pixel]"#),
        (r#"<a href="javascript:alert(1)">"#, r#"<a href="javascript:alert(1)">[pixel]"#),
        (r#"<a data-sojourn-track="off" href="https://a.example/u">"#, r#"<a href="https://a.example/u">[pixel]"#),
        (
            r#"<a href="https://a.example/u" data-sojourn-track="on">"#,
            r#"<a href="[click https://a.example/u]">[pixel]"#,
        ),
        (
            r#"<link href="https://a.example/c.css"><img src="https://a.example/i.png">"#,
            r#"<link href="https://a.example/c.css"><img src="https://a.example/i.png">[pixel]"#,
        ),
        (r#"<!-- <a href="https://a.example"> -->"#, r#"<!-- <a href="https://a.example"> -->[pixel]"#),
        (r#"<style>a[href="https://a.example"]{}</style>"#, r#"<style>a[href="https://a.example"]{}</style>[pixel]"#),
        (
            "<p>5 < 6 &amp; ümläut <a href=\"https://a.example/ü\">",
            "<p>5 < 6 &amp; ümläut <a href=\"[click https://a.example/ü]\">[pixel]",
        ),
        ("<body>unclosed", "<body>unclosed[pixel]"),
        ("<body>a</body><body>b</body>", "<body>a[pixel]</body><body>b</body>"),
    ];
    for (html, expected) in table {
        assert_eq!(readable(&instrument(html, &signer(), PROFILE, EFFECT)), expected, "{html}");
    }
}

#[test]
fn a_link_too_long_for_a_token_stays_as_it_is() {
    let html = format!(r#"<a href="https://a.example/{}">x</a>"#, "x".repeat(Signer::URL_BYTES_MAX));
    assert!(instrument(&html, &signer(), PROFILE, EFFECT).starts_with(&html));
}

#[test]
fn the_same_mail_is_instrumented_the_same() {
    let html = r#"<a href="https://a.example/x">x</a>"#;
    assert_eq!(instrument(html, &signer(), PROFILE, EFFECT), instrument(html, &signer(), PROFILE, EFFECT));
}

#[test]
fn a_signer_does_not_print_its_key() {
    assert!(!format!("{:?}", Signer::new([33; 32], "https://go.example.org")).contains("33"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_a_token_by_chance(text in "[A-Za-z0-9_-]{0,200}") {
        prop_assert!(signer().verify(&text).is_err());
    }

    #[test]
    fn any_html_is_kept_and_gets_one_pixel(parts in prop::collection::vec(prop::sample::select(vec![
        "<a href=\"https://a.example\">", "</a>", "<body>", "</body>", "<", ">", "\"", "'", "&", "é", "text", "<!--", "-->", "<script>",
        "</script>", "<svg>", "<body/>", "<table>", "<a href=", "=", " ",
    ]), 0..20)) {
        let html = parts.concat();
        let out = instrument(&html, &signer(), PROFILE, EFFECT);
        prop_assert_eq!(out.matches("/t/o/").count(), 1, "{}", out);
    }
}

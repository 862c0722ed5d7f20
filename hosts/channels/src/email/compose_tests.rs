use super::*;
use std::time::{Duration, UNIX_EPOCH};

const EFFECT: EffectId = EffectId([0xab; 16]);

fn composer() -> Composer {
    Composer { from: Some(mailbox("Shop <hello@shop.example>").unwrap()), dkim: None }
}

fn rendered(parts: &[(&str, Value)]) -> Rendered {
    let parts = parts.iter().map(|(name, value)| (*name, value.clone())).collect();
    Rendered { channel: "email".into(), message: "welcome".into(), address: "ada@example.org".into(), parts }
}

fn compose(rendered: &Rendered) -> Result<String, String> {
    let mail = composer().compose(EFFECT, rendered, UNIX_EPOCH + Duration::from_secs(1_700_000_000))?;
    Ok(String::from_utf8(mail.bytes).unwrap())
}

/// The header section, unfolded, one header a line.
fn headers(mail: &str) -> Vec<String> {
    let (head, _) = mail.split_once("\r\n\r\n").unwrap();
    head.replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n").map(str::to_owned).collect()
}

#[test]
fn the_effect_is_the_idempotency_key_and_every_attempt_has_the_same_bytes() {
    let message =
        rendered(&[("subject", "Hi".into()), ("html", "<p>Hello <a href=\"https://x.org\">you</a></p>".into())]);
    let mail = compose(&message).unwrap();
    let effect = "ab".repeat(16);
    let headers = headers(&mail);
    for expected in [
        format!("Message-ID: <{effect}@shop.example>"),
        format!("X-Sojourn-Send: {effect}"),
        "From: Shop <hello@shop.example>".into(),
        "To: ada@example.org".into(),
        "Subject: Hi".into(),
        "Date: Tue, 14 Nov 2023 22:13:20 +0000".into(),
        "MIME-Version: 1.0".into(),
        format!("Content-Type: multipart/alternative; boundary=\"=_{effect}\""),
    ] {
        assert!(headers.contains(&expected), "{expected} is not in {headers:#?}");
    }
    assert_eq!(mail, compose(&message).unwrap());
}

#[test]
fn html_alone_gets_a_plain_form_and_a_given_one_is_kept() {
    let html = Value::from("<h1>Hello</h1><p>Your cart is <b>full</b>: <a href=\"https://x.org/c\">see</a></p>");
    let mail = compose(&rendered(&[("html", html.clone())])).unwrap();
    let plain = mail.split("text/plain").nth(1).unwrap().split("--=_").next().unwrap();
    assert!(plain.contains("Hello") && plain.contains("https://x.org/c") && !plain.contains("<b>"), "{plain}");
    let mail = compose(&rendered(&[("html", html), ("text", "My own words".into())])).unwrap();
    assert!(mail.contains("My own words") && !mail.contains("# Hello"), "{mail}");
    let mail = compose(&rendered(&[("text", "Only words".into())])).unwrap();
    assert!(!mail.contains("multipart") && mail.contains("Only words"), "{mail}");
}

#[test]
fn no_line_break_begins_a_header() {
    let evil = "Hi\r\nBcc: all@example.org\r\n\r\nbody";
    let mail = compose(&rendered(&[("subject", evil.into()), ("text", "x".into())])).unwrap();
    let headers = headers(&mail);
    assert!(headers.contains(&"Subject: Hi Bcc: all@example.org body".to_owned()), "{headers:#?}");
    assert!(!headers.iter().any(|header| header.starts_with("Bcc")), "{headers:#?}");
    let header = |name: &str, value: &str| Value::Map([(name, Value::from(value))].into_iter().collect());
    for (part, value) in [
        ("from", Value::from("Shop\r\nBcc: a@b.org <hello@shop.example>")),
        ("from", Value::from("hello@shop.example\r\nBcc: a@b.org")),
        ("reply_to", Value::from("a@b.org\nBcc: a@b.org")),
        ("headers", header("List-Unsubscribe", "<https://x.org>\r\nBcc: a@b.org")),
        ("headers", header("X-A: b\r\nBcc", "a@b.org")),
        ("headers", header("bcc", "a@b.org")),
        ("headers", header("DKIM-Signature", "v=1")),
        ("headers", header("X-Long", &"a".repeat(HEADER_BYTES_MAX + 1))),
    ] {
        let refused = compose(&rendered(&[("text", "x".into()), (part, value.clone())]));
        assert!(refused.is_err(), "{part} {value:?}");
    }
    for address in ["a@b.org\r\nRCPT TO:<c@d.org>", "a@b.org>", "<a@b.org", "a b@c.org", "nobody", "@b.org", "a@"] {
        let refused = compose(&Rendered { address: address.into(), ..rendered(&[("text", "x".into())]) });
        assert!(refused.as_ref().is_err_and(|why| why.starts_with("invalid_address")), "{address} {refused:?}");
    }
}

#[test]
fn names_and_domains_beyond_ascii_are_encoded() {
    let message = Rendered {
        address: "ada@müller.example".into(),
        ..rendered(&[
            ("from", "\"Müller, Söhne\" <post@shop.example>".into()),
            ("subject", "Grüße".into()),
            ("text", "ä".into()),
        ])
    };
    let mail = composer().compose(EFFECT, &message, UNIX_EPOCH).unwrap();
    assert!(mail.bytes.is_ascii());
    assert_eq!(mail.recipient.to_string(), "ada@xn--mller-kva.example");
    assert_eq!(mail.sender.to_string(), "post@shop.example");
}

#[test]
fn what_can_never_be_sent_says_why() {
    assert!(compose(&rendered(&[("subject", "x".into())])).unwrap_err().contains("neither"));
    assert!(
        compose(&rendered(&[("subject", 1.into()), ("text", "x".into())])).unwrap_err().contains("number, not text")
    );
    let nobody = Composer { from: None, dkim: None };
    let error = nobody.compose(EFFECT, &rendered(&[("text", "x".into())]), UNIX_EPOCH).unwrap_err();
    assert!(error.contains("no sender"), "{error}");
}

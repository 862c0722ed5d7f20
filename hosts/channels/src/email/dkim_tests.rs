//! The signature, verified by another implementation than the one that made it: RFC 6376 by hand over ring.

use super::compose::Composer;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::send::Rendered;
use model::{EffectId, Value};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use std::time::UNIX_EPOCH;

const SEED: [u8; 32] = [7; 32];

fn dkim(private_key: &str) -> Dkim {
    Dkim {
        domain: "shop.example".into(),
        selector: "s1".into(),
        private_key: Some(Secret::new(private_key)),
        private_key_file: None,
    }
}

fn signed_mail(headers: &[(&str, &str)]) -> String {
    let composer = Composer {
        from: Some(compose::mailbox("Shop <hello@shop.example>").unwrap()),
        dkim: Some(dkim(&STANDARD.encode(SEED)).load().unwrap()),
    };
    let headers = headers.iter().map(|(name, value)| (*name, Value::from(*value))).collect();
    let parts = [
        ("subject", Value::from("Grüße aus dem  Laden, und noch ein Satz, der lang genug ist, um gefaltet zu werden")),
        ("html", "<p>Hello  <b>you</b> \n\n</p>\n\n".into()),
        ("headers", Value::Map(headers)),
    ];
    let rendered = Rendered {
        channel: "email".into(),
        message: "m".into(),
        address: "ada@example.org".into(),
        parts: parts.into_iter().collect(),
    };
    let mail = composer.compose(EffectId([1; 16]), &rendered, UNIX_EPOCH).unwrap();
    String::from_utf8(mail.bytes).unwrap()
}

/// Relaxed, RFC 6376 §3.4.2.
fn relaxed_header(header: &str) -> String {
    let (name, value) = header.split_once(':').unwrap();
    let words: Vec<&str> = value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).collect();
    format!("{}:{}", name.trim().to_lowercase(), words.join(" "))
}

/// Relaxed, RFC 6376 §3.4.4.
fn relaxed_body(body: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in body.strip_suffix("\r\n").unwrap_or(body).split("\r\n") {
        let begins_with_space = line.starts_with([' ', '\t']);
        let words = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        lines.push(if begins_with_space && !words.is_empty() { format!(" {words}") } else { words });
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.iter().map(|line| format!("{line}\r\n")).collect()
}

/// Headers with their folds, and the body.
fn split(mail: &str) -> (Vec<String>, &str) {
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    let mut headers: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match headers.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push_str("\r\n");
                last.push_str(line);
            }
            Some(_) | None => headers.push(line.to_owned()),
        }
    }
    (headers, body)
}

fn tag<'a>(signature: &'a str, name: &str) -> &'a str {
    let value = |part: &'a str| part.trim().strip_prefix(name)?.strip_prefix('=');
    signature.split(';').find_map(value).unwrap()
}

fn verify(mail: &str) -> Result<(), String> {
    let (headers, body) = split(mail);
    let is = |header: &str, name: &str| header.split(':').next().is_some_and(|is| is.eq_ignore_ascii_case(name));
    let signature = headers.iter().find(|header| is(header, "DKIM-Signature")).ok_or("no signature")?;
    let relaxed = relaxed_header(signature);
    if STANDARD.encode(digest(&SHA256, relaxed_body(body).as_bytes())) != tag(&relaxed, "bh") {
        return Err("the body hash differs".into());
    }
    let mut signed = String::new();
    for name in tag(&relaxed, "h").split(':') {
        let header = headers.iter().rfind(|header| is(header, name.trim()));
        signed.extend(header.map(|header| relaxed_header(header) + "\r\n"));
    }
    let given = tag(&relaxed, "b").replace(' ', "");
    let at = relaxed.find("; b=").ok_or("no b=")? + "; b=".len();
    signed.push_str(&relaxed[..at]);
    let key = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap();
    let hash = digest(&SHA256, signed.as_bytes());
    UnparsedPublicKey::new(&ED25519, key.public_key().as_ref())
        .verify(hash.as_ref(), &STANDARD.decode(given).unwrap())
        .map_err(|_| "the signature differs".into())
}

const UNSUBSCRIBE: [(&str, &str); 2] =
    [("List-Unsubscribe", "<https://shop.example/u/abc>"), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")];

#[test]
fn the_signature_verifies_and_covers_what_must_not_be_changed_or_added() {
    let mail = signed_mail(&UNSUBSCRIBE);
    assert_eq!(verify(&mail), Ok(()));
    for (from, to) in [
        ("/u/abc", "/u/xyz"),
        ("One-Click", "Two-Clicks"),
        ("ada@example.org", "eve@example.org"),
        ("<b>you</b>", "<b>me</b>"),
    ] {
        assert!(mail.contains(from), "{from}");
        assert!(verify(&mail.replace(from, to)).is_err(), "{from}");
    }
    // What the message lacks is covered too.
    assert!(verify(&format!("Reply-To: eve@example.org\r\n{mail}")).is_err());
    let plain = signed_mail(&[]);
    assert_eq!(verify(&plain), Ok(()));
    assert!(verify(&format!("List-Unsubscribe: <https://evil.example>\r\n{plain}")).is_err());
}

/// lettre canonicalizes headers by a function that calls itself for each character.
#[test]
fn the_longest_headers_allowed_can_be_signed() {
    let long = "a".repeat(1_990);
    let mail = signed_mail(&[("List-Unsubscribe", &long), ("List-Unsubscribe-Post", &long)]);
    assert_eq!(verify(&mail), Ok(()));
}

#[test]
fn a_key_in_the_wrong_form_says_what_to_do() {
    let error = dkim("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----").load().unwrap_err();
    assert!(error.to_string().contains("openssl pkey -traditional"), "{error}");
    assert!(dkim("short").load().is_err());
    assert!(Dkim { private_key: None, ..dkim("") }.load().is_err());
}

//! The request as it leaves, made of a rendered message.
//!
//! ```text
//! POST {address}                      or PUT, PATCH, DELETE by the part `method`
//! content-type: application/json      unless the message says otherwise
//! webhook-id: msg_{effect}            the idempotency key (S4)
//! x-sojourn-send: {effect}
//!
//! {body}                              text as it is, anything else as JSON
//! ```

use model::send::Rendered;
use model::{Attributes, EffectId, Value};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

/// Headers that are ours or HTTP's to set.
const RESERVED_HEADERS: [&str; 13] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-sojourn-send",
];

#[derive(Debug)]
pub(super) struct Call {
    pub method: Method,
    pub url: Url,
    pub id: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// # Errors
/// Why the call can never be made as it is.
pub(super) fn compose(effect: EffectId, rendered: &Rendered) -> Result<Call, String> {
    let Rendered { channel: _, message: _, address, parts } = rendered;
    let url = url(address)?;
    let mut headers = further_headers(parts)?;
    let body = match parts.get("body") {
        None => Vec::new(),
        Some(Value::Text(text)) => text.as_bytes().to_vec(),
        Some(
            value @ (Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Map(_)),
        ) => serde_json::to_vec(value).map_err(|error| format!("`body` is no JSON: {error}"))?,
    };
    if !body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let send = HeaderValue::try_from(effect.to_string()).expect("INVARIANT: an id is hexadecimal digits");
    headers.insert("x-sojourn-send", send);
    Ok(Call { method: method(parts)?, url, id: format!("msg_{effect}"), headers, body })
}

/// `host:port` of an address, or the address itself if it is none.
pub(super) fn peer(address: &str) -> String {
    match url(address) {
        Ok(url) => {
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
        }
        Err(_) => address.to_owned(),
    }
}

fn url(address: &str) -> Result<Url, String> {
    let url = Url::parse(address).map_err(|error| format!("invalid_address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("invalid_address: no http or https address".into());
    }
    Ok(url)
}

fn method(parts: &Attributes) -> Result<Method, String> {
    match parts.get("method") {
        None | Some(Value::Null) => Ok(Method::POST),
        Some(value) => match value.as_text().map(str::to_ascii_uppercase).as_deref() {
            Some("POST") => Ok(Method::POST),
            Some("PUT") => Ok(Method::PUT),
            Some("PATCH") => Ok(Method::PATCH),
            Some("DELETE") => Ok(Method::DELETE),
            Some(_) | None => Err("`method` is none of POST, PUT, PATCH, DELETE".into()),
        },
    }
}

fn further_headers(parts: &Attributes) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    let headers = match parts.get("headers") {
        None | Some(Value::Null) => return Ok(map),
        Some(Value::Map(headers)) => headers,
        Some(other) => return Err(format!("`headers` is {}, not an object", other.kind())),
    };
    for (name, value) in headers.iter() {
        if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!("the header `{name}` is set by the channel"));
        }
        let value = value.as_text().ok_or_else(|| format!("the header `{name}` is {}, not text", value.kind()))?;
        let name = HeaderName::try_from(name.as_str()).map_err(|_| format!("`{name}` is no header name"))?;
        let value = HeaderValue::try_from(value).map_err(|_| format!("the value of the header `{name}` is none"))?;
        map.insert(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(parts: &[(&str, Value)]) -> Rendered {
        let parts = parts.iter().map(|(name, value)| (*name, value.clone())).collect();
        Rendered { channel: "webhook".into(), message: "m".into(), address: "https://x.org/hook?a=1".into(), parts }
    }

    #[test]
    fn text_goes_as_it_is_and_an_object_as_json() {
        let text = compose(EffectId([1; 16]), &rendered(&[("body", Value::from("{\"a\": 1}"))])).unwrap();
        assert_eq!(text.body, b"{\"a\": 1}");
        let object = Value::Map([("b", Value::from(true)), ("a", Value::from(1))].into_iter().collect());
        let call = compose(EffectId([1; 16]), &rendered(&[("body", object)])).unwrap();
        assert_eq!(call.body, b"{\"a\":1,\"b\":true}");
        assert_eq!(call.headers[CONTENT_TYPE], "application/json");
        assert_eq!(call.method, Method::POST);
        assert_eq!(call.id, format!("msg_{}", "01".repeat(16)));
    }

    #[test]
    fn what_can_never_be_sent_is_said_before_anybody_is_asked() {
        let headers = |name: &str, value: &str| Value::Map([(name, Value::from(value))].into_iter().collect());
        for (part, value, why) in [
            ("method", Value::from("GET"), "none of POST"),
            ("headers", Value::from("x: y"), "not an object"),
            ("headers", headers("Webhook-Signature", "v1,x"), "set by the channel"),
            ("headers", headers("Host", "evil"), "set by the channel"),
            ("headers", headers("x-a", "b\r\nx-c: d"), "value of the header"),
            ("headers", headers("x a", "b"), "no header name"),
        ] {
            let error = compose(EffectId([1; 16]), &rendered(&[(part, value)])).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        for address in ["", "x.org", "ftp://x.org/", "file:///etc/passwd", "http://"] {
            let rendered = Rendered { address: address.into(), ..rendered(&[]) };
            assert!(compose(EffectId([1; 16]), &rendered).unwrap_err().contains("invalid_address"), "{address}");
        }
    }

    #[test]
    fn each_host_and_port_is_a_peer_of_its_own() {
        assert_eq!(peer("https://x.org/a"), "x.org:443");
        assert_eq!(peer("https://X.org/b?c"), "x.org:443");
        assert_eq!(peer("http://x.org:8080/"), "x.org:8080");
    }
}

//! An event's attributes read by its trigger's schema (E8, C4).

use crate::compiled::{BindingPart, Trigger};
use model::trigger::{AttributeType, TriggerKind};
use model::{Attributes, Text, Value};

/// Attributes that fit, with what is to be flagged.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub attributes: Attributes,
    /// Kept, though the trigger does not declare them.
    pub unknown: Vec<Text>,
}

/// Why an event is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    pub attribute: Text,
    pub expected: &'static str,
    pub came: String,
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "attribute `{}`: expected {}, {} came", self.attribute, self.expected, self.came)
    }
}

impl Trigger {
    /// Reads `attributes` by the schema. When all types fit, nothing is copied.
    ///
    /// # Errors
    /// The first attribute that is missing or does not fit.
    pub fn check(&self, mut attributes: Attributes) -> Result<Checked, Misfit> {
        for declared in &self.attributes {
            let name = declared.name.as_text();
            match attributes.get(name) {
                Some(value) if fits(declared.ty, value) => continue,
                None | Some(Value::Null) if declared.required => {
                    let came = if attributes.get(name).is_some() { "null" } else { "nothing" };
                    return Err(misfit(name, declared.ty, came.to_owned()));
                }
                None => continue,
                // An optional attribute that is null is one that is not there.
                Some(Value::Null) => {
                    attributes.remove(name);
                    continue;
                }
                Some(_) => {}
            }
            let Some(held) = attributes.get_mut(name) else { continue };
            match lossless(declared.ty, held) {
                Some(value) => *held = value,
                None => return Err(misfit(name, declared.ty, shown(held))),
            }
        }
        // Of records and interactions any attribute may come: their schema is the source's.
        let open = self.kind != TriggerKind::Custom;
        let is_unknown = |name: &Text| {
            let reserved = matches!(name.as_str(), "contactpoint_email" | "contactpoint_phone");
            !open
                && !reserved
                && self.attributes.binary_search_by(|declared| declared.name.as_text().cmp(name)).is_err()
        };
        let unknown = attributes.iter().map(|(name, _)| name).filter(|name| is_unknown(name)).cloned().collect();
        Ok(Checked { attributes, unknown })
    }

    /// The binding id by the trigger's pattern; None without a pattern or where an attribute it needs is missing or
    /// empty: `cart/` names no cart, and would be the same for everyone who has none.
    pub fn binding_id(&self, attributes: &Attributes) -> Option<Text> {
        let mut binding = Text::default();
        for part in &self.binding.as_ref()?.0 {
            match part {
                BindingPart::Fixed(text) => binding.push_str(text),
                BindingPart::Attribute(name) => match attributes.get(name)? {
                    Value::Text(text) if text.trim().is_empty() => return None,
                    Value::Text(text) => binding.push_str(text),
                    Value::Int(number) => binding.push_str(&number.to_string()),
                    Value::Bool(truth) => binding.push_str(&truth.to_string()),
                    Value::Null | Value::Float(_) | Value::List(_) | Value::Map(_) => return None,
                },
            }
        }
        Some(binding)
    }
}

fn misfit(name: &Text, ty: AttributeType, came: String) -> Misfit {
    let expected = match ty {
        AttributeType::Text => "a text",
        AttributeType::Number => "a number",
        AttributeType::Boolean => "true or false",
        AttributeType::Datetime => "a date-time such as 2026-05-01T09:00:00Z",
        AttributeType::Reference => "a reference such as contact/42",
    };
    Misfit { attribute: name.clone(), expected, came }
}

/// What came, short enough for an answer.
fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("the text {:?}", text.chars().take(40).collect::<String>()),
        Value::Int(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => format!("a {}", value.kind()),
    }
}

fn fits(ty: AttributeType, value: &Value) -> bool {
    match (ty, value) {
        (AttributeType::Text | AttributeType::Reference, Value::Text(_))
        | (AttributeType::Number, Value::Int(_) | Value::Float(_))
        | (AttributeType::Boolean, Value::Bool(_)) => true,
        (AttributeType::Datetime, Value::Text(text)) => is_date_time(text),
        _ => false,
    }
}

/// Cheap first: most date-times that come are instants.
fn is_date_time(text: &str) -> bool {
    calendar::read_instant(text, &calendar::Zone::utc()).is_some()
}

/// A reading that loses nothing, such as the text "80" for a number.
fn lossless(ty: AttributeType, value: &Value) -> Option<Value> {
    match (ty, value) {
        (AttributeType::Number, Value::Text(text)) => number(text.trim()),
        (AttributeType::Text, Value::Int(number)) => Some(Value::Text(number.to_string().into())),
        // Printed with as many digits as it takes to read the very same number again.
        (AttributeType::Text, Value::Float(number)) if number.abs() < WHOLE_MAX => {
            Some(Value::Text(number.to_string().into()))
        }
        (AttributeType::Text, Value::Bool(truth)) => Some(Value::Text(truth.to_string().into())),
        (AttributeType::Boolean, Value::Text(text)) => match text.as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
        _ => None,
    }
}

/// 2^53: from here on a float stands for several whole numbers, and it is not known which of them was sent.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
/// Digits that a float surely tells apart.
const FLOAT_DIGITS: usize = 15;

/// The number a text says, unless digits would be lost: an order number of 20 digits is no number to us.
fn number(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(Value::Int(number));
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        return None;
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count();
    text.parse::<f64>().ok().filter(|number| digits <= FLOAT_DIGITS && number.is_finite()).map(Value::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiled::{Attribute, BindingPattern};
    use model::trigger::{Bind, TriggerState};
    use model::{AttributeName, Name};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn trigger() -> Trigger {
        let attribute_name = |text| AttributeName::new(text).unwrap();
        let attribute = |text, ty, required| Attribute { name: attribute_name(text), ty, required };
        Trigger {
            name: name("abandoned_cart"),
            kind: TriggerKind::Custom,
            state: TriggerState::Ready,
            bind: Bind::Profile,
            binding: Some(BindingPattern(vec![
                BindingPart::Fixed("cart/".into()),
                BindingPart::Attribute(attribute_name("cart_id")),
            ])),
            attributes: vec![
                attribute("cart_id", AttributeType::Text, true),
                attribute("cart_total", AttributeType::Number, true),
                attribute("coupon", AttributeType::Text, false),
                attribute("gift", AttributeType::Boolean, false),
                attribute("left_at", AttributeType::Datetime, false),
            ],
            max_age_ms: 0,
            version: 1,
        }
    }

    fn check(json: &str) -> Result<String, String> {
        let checked = trigger().check(serde_json::from_str(json).unwrap()).map_err(|misfit| misfit.to_string())?;
        Ok(format!("{} {:?}", serde_json::to_string(&checked.attributes).unwrap(), checked.unknown))
    }

    #[test]
    fn attributes_are_read_without_loss_or_refused_by_name() {
        for (json, expected) in [
            (r#"{"cart_id":"c1","cart_total":80}"#, Ok(r#"{"cart_id":"c1","cart_total":80} []"#)),
            (r#"{"cart_id":7,"cart_total":"80.5"}"#, Ok(r#"{"cart_id":"7","cart_total":80.5} []"#)),
            (r#"{"cart_id":0.1,"cart_total":" -7 "}"#, Ok(r#"{"cart_id":"0.1","cart_total":-7} []"#)),
            (r#"{"cart_id":true,"cart_total":"1e3"}"#, Ok(r#"{"cart_id":"true","cart_total":1000.0} []"#)),
            (r#"{"cart_id":"c","cart_total":1,"coupon":null}"#, Ok(r#"{"cart_id":"c","cart_total":1} []"#)),
            (
                r#"{"cart_id":"c","cart_total":1,"colour":"red"}"#,
                Ok(r#"{"cart_id":"c","cart_total":1,"colour":"red"} ["colour"]"#),
            ),
            (r#"{"cart_id":"c","cart_total":1,"gift":"true"}"#, Ok(r#"{"cart_id":"c","cart_total":1,"gift":true} []"#)),
            // Whole numbers past those of 64 bits come as text with all their digits, if the schema has it so.
            (
                r#"{"cart_id":18446744073709551615,"cart_total":1}"#,
                Ok(r#"{"cart_id":"18446744073709551615","cart_total":1} []"#),
            ),
            (
                r#"{"cart_id":"c","cart_total":18446744073709551615}"#,
                Err(r#"attribute `cart_total`: expected a number, the text "18446744073709551615" came"#),
            ),
            (
                r#"{"cart_id":123456789012345678901234567890,"cart_total":1}"#,
                Err("attribute `cart_id`: expected a text, the number 123456789012345680000000000000 came"),
            ),
            (
                r#"{"cart_id":9007199254740991.0,"cart_total":-0.5}"#,
                Ok(r#"{"cart_id":"9007199254740991","cart_total":-0.5} []"#),
            ),
            (r#"{"cart_id":"c","cart_total":true}"#, Err("attribute `cart_total`: expected a number, a boolean came")),
            (
                r#"{"cart_id":"c","cart_total":1,"gift":1}"#,
                Err("attribute `gift`: expected true or false, the number 1 came"),
            ),
            (
                r#"{"cart_id":"c","cart_total":1,"left_at":1777618800}"#,
                Err(
                    "attribute `left_at`: expected a date-time such as 2026-05-01T09:00:00Z, the number 1777618800 came",
                ),
            ),
            (
                r#"{"cart_id":"c","cart_total":""}"#,
                Err(r#"attribute `cart_total`: expected a number, the text "" came"#),
            ),
            (r#"{"cart_id":{"a":1},"cart_total":1}"#, Err("attribute `cart_id`: expected a text, a object came")),
            (r#"{"cart_total":1}"#, Err("attribute `cart_id`: expected a text, nothing came")),
            (r#"{"cart_id":null,"cart_total":1}"#, Err("attribute `cart_id`: expected a text, null came")),
            (
                r#"{"cart_id":"c","cart_total":"a lot"}"#,
                Err(r#"attribute `cart_total`: expected a number, the text "a lot" came"#),
            ),
            (
                r#"{"cart_id":"c","cart_total":"inf"}"#,
                Err(r#"attribute `cart_total`: expected a number, the text "inf" came"#),
            ),
            (
                r#"{"cart_id":"c","cart_total":"12345678901234567890"}"#,
                Err(r#"attribute `cart_total`: expected a number, the text "12345678901234567890" came"#),
            ),
            (
                r#"{"cart_id":"c","cart_total":"1e999"}"#,
                Err(r#"attribute `cart_total`: expected a number, the text "1e999" came"#),
            ),
            (
                r#"{"cart_id":"c","cart_total":1,"gift":"yes"}"#,
                Err(r#"attribute `gift`: expected true or false, the text "yes" came"#),
            ),
            (
                r#"{"cart_id":"c","cart_total":1,"left_at":"2026-05-01 09:00"}"#,
                Ok(r#"{"cart_id":"c","cart_total":1,"left_at":"2026-05-01 09:00"} []"#),
            ),
            (
                r#"{"cart_id":"c","cart_total":1,"contactpoint_email":"a@x.org"}"#,
                Ok(r#"{"cart_id":"c","cart_total":1,"contactpoint_email":"a@x.org"} []"#),
            ),
            (r#"{"cart_id":["c"],"cart_total":1}"#, Err("attribute `cart_id`: expected a text, a list came")),
            (
                r#"{"cart_id":"c","cart_total":1,"left_at":"yesterday"}"#,
                Err(
                    r#"attribute `left_at`: expected a date-time such as 2026-05-01T09:00:00Z, the text "yesterday" came"#,
                ),
            ),
        ] {
            assert_eq!(check(json), expected.map(str::to_owned).map_err(str::to_owned), "{json}");
        }
    }

    #[test]
    fn the_binding_id_is_made_of_attributes() {
        let binding = |json| trigger().binding_id(&serde_json::from_str(json).unwrap());
        assert_eq!(binding(r#"{"cart_id":"c1"}"#).as_deref(), Some("cart/c1"));
        assert_eq!(binding(r#"{"cart_id":12}"#).as_deref(), Some("cart/12"));
        assert_eq!(binding("{}"), None);
        // What is empty names nothing: else all who have no cart would share one.
        for nothing in [r#"{"cart_id":""}"#, r#"{"cart_id":" "}"#, r#"{"cart_id":null}"#, r#"{"cart_id":["c"]}"#] {
            assert_eq!(binding(nothing), None, "{nothing}");
        }
    }
}

//! Values, attributes and identities.
//!
//! ```text
//! value       tag, then: 0 null · 1 false · 2 true · 3 signed · 4 eight bytes f64 LE · 5 text · 6 list · 7 attributes
//! attributes  list of (text, value), ascending by name
//! identity    tag, then text: 0 user_id · 1 contact · 2 lead · 3 email · 4 phone · 5 anonymous_id · 6 text kind
//! ```

use super::primitive::{Read, Reader, Write};
use model::{Attributes, Identity, IdentityKind, Value};

// INVARIANT: whatever is written can be read again. Values come in no deeper than `Value::DEPTH_MAX`, and whoever makes
// one of others refuses what would be deeper; one that slipped through stops its partition here, before it is on disk.

pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    write_value_at(out, value, 0);
}

fn write_value_at(out: &mut Vec<u8>, value: &Value, depth: usize) {
    assert!(depth <= Value::DEPTH_MAX, "INVARIANT: no value nests deeper than {} levels", Value::DEPTH_MAX);
    match value {
        Value::Null => out.byte(0),
        Value::Bool(false) => out.byte(1),
        Value::Bool(true) => out.byte(2),
        Value::Int(number) => {
            out.byte(3);
            out.signed(*number);
        }
        Value::Float(number) => {
            out.byte(4);
            out.take(&number.to_le_bytes());
        }
        Value::Text(text) => {
            out.byte(5);
            out.text(text);
        }
        Value::List(items) => {
            out.byte(6);
            out.list(items, |out, item| write_value_at(out, item, depth + 1));
        }
        Value::Map(map) => {
            out.byte(7);
            write_attributes_at(out, map, depth + 1);
        }
    }
}

pub(crate) fn read_value(reader: &mut Reader<'_>) -> Read<Value> {
    value_at(reader, 0)
}

fn value_at(reader: &mut Reader<'_>, depth: usize) -> Read<Value> {
    if depth > Value::DEPTH_MAX {
        return reader.fail("values nest too deeply");
    }
    Ok(match reader.byte()? {
        0 => Value::Null,
        1 => Value::Bool(false),
        2 => Value::Bool(true),
        3 => Value::Int(reader.signed()?),
        4 => Value::Float(f64::from_le_bytes(reader.array()?)),
        5 => Value::Text(reader.text()?),
        6 => Value::List(reader.list(|reader| value_at(reader, depth + 1))?),
        7 => Value::Map(attributes_at(reader, depth + 1)?),
        _ => return reader.fail("an unknown kind of value"),
    })
}

pub(crate) fn write_attributes(out: &mut Vec<u8>, attributes: &Attributes) {
    write_attributes_at(out, attributes, 0);
}

fn write_attributes_at(out: &mut Vec<u8>, attributes: &Attributes, depth: usize) {
    out.number(attributes.len() as u64);
    for (name, value) in attributes.iter() {
        out.text(name);
        write_value_at(out, value, depth);
    }
}

pub(crate) fn read_attributes(reader: &mut Reader<'_>) -> Read<Attributes> {
    attributes_at(reader, 0)
}

fn attributes_at(reader: &mut Reader<'_>, depth: usize) -> Read<Attributes> {
    let mut attributes = Attributes::new();
    let mut last = None;
    for _ in 0..reader.count()? {
        let name = reader.str()?;
        if last.is_some_and(|last| last >= name) {
            return reader.fail("attributes are not ascending by name");
        }
        attributes.insert(name, value_at(reader, depth)?);
        last = Some(name);
    }
    Ok(attributes)
}

pub(crate) fn write_identity(out: &mut Vec<u8>, identity: &Identity) {
    let Identity { kind, value } = identity;
    match kind {
        IdentityKind::UserId => out.byte(0),
        IdentityKind::Contact => out.byte(1),
        IdentityKind::Lead => out.byte(2),
        IdentityKind::Email => out.byte(3),
        IdentityKind::Phone => out.byte(4),
        IdentityKind::AnonymousId => out.byte(5),
        IdentityKind::Other(kind) => {
            out.byte(6);
            out.text(kind);
        }
    }
    out.text(value);
}

pub(crate) fn read_identity(reader: &mut Reader<'_>) -> Read<Identity> {
    let kind = match reader.byte()? {
        0 => IdentityKind::UserId,
        1 => IdentityKind::Contact,
        2 => IdentityKind::Lead,
        3 => IdentityKind::Email,
        4 => IdentityKind::Phone,
        5 => IdentityKind::AnonymousId,
        6 => IdentityKind::Other(reader.text()?),
        _ => return reader.fail("an unknown kind of identity"),
    };
    Ok(Identity { kind, value: reader.text()? })
}

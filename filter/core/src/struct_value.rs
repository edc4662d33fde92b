//! A `google.protobuf.Struct` as JSON. Envoy hands a plugin configuration that is written as a Struct on in its binary
//! form (seen on 1.40.0; a `StringValue` arrives as its text), and a Struct is what is pleasant to write.
//!
//! Only what Struct needs of the Protocol Buffers encoding is read here; it must not know what the values mean.

use serde_json::{Map, Number, Value};

/// Deepest nesting that is read.
const MAX_DEPTH: u8 = 16;

/// Reads a serialized Struct; `None` if it is not one.
pub fn read(bytes: &[u8]) -> Option<Value> {
    object(bytes, MAX_DEPTH)
}

enum Field<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

fn object(mut bytes: &[u8], depth: u8) -> Option<Value> {
    let mut map = Map::new();
    while !bytes.is_empty() {
        let (1, Field::Bytes(mut entry)) = field(&mut bytes)? else { return None };
        let (mut key, mut value) = ("", Value::Null);
        while !entry.is_empty() {
            match field(&mut entry)? {
                (1, Field::Bytes(text)) => key = core::str::from_utf8(text).ok()?,
                (2, Field::Bytes(inner)) => value = any(inner, depth)?,
                _ => return None,
            }
        }
        map.insert(key.to_owned(), value);
    }
    Some(Value::Object(map))
}

fn any(mut bytes: &[u8], depth: u8) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    let mut value = Value::Null;
    while !bytes.is_empty() {
        value = match field(&mut bytes)? {
            (1, Field::Varint(_)) => Value::Null,
            (2, Field::Fixed64(number)) => number_value(f64::from_le_bytes(number))?,
            (3, Field::Bytes(text)) => Value::String(core::str::from_utf8(text).ok()?.to_owned()),
            (4, Field::Varint(flag)) => Value::Bool(flag != 0),
            (5, Field::Bytes(inner)) => object(inner, depth)?,
            (6, Field::Bytes(inner)) => list(inner, depth)?,
            _ => return None,
        };
    }
    Some(value)
}

fn list(mut bytes: &[u8], depth: u8) -> Option<Value> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (1, Field::Bytes(inner)) = field(&mut bytes)? else { return None };
        values.push(any(inner, depth)?);
    }
    Some(Value::Array(values))
}

/// Every number of a Struct is a double; one without a fraction was written as an integer.
fn number_value(number: f64) -> Option<Value> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        // In range, so the conversion is exact.
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let tag = varint(bytes)?;
    let content = match tag & 7 {
        0 => Field::Varint(varint(bytes)?),
        1 => {
            let (number, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Field::Fixed64(*number)
        }
        2 => {
            let size = usize::try_from(varint(bytes)?).ok()?;
            let (content, rest) = bytes.split_at_checked(size)?;
            *bytes = rest;
            Field::Bytes(content)
        }
        _ => return None,
    };
    Some((tag >> 3, content))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    // As Envoy 1.40.0 handed it over, with a number, a flag, a null and a list added by hand.
    const STRUCT: &[u8] = b"\x0a\x13\x0a\x05realm\x12\x0a\x1a\x08tollgate\
        \x0a\x10\x0a\x03num\x12\x09\x11\x00\x00\x00\x00\x00\x00\xc0\x40\
        \x0a\x08\x0a\x02on\x12\x02\x20\x01\x0a\x07\x0a\x01n\x12\x02\x08\x00\
        \x0a\x0d\x0a\x01l\x12\x08\x32\x06\x0a\x04\x1a\x02ab\
        \x0a\x12\x0a\x01o\x12\x0d\x2a\x0b\x0a\x09\x0a\x01k\x12\x04\x1a\x02vw";

    #[test]
    fn reads_every_kind_of_value() {
        let expected = serde_json::json!({"realm":"tollgate","num":8192,"on":true,"n":null,"l":["ab"],"o":{"k":"vw"}});
        assert_eq!(read(STRUCT), Some(expected));
        assert_eq!(read(b""), Some(serde_json::json!({})));
    }

    #[test]
    fn anything_else_is_refused_without_a_panic() {
        for end in 1..STRUCT.len() {
            let _ = read(&STRUCT[..end]);
        }
        for place in 0..STRUCT.len() {
            for bit in 0..8 {
                let mut bad = STRUCT.to_vec();
                bad[place] ^= 1 << bit;
                let _ = read(&bad);
            }
        }
        assert_eq!(read(b"{}"), None);
        let mut deep = Vec::new();
        for _ in 0..40 {
            let inner = [&[0x2a, deep.len() as u8][..], &deep].concat();
            deep = [&[0x0a, inner.len() as u8 + 2, 0x12, inner.len() as u8][..], &inner].concat();
            if deep.len() > 100 {
                break;
            }
        }
        assert_eq!(read(&deep), None);
    }
}

//! JSON without room for two readings: no member named twice at any level, a bounded depth, nothing after the object.
//!
//! `serde_json` alone keeps the last of two members of the same name; another reader keeps the first (RFC 8259
//! section 4). Its own recursion limit stays on underneath. Must not know what the JSON is for.

use core::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The text is not one strict JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotStrict;

/// Reads one JSON object in UTF-8. `depth` counts nested objects and arrays, the outermost object included.
///
/// # Errors
/// [`NotStrict`] for anything but one object, for invalid UTF-8, for a repeated name and for too much depth.
pub(super) fn object(bytes: &[u8], depth: usize) -> Result<Map<String, Value>, NotStrict> {
    let text = core::str::from_utf8(bytes).map_err(|_| NotStrict)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Node { left: depth }.deserialize(&mut reader).map_err(|_| NotStrict)?;
    reader.end().map_err(|_| NotStrict)?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(NotStrict),
    }
}

/// One value, and how many levels may still open in it.
#[derive(Clone, Copy)]
struct Node {
    left: usize,
}

impl Node {
    fn inner<E: Error>(self) -> Result<Self, E> {
        self.left.checked_sub(1).map(|left| Self { left }).ok_or_else(|| E::custom("too deep"))
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut out = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if out.contains_key(&name) {
                return Err(A::Error::custom("repeated name"));
            }
            let value = members.next_value_seed(inner)?;
            out.insert(name, value);
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, depth: usize, accepted: bool) {
        assert_eq!(object(text.as_bytes(), depth).is_ok(), accepted, "{text} at depth {depth}");
    }

    #[test]
    fn one_object_without_repetition() {
        for (text, accepted) in [
            ("{}", true),
            (" {\"a\":1} \n", true),
            (r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":2}]}"#, true),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"a":1,"\u0061":2}"#, false),
            (r#"{"x":{"a":1,"a":1}}"#, false),
            (r#"{"x":[[{"a":1,"a":1}]]}"#, false),
            (r#"{"a":1}{"#, false),
            (r#"{"a":1},"#, false),
            (r#"{"a":1,}"#, false),
            (r#"{"a":"\ud800"}"#, false),
            (r#"{"a":1e400}"#, false),
            (r#"{"a":NaN}"#, false),
            (r#"{"a":01}"#, false),
            (r#"{'a':1}"#, false),
            ("\u{feff}{}", false),
            ("", false),
            ("[]", false),
            ("1", false),
            ("null", false),
            ("\"a\"", false),
        ] {
            check(text, 8, accepted);
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}", 8), Err(NotStrict));
    }

    #[test]
    fn depth_is_bounded() {
        check("{}", 1, true);
        check(r#"{"a":[]}"#, 1, false);
        check(r#"{"a":[]}"#, 2, true);
        check(r#"{"a":[{}]}"#, 2, false);
        check(r#"{"a":[{}]}"#, 3, true);
        for levels in [127, 128, 129, 10_000, 1_000_000] {
            check(&format!("{{\"a\":{}", "[".repeat(levels)), 8, false);
            check(&"{\"a\":".repeat(levels), 8, false);
            // serde_json's own limit holds where ours is set too wide.
            check(&format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels)), usize::MAX, levels < 127);
        }
    }
}

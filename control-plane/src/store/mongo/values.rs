//! Reads members of documents as anybody may have written them: dates as dates, texts or numbers, numbers of any width,
//! members that are missing; and carries plain JSON over and back. It must not know a collection.

use mongodb::bson::{Bson, DateTime, Document, oid::ObjectId};
use serde_json::{Map, Number, Value};

use crate::{domain::Timestamp, store::StoreError};

/// Members of one document, taken out one after the other; what is left is unknown.
#[derive(Debug)]
pub(super) struct Members<'c> {
    collection: &'c str,
    document: Document,
}

impl<'c> Members<'c> {
    pub(super) const fn new(collection: &'c str, document: Document) -> Self {
        Self { collection, document }
    }

    /// Says that a member makes no sense.
    pub(super) fn corrupt(&self, member: &str) -> StoreError {
        StoreError::Corrupt(format!("collection {}: member {member} holds an unknown value", self.collection))
    }

    /// A member; what is null is not there.
    pub(super) fn take(&mut self, member: &str) -> Option<Bson> {
        self.document.remove(member).filter(|value| !matches!(value, Bson::Null | Bson::Undefined))
    }

    pub(super) fn text(&mut self, member: &str) -> Result<Option<String>, StoreError> {
        match self.take(member) {
            None => Ok(None),
            Some(Bson::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.corrupt(member)),
        }
    }

    /// A text that is not empty: other programs write empty ones for what is not there.
    pub(super) fn some_text(&mut self, member: &str) -> Result<Option<String>, StoreError> {
        Ok(self.text(member)?.filter(|text| !text.is_empty()))
    }

    /// An id, as text.
    pub(super) fn id(&mut self, member: &str) -> Result<String, StoreError> {
        self.take(member).as_ref().and_then(id_text).ok_or_else(|| self.corrupt(member))
    }

    pub(super) fn truth(&mut self, member: &str) -> Result<Option<bool>, StoreError> {
        match self.take(member) {
            None => Ok(None),
            Some(Bson::Boolean(truth)) => Ok(Some(truth)),
            Some(other) => match whole(&other) {
                Some(0) => Ok(Some(false)),
                Some(1) => Ok(Some(true)),
                _ => Err(self.corrupt(member)),
            },
        }
    }

    pub(super) fn number(&mut self, member: &str) -> Result<Option<i64>, StoreError> {
        let Some(value) = self.take(member) else { return Ok(None) };
        whole(&value).map(Some).ok_or_else(|| self.corrupt(member))
    }

    pub(super) fn moment(&mut self, member: &str) -> Result<Option<Timestamp>, StoreError> {
        let Some(value) = self.take(member) else { return Ok(None) };
        moment(&value).map(Some).ok_or_else(|| self.corrupt(member))
    }

    /// An object; anything else counts as none, and stays in the store as it is.
    pub(super) fn object(&mut self, member: &str) -> Map<String, Value> {
        match self.take(member) {
            Some(Bson::Document(document)) => json_object(document),
            _ => Map::new(),
        }
    }

    /// What nobody has taken.
    pub(super) fn rest(self) -> Map<String, Value> {
        json_object(self.document)
    }
}

/// An id as text: an ObjectId by its 24 hexadecimal digits.
pub(super) fn id_text(id: &Bson) -> Option<String> {
    match id {
        Bson::String(text) => Some(text.clone()),
        Bson::ObjectId(id) => Some(id.to_hex()),
        Bson::Int32(number) => Some(number.to_string()),
        Bson::Int64(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What finds an id, whichever type another program gave it.
pub(super) fn any_id(text: &str) -> Bson {
    Bson::Document(mongodb::bson::doc! { "$in": id_forms(text) })
}

/// An id as text, and as every other type that another program may have given it.
pub(super) fn id_forms(text: &str) -> Vec<Bson> {
    let mut forms = vec![Bson::String(text.to_owned())];
    if let Ok(id) = ObjectId::parse_str(text) {
        forms.push(Bson::ObjectId(id));
    }
    // Only the one way of writing a number: "007" is another id than 7.
    if let Some(number) = text.parse::<i64>().ok().filter(|number| number.to_string() == text) {
        forms.push(Bson::Int64(number));
    }
    forms
}

fn whole(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        // Within 2^53 a double holds whole numbers exactly.
        Bson::Double(number) if number.trunc() == *number && number.abs() <= 9_007_199_254_740_992.0 => {
            Some(*number as i64)
        }
        Bson::Decimal128(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn moment(value: &Bson) -> Option<Timestamp> {
    let number = match value {
        Bson::DateTime(date) => return Some(Timestamp::from_millis(date.timestamp_millis())),
        Bson::Timestamp(time) => return Some(Timestamp::from_seconds(i64::from(time.time))),
        Bson::String(text) => return Timestamp::from_text(text),
        Bson::Int32(number) => f64::from(*number),
        Bson::Int64(number) => *number as f64,
        Bson::Double(number) => *number,
        _ => return None,
    };
    Timestamp::from_number(number)
}

/// A moment as we write it.
pub(super) const fn date(moment: Timestamp) -> Bson {
    Bson::DateTime(DateTime::from_millis(moment.millis()))
}

/// An object of JSON as a document.
pub(super) fn bson_object(object: &Map<String, Value>) -> Document {
    object.iter().map(|(name, value)| (name.clone(), bson(value))).collect()
}

/// A value of JSON as we write it.
pub(super) fn bson(value: &Value) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Bool(truth) => Bson::Boolean(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Bson::Int64(whole),
            None => Bson::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(values) => Bson::Array(values.iter().map(bson).collect()),
        Value::Object(object) => Bson::Document(bson_object(object)),
    }
}

/// A document as an object of JSON.
pub(super) fn json_object(document: Document) -> Map<String, Value> {
    document.into_iter().map(|(name, value)| (name, json(value))).collect()
}

/// A value as JSON, to be shown: what JSON has no word for becomes a text.
pub(super) fn json(value: Bson) -> Value {
    match value {
        Bson::Null | Bson::Undefined => Value::Null,
        Bson::Boolean(truth) => Value::Bool(truth),
        Bson::Int32(number) => Value::from(number),
        Bson::Int64(number) => Value::from(number),
        Bson::Double(number) => Number::from_f64(number).map_or(Value::Null, Value::Number),
        Bson::String(text) => Value::String(text),
        Bson::Array(values) => Value::Array(values.into_iter().map(json).collect()),
        Bson::Document(document) => Value::Object(json_object(document)),
        Bson::ObjectId(id) => Value::String(id.to_hex()),
        Bson::DateTime(date) => Value::String(date.try_to_rfc3339_string().unwrap_or_default()),
        other => Value::String(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    #[test]
    fn a_moment_in_every_form() {
        let expected = Timestamp::from_millis(1_700_000_000_500);
        for form in [
            Bson::DateTime(DateTime::from_millis(1_700_000_000_500)),
            Bson::String("2023-11-14T22:13:20.5Z".into()),
            Bson::String("2023-11-14T23:13:20.500+01:00".into()),
            Bson::String("2023-11-14T22:13:20.500000".into()),
            Bson::String("2023-11-14 22:13:20.500000".into()),
            Bson::Double(1_700_000_000.5),
            Bson::Int64(1_700_000_000_500),
        ] {
            assert_eq!(moment(&form), Some(expected), "{form}");
        }
        assert_eq!(moment(&Bson::Int32(1_700_000_000)), Some(Timestamp::from_seconds(1_700_000_000)));
        for bad in [Bson::String("yesterday".into()), Bson::Boolean(true), Bson::Double(f64::NAN), Bson::Double(1e300)]
        {
            assert_eq!(moment(&bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_and_truths_of_other_programs() {
        let mut members = Members::new("c", doc! {"a": 1_i32, "b": 2_i64, "c": 3.0, "d": 3.5, "e": null, "f": 1_i32});
        for (member, number) in [("a", Some(1)), ("b", Some(2)), ("c", Some(3)), ("e", None), ("missing", None)] {
            assert_eq!(members.number(member).unwrap(), number, "{member}");
        }
        assert!(matches!(members.number("d"), Err(StoreError::Corrupt(text)) if text.contains("c: member d")));
        assert_eq!(members.truth("f").unwrap(), Some(true));
    }

    #[test]
    fn json_comes_back() {
        let object = serde_json::json!({"a": [1, null, "x", {"b": 1.5}], "c": {"$d.e": true}, "n": i64::MAX});
        let Value::Object(object) = object else { panic!("an object") };
        assert_eq!(json_object(bson_object(&object)), object);
    }
}

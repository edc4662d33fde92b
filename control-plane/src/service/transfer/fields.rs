//! Members of one line, in the forms in which programs write them: plain JSON, and the two forms of MongoDB's Extended
//! JSON (`{"$oid":…}`, `{"$date":…}`, `{"$numberLong":…}`). Every fault is collected. It must not know a record.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

use crate::domain::Timestamp;

/// Members of one record, taken out one after the other; what is left is unknown.
#[derive(Debug)]
pub(super) struct Fields {
    object: Map<String, Value>,
    /// What was there.
    pub(super) given: BTreeSet<&'static str>,
    /// What was wrong.
    pub(super) faults: Vec<String>,
}

impl Fields {
    /// Reads a line.
    pub(super) fn read(line: &str) -> Result<Self, Vec<String>> {
        if line.starts_with('[') {
            return Err(vec![
                "is a list: each line must be one JSON object (mongoexport without --jsonArray)".to_owned(),
            ]);
        }
        match serde_json::from_str::<Value>(line) {
            Ok(Value::Object(object)) => Ok(Self { object, given: BTreeSet::new(), faults: Vec::new() }),
            Ok(_) => Err(vec!["is no JSON object".to_owned()]),
            // The message names line and column of this one line: only the column says something.
            Err(error) => Err(vec![format!("is not JSON: column {}", error.column())]),
        }
    }

    pub(super) fn fault(&mut self, name: &str, problem: &str) {
        self.faults.push(format!("{name} {problem}"));
    }

    /// A member; what is null is not there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        let value = self.object.remove(name).filter(|value| !value.is_null()).map(plain)?;
        self.given.insert(name);
        Some(value)
    }

    /// A text that is not empty: other programs write empty ones for what is not there.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) if text.is_empty() => {
                self.given.remove(name);
                None
            }
            Value::String(text) => Some(text),
            _ => {
                self.fault(name, "must be a text");
                None
            }
        }
    }

    /// A text that means something.
    pub(super) fn word<T>(&mut self, name: &'static str, problem: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = read(&text);
        if value.is_none() {
            self.fault(name, problem);
        }
        value
    }

    /// An id: a text, or a whole number, by its digits.
    pub(super) fn id(&mut self, name: &'static str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) if is_id(&text) => Some(text),
            Value::Number(number) if number.is_i64() => Some(number.to_string()),
            _ => {
                self.fault(name, "must be a text of 1 to 128 bytes without control characters, or an ObjectId");
                None
            }
        }
    }

    pub(super) fn truth(&mut self, name: &'static str) -> Option<bool> {
        match self.take(name)? {
            Value::Bool(truth) => Some(truth),
            Value::Number(number) if number.as_i64() == Some(0) => Some(false),
            Value::Number(number) if number.as_i64() == Some(1) => Some(true),
            _ => {
                self.fault(name, "must be true or false");
                None
            }
        }
    }

    /// A whole number from 0 to `most`.
    pub(super) fn number(&mut self, name: &'static str, most: i64) -> Option<i64> {
        let value = self.take(name)?;
        let found = value.as_number().and_then(whole).filter(|number| (0..=most).contains(number));
        if found.is_none() {
            self.fault(name, &format!("must be a whole number from 0 to {most}"));
        }
        found
    }

    /// A moment: a text, or a number of seconds or milliseconds.
    pub(super) fn moment(&mut self, name: &'static str) -> Option<Timestamp> {
        let found = match self.take(name)? {
            Value::String(text) => Timestamp::from_text(&text),
            Value::Number(number) => number.as_f64().and_then(Timestamp::from_number),
            _ => None,
        };
        if found.is_none() {
            self.fault(name, "must be a moment, such as 2026-11-23T08:00:00Z or {\"$date\": …}");
        }
        found
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<String>> {
        let texts = match self.take(name)? {
            Value::Array(values) => {
                values.into_iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        if texts.is_none() {
            self.fault(name, "must be a list of texts");
        }
        texts
    }

    pub(super) fn object(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(object) => Some(object),
            _ => {
                self.fault(name, "must be an object");
                None
            }
        }
    }

    /// What nobody has taken.
    pub(super) fn rest(&mut self) -> Map<String, Value> {
        core::mem::take(&mut self.object).into_iter().map(|(name, value)| (name, plain(value))).collect()
    }
}

fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn whole(number: &Number) -> Option<i64> {
    // Within 2^53 a double holds whole numbers exactly.
    let of_double =
        |double: f64| (double.trunc() == double && double.abs() <= 9_007_199_254_740_992.0).then_some(double as i64);
    number.as_i64().or_else(|| number.as_f64().and_then(of_double))
}

/// A value without MongoDB's marks of types: what they say becomes text or number. Anything else stays as it is.
fn plain(value: Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.into_iter().map(plain).collect()),
        Value::Object(object) => match marked(&object) {
            Some(value) => value,
            None => Value::Object(object.into_iter().map(|(name, value)| (name, plain(value))).collect()),
        },
        other => other,
    }
}

fn marked(object: &Map<String, Value>) -> Option<Value> {
    let mut members = object.iter();
    let (Some((mark, value)), None) = (members.next(), members.next()) else { return None };
    let number = |text: &str| {
        let whole = text.parse::<i64>().ok().map(Value::from);
        whole.or_else(|| Number::from_f64(text.parse().ok()?).map(Value::Number))
    };
    match (mark.as_str(), value) {
        ("$oid" | "$symbol", Value::String(text)) => Some(Value::String(text.clone())),
        ("$numberLong" | "$numberInt" | "$numberDouble" | "$numberDecimal", Value::String(text)) => number(text),
        ("$date", Value::String(text)) => Some(Value::String(text.clone())),
        // Milliseconds, also where they are few: a number of its own could be taken for seconds.
        ("$date", value) => {
            let millis = plain(value.clone()).as_i64()?;
            Some(Value::String(Timestamp::from_millis(millis).to_text()))
        }
        _ => None,
    }
}

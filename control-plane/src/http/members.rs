//! Reads the members of a JSON object one by one and lists every fault, also members that mean nothing. It must not know
//! what they are used for.

use serde_json::{Map, Value};

use super::error::Refusal;
use crate::domain::Timestamp;

/// An object that is being read.
#[derive(Debug)]
pub(super) struct Members {
    given: Map<String, Value>,
    faults: Vec<(String, String)>,
}

impl Members {
    /// Takes an object over.
    pub(super) fn of(given: Map<String, Value>) -> Self {
        Self { given, faults: Vec::new() }
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, member: &str, problem: &str) {
        // The name may come from the client; what does not fit is cut.
        self.faults.push((member.chars().take(64).collect(), problem.to_owned()));
    }

    fn read<T>(&mut self, member: &str, problem: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<T> {
        let value = read(self.given.remove(member)?);
        if value.is_none() {
            self.fault(member, problem);
        }
        value
    }

    /// A text.
    pub(super) fn text(&mut self, member: &str) -> Option<String> {
        self.read(member, "must be a text", text)
    }

    /// A text that has to be there.
    pub(super) fn needed_text(&mut self, member: &str) -> Option<String> {
        if !self.given.contains_key(member) {
            self.fault(member, "is missing");
        }
        self.text(member)
    }

    /// A text, or `null`, which takes it away.
    pub(super) fn clearable_text(&mut self, member: &str) -> Option<Option<String>> {
        self.read(member, "must be a text or null", |value| match value {
            Value::Null => Some(None),
            value => text(value).map(Some),
        })
    }

    /// A whole number, or `null`, which takes it away.
    pub(super) fn clearable_number(&mut self, member: &str) -> Option<Option<i64>> {
        self.read(member, "must be a whole number or null", |value| match value {
            Value::Null => Some(None),
            value => value.as_i64().map(Some),
        })
    }

    /// A whole number.
    pub(super) fn number(&mut self, member: &str) -> Option<i64> {
        self.read(member, "must be a whole number", |value| value.as_i64())
    }

    /// `true` or `false`.
    pub(super) fn truth(&mut self, member: &str) -> Option<bool> {
        self.read(member, "must be true or false", |value| value.as_bool())
    }

    /// A word of a closed set.
    pub(super) fn word<T>(&mut self, member: &str, problem: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.read(member, problem, |value| value.as_str().and_then(parse))
    }

    /// An object.
    pub(super) fn object(&mut self, member: &str) -> Option<Map<String, Value>> {
        self.read(member, "must be an object", |value| match value {
            Value::Object(object) => Some(object),
            _ => None,
        })
    }

    /// An array of texts.
    pub(super) fn texts(&mut self, member: &str) -> Option<Vec<String>> {
        self.read(member, "must be an array of texts", |value| match value {
            Value::Array(values) => values.into_iter().map(text).collect(),
            _ => None,
        })
    }

    /// A moment as RFC 3339, or `null` for none.
    pub(super) fn moment(&mut self, member: &str) -> Option<Timestamp> {
        let moment = self.read(member, "must be a time such as 2030-01-31T12:00:00Z", |value| match value {
            Value::Null => Some(None),
            value => {
                let at: jiff::Timestamp = value.as_str()?.parse().ok()?;
                Some(Some(Timestamp::from_millis(at.as_millisecond())))
            }
        });
        moment.flatten()
    }

    /// Every fault, also members that nobody has asked for.
    pub(super) fn end(mut self) -> Result<(), Refusal> {
        for member in std::mem::take(&mut self.given).keys() {
            self.fault(member, "is not known here");
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Refusal::invalid(self.faults)) }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

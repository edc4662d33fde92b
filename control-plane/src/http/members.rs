//! Reads the members of a JSON object one by one and lists every fault, also members that mean nothing. The same reading
//! describes the object: what is asked for is what there is. It must not know what the members are used for.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};
use utoipa::openapi::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, Schema, SchemaFormat, Type, schema::SchemaType,
};

use super::{error::Refusal, openapi::Member};
use crate::domain::Timestamp;

/// An object that is being read, or described.
pub(super) struct Members {
    given: Map<String, Value>,
    faults: Vec<(String, String)>,
    /// What has been asked for, where that is the question.
    asked: Option<Vec<Member>>,
}

/// What a body is read into.
pub(super) trait FromMembers: Sized {
    /// Asks for every member. What it gives is not used where something is wrong.
    fn read(members: &mut Members) -> Self;
}

impl Members {
    /// Takes an object over.
    pub(super) fn of(given: Map<String, Value>) -> Self {
        Self { given, faults: Vec::new(), asked: None }
    }

    /// What a body has.
    pub(super) fn described<T: FromMembers>() -> Vec<Member> {
        let mut members = Self { given: Map::new(), faults: Vec::new(), asked: Some(Vec::new()) };
        T::read(&mut members);
        members.asked.unwrap_or_default()
    }

    /// Notes a fault.
    pub(super) fn fault(&mut self, member: &str, problem: &str) {
        // The name may come from the client; what does not fit is cut.
        self.faults.push((member.chars().take(64).collect(), problem.to_owned()));
    }

    fn note(&mut self, name: &'static str, schema: impl FnOnce() -> Schema) {
        if let Some(asked) = &mut self.asked {
            asked.push(Member { name, schema: schema(), needed: false });
        }
    }

    /// Says of the member that was asked for last what it means, and how long it may be in characters. Only readers are
    /// told: whoever uses the member looks at its length.
    pub(super) fn meaning(&mut self, meaning: &str, length: Option<RangeInclusive<usize>>) {
        let last = self.asked.as_mut().and_then(|asked| asked.last_mut());
        if let Some(Member { schema: Schema::Object(schema), .. }) = last {
            schema.description = Some(meaning.to_owned());
            schema.min_length = length.as_ref().map(|length| *length.start());
            schema.max_length = length.as_ref().map(|length| *length.end());
        }
    }

    fn read<T>(&mut self, member: &str, problem: &str, read: impl FnOnce(Value) -> Option<T>) -> Option<T> {
        let value = read(self.given.remove(member)?);
        if value.is_none() {
            self.fault(member, problem);
        }
        value
    }

    /// The member that is asked for next has to be there.
    fn needed(&mut self, member: &'static str) {
        match &mut self.asked {
            Some(asked) => asked.iter_mut().filter(|asked| asked.name == member).for_each(|asked| asked.needed = true),
            None if !self.given.contains_key(member) => self.fault(member, "is missing"),
            None => {}
        }
    }

    /// A text.
    pub(super) fn text(&mut self, member: &'static str) -> Option<String> {
        self.note(member, || Object::with_type(Type::String).into());
        self.read(member, "must be a text", text)
    }

    /// A text that has to be there.
    pub(super) fn needed_text(&mut self, member: &'static str) -> Option<String> {
        let is_there = self.given.contains_key(member);
        let text = self.text(member);
        if text.is_none() && !is_there {
            self.needed(member);
        }
        text
    }

    /// A text, or `null`, which takes it away.
    pub(super) fn clearable_text(&mut self, member: &'static str) -> Option<Option<String>> {
        self.note(member, || Object::with_type(or_null(Type::String)).into());
        self.read(member, "must be a text or null", |value| match value {
            Value::Null => Some(None),
            value => text(value).map(Some),
        })
    }

    /// A whole number, or `null`, which takes it away.
    pub(super) fn clearable_number(&mut self, member: &'static str) -> Option<Option<i64>> {
        self.note(member, || Object::with_type(or_null(Type::Integer)).into());
        self.read(member, "must be a whole number or null", |value| match value {
            Value::Null => Some(None),
            value => value.as_i64().map(Some),
        })
    }

    /// A whole number.
    pub(super) fn number(&mut self, member: &'static str) -> Option<i64> {
        self.note(member, || Object::with_type(Type::Integer).into());
        self.read(member, "must be a whole number", |value| value.as_i64())
    }

    /// A whole number in a range that has to be there; `problem` says which.
    pub(super) fn needed_number(
        &mut self,
        member: &'static str,
        range: RangeInclusive<i64>,
        problem: &str,
    ) -> Option<i64> {
        self.note(member, || {
            let number = ObjectBuilder::new().schema_type(Type::Integer);
            number.minimum(Some(*range.start())).maximum(Some(*range.end())).build().into()
        });
        let is_there = self.given.contains_key(member);
        let number = self.read(member, problem, |value| value.as_i64().filter(|number| range.contains(number)));
        if number.is_none() && !is_there {
            self.needed(member);
        }
        number
    }

    /// `true` or `false`.
    pub(super) fn truth(&mut self, member: &'static str) -> Option<bool> {
        self.note(member, || Object::with_type(Type::Boolean).into());
        self.read(member, "must be true or false", |value| value.as_bool())
    }

    /// A word of a closed set.
    pub(super) fn word<T: Copy>(
        &mut self,
        member: &'static str,
        all: &'static [T],
        word: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        self.note(member, || words(all.iter().map(|one| word(*one))));
        let problem = one_of(all.iter().map(|one| word(*one)));
        self.read(member, &problem, |value| {
            let given = value.as_str()?;
            all.iter().copied().find(|one| word(*one) == given)
        })
    }

    /// A word of a closed set that has to be there.
    pub(super) fn needed_word<T: Copy>(
        &mut self,
        member: &'static str,
        all: &'static [T],
        word: impl Fn(T) -> &'static str,
    ) -> Option<T> {
        let is_there = self.given.contains_key(member);
        let found = self.word(member, all, word);
        if found.is_none() && !is_there {
            self.needed(member);
        }
        found
    }

    /// An object.
    pub(super) fn object(&mut self, member: &'static str) -> Option<Map<String, Value>> {
        self.note(member, || Object::with_type(Type::Object).into());
        self.read(member, "must be an object", |value| match value {
            Value::Object(object) => Some(object),
            _ => None,
        })
    }

    /// An array of texts.
    pub(super) fn texts(&mut self, member: &'static str) -> Option<Vec<String>> {
        self.note(member, || ArrayBuilder::new().items(Object::with_type(Type::String)).build().into());
        self.read(member, "must be an array of texts", |value| match value {
            Value::Array(values) => values.into_iter().map(text).collect(),
            _ => None,
        })
    }

    /// A moment as RFC 3339, or `null` for none.
    pub(super) fn moment(&mut self, member: &'static str) -> Option<Timestamp> {
        self.note(member, || {
            let moment = ObjectBuilder::new().schema_type(or_null(Type::String));
            moment.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).build().into()
        });
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

/// The schema of a word of a closed set.
pub(super) fn words(all: impl Iterator<Item = &'static str>) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(all)).build().into()
}

/// `must be one of: a, b, c`
pub(super) fn one_of(all: impl Iterator<Item = &'static str>) -> String {
    format!("must be one of: {}", all.collect::<Vec<_>>().join(", "))
}

fn or_null(one: Type) -> SchemaType {
    SchemaType::Array(vec![one, Type::Null])
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

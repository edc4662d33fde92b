//! JSON without room for two readings, and without copies: no member named twice at any level, a bounded depth, nothing
//! after the object. Texts are borrowed from the bytes wherever they are written plainly.
//!
//! `serde_json` alone keeps the last of two members of the same name; another reader keeps the first (RFC 8259
//! section 4). Its own recursion limit stays on underneath. A crate of its own, because each token that was not seen
//! before is read by it: it is built for speed where the rest of the module is built for size. It must not know what
//! the JSON is for.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]
#![warn(missing_docs)]

mod reader;

use std::borrow::Cow;

/// The text is not one strict JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotStrict;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that is written as a whole one and fits: `1.0` and `1e3` are not.
    Whole(u64),
    /// Any other number.
    Number,
    /// A text.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object<'a>),
}

impl<'a> Value<'a> {
    /// A text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Whole(number) => Some(*number),
            _ => None,
        }
    }

    /// The items of an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// An object.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }
}

/// An object: each name once, in the order of the text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Object<'a> {
    /// Reads one JSON object in UTF-8. `depth` counts nested objects and arrays, the outermost object included.
    ///
    /// # Errors
    /// [`NotStrict`] for anything but one object, for invalid UTF-8, for a repeated name and for too much depth.
    pub fn read(bytes: &'a [u8], depth: usize) -> Result<Self, NotStrict> {
        match reader::value(bytes, depth)? {
            Value::Object(object) => Ok(object),
            _ => Err(NotStrict),
        }
    }

    /// The member of a name. Tokens have a dozen members: to look at each is quicker than a map.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.members.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests;

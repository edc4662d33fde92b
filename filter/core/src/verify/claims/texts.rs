//! Reading single claims out of a strict JSON object: type and length checked, nothing guessed.
//!
//! Must not know which claims there are.

use tollgate_json::{Object, Value};

use crate::verify::VerifyFault;

/// Longest text of a claim that is kept, in bytes.
pub(super) const MAX_TEXT: usize = 1024;

/// Largest number in a claim: 2^53, the last integer that every JSON reader keeps exactly (RFC 8259 section 6).
const MAX_NUMBER: u64 = 1 << 53;

/// A string claim that may be absent.
///
/// # Errors
/// [`VerifyFault::ClaimType`] for any other JSON, `null` included, and for a text longer than `most` bytes.
pub(super) fn text<'a>(
    claims: &'a Object<'_>,
    name: &'static str,
    most: usize,
) -> Result<Option<&'a str>, VerifyFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Text(text)) if text.len() <= most => Ok(Some(text)),
        Some(_) => Err(VerifyFault::ClaimType(name)),
    }
}

/// A whole number of unix seconds that may be absent. Only an integer literal counts: `1.0`, `1e3` and `"1"` do not.
///
/// # Errors
/// [`VerifyFault::ClaimType`] for any other JSON, below 0 or above 2^53.
pub(super) fn seconds(claims: &Object<'_>, name: &'static str) -> Result<Option<u64>, VerifyFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) if number <= MAX_NUMBER => Ok(Some(number)),
            _ => Err(VerifyFault::ClaimType(name)),
        },
    }
}

/// An optional fact out of a claim that the operator names and a template may fill with anything (Clerk facts 1.4):
/// what is no text, empty, too long or has control characters is no fact.
pub(super) fn fact(claims: &Object<'_>, name: &str, most: usize) -> Option<Box<str>> {
    let text = claims.get(name)?.as_str()?;
    let usable = !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control);
    usable.then(|| Box::from(text))
}

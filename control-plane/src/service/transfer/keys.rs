//! One API key as a line, and back: by its hash, never the key. It must not know how a file is read.

use serde_json::{Map, Value, json};
use tollgate_protocol::KeyHash;

use super::fields::Fields;
use crate::{
    domain::{ApiKey, Email, KeyId, Scope, Timestamp, UserId},
    service::keys::{NewKey, check_lasting},
};

/// Longest beginning and end of a key that are kept to tell it by, in characters.
const MAX_HINT: usize = 12;

/// Whose a key is, as a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// The user of an id.
    Id(UserId),
    /// The user of an address.
    Email(Email),
}

/// A key as a line has it; the user's id is put in when it is known.
#[derive(Debug)]
pub(super) struct ReadKey {
    pub(super) key: ApiKey,
    pub(super) owner: Owner,
}

/// Reads a line. `fresh`: the id of a key that has none.
///
/// # Errors
/// Everything that is wrong with the line.
pub(super) fn read(line: &str, fresh: KeyId, now: Timestamp) -> Result<ReadKey, Vec<String>> {
    let mut from = Fields::read(line)?;
    let id = from.id("_id").or_else(|| from.id("id"));
    let user = from.id("user_id").or_else(|| from.id("user"));
    let user = match user {
        Some(user) => Some(user),
        None => {
            from.fault("user", "is missing: the id or the e-mail address of the key's user");
            None
        }
    };
    let hash = from.word("sha256", "must be the SHA-256 of the whole key, 64 hexadecimal digits", of_hex);
    let other = from.word("hash", "must be the SHA-256 of the whole key, base64url or 64 hexadecimal digits", |text| {
        of_hex(text).or_else(|| text.parse().ok())
    });
    let hash = hash.or(other);
    if hash.is_none() && from.faults.is_empty() {
        from.fault("sha256", "is missing: the SHA-256 of the whole key, 64 hexadecimal digits");
    }
    let hint = |text: &str| {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        (text.len() <= MAX_HINT && text.bytes().all(fine)).then(|| text.to_owned())
    };
    let prefix = from.word("prefix", "may have 12 letters, digits, _ and -", hint);
    let last_four = from.word("last_four", "may have 12 letters, digits, _ and -", hint);
    let name = from.text("name").unwrap_or_else(|| "imported".to_owned());
    let (scopes, rate) = (from.texts("scopes").unwrap_or_default(), from.text("rate"));
    let (created_at, expires_at) = (from.moment("created_at").unwrap_or(now), from.moment("expires_at"));
    let (revoked_at, last_used_at) = (from.moment("revoked_at"), from.moment("last_used_at"));
    let checked = match check_lasting(&NewKey { name, scopes, rate, expires_at: None }) {
        Ok(checked) => Some(checked),
        Err(faults) => {
            from.faults.extend(faults.iter().map(ToString::to_string));
            None
        }
    };
    match (user, hash, checked) {
        (Some(user), Some(hash), Some(checked)) if from.faults.is_empty() => Ok(ReadKey {
            owner: Email::new(&user).map_or_else(|| Owner::Id(UserId::new(user.clone())), Owner::Email),
            key: ApiKey {
                id: id.map_or(fresh, KeyId::new),
                user_id: UserId::new(user),
                name: checked.name,
                hash,
                prefix: prefix.unwrap_or_default(),
                last_four: last_four.unwrap_or_default(),
                scopes: checked.scopes,
                rate: checked.rate,
                created_at,
                expires_at,
                revoked_at,
                last_used_at,
            },
        }),
        _ => Err(from.faults),
    }
}

fn of_hex(text: &str) -> Option<KeyHash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (place, byte) in hash.iter_mut().enumerate() {
        let start = place.checked_mul(2)?;
        *byte = u8::from_str_radix(text.get(start..start.checked_add(2)?)?, 16).ok()?;
    }
    Some(KeyHash(hash))
}

/// A key as a line, without what is not there.
pub fn to_json(key: &ApiKey) -> Value {
    let hash: String = key.hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let moment = |at: Option<Timestamp>| at.map_or(Value::Null, |at| Value::String(at.to_text()));
    let members = [
        ("_id", json!(key.id.as_str())),
        ("user_id", json!(key.user_id.as_str())),
        ("name", json!(key.name)),
        ("sha256", json!(hash)),
        ("prefix", json!(Some(&key.prefix).filter(|text| !text.is_empty()))),
        ("last_four", json!(Some(&key.last_four).filter(|text| !text.is_empty()))),
        ("scopes", json!(key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>())),
        ("rate", json!(key.rate.map(|rate| rate.to_string()))),
        ("created_at", moment(Some(key.created_at))),
        ("expires_at", moment(key.expires_at)),
        ("revoked_at", moment(key.revoked_at)),
        ("last_used_at", moment(key.last_used_at)),
    ];
    let line: Map<String, Value> = members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Value::Object(line)
}

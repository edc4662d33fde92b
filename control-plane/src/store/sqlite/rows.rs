//! Between rows and records: the only place that knows the order of columns and the texts in them.

use rusqlite::{Error, Row, types::Type};
use serde_json::{Map, Value};
use tollgate_protocol::KeyHash;

use crate::{
    config::Secret,
    domain::{ApiKey, ClerkIdentity, Email, KeyId, Role, Scope, Subscription, Timestamp, User, UserId},
};

pub(super) const USER_COLUMNS: &str = "id, email, password_hash, name, role, is_active, clerk_issuer, clerk_id, \
     first_name, last_name, email_verified, tokens_remaining, tokens_used, monthly_limit, subscription, \
     stripe_customer_id, created_at, updated_at, last_login_at, last_logout_at, bio, website, profile_image, \
     social_links, extra";

pub(super) const KEY_COLUMNS: &str =
    "id, user_id, name, hash, last_four, scopes, created_at, expires_at, revoked_at, last_used_at, prefix, rate";

/// A value that none of ours wrote.
#[derive(Debug, thiserror::Error)]
#[error("column {0} holds an unknown value")]
struct UnknownValue(&'static str);

fn unknown(place: usize, column: &'static str) -> Error {
    Error::FromSqlConversionFailure(place, Type::Text, Box::new(UnknownValue(column)))
}

pub(super) fn user(row: &Row<'_>) -> Result<User, Error> {
    let email: Option<String> = row.get(1)?;
    let email = email.map(|text| Email::new(&text).ok_or_else(|| unknown(1, "email"))).transpose()?;
    let password_hash: Option<String> = row.get(2)?;
    let role: String = row.get(4)?;
    let subscription: String = row.get(14)?;
    let clerk: (Option<String>, Option<String>) = (row.get(6)?, row.get(7)?);
    Ok(User {
        id: UserId::new(row.get::<_, String>(0)?),
        email,
        password_hash: password_hash.map(Secret::new),
        name: row.get(3)?,
        role: Role::from_word(&role).ok_or_else(|| unknown(4, "role"))?,
        is_active: row.get(5)?,
        clerk: clerk.0.zip(clerk.1).map(|(issuer, id)| ClerkIdentity { issuer, id }),
        first_name: row.get(8)?,
        last_name: row.get(9)?,
        email_verified: row.get(10)?,
        tokens_remaining: row.get(11)?,
        tokens_used: row.get(12)?,
        monthly_limit: row.get(13)?,
        subscription: Subscription::from_word(&subscription).ok_or_else(|| unknown(14, "subscription"))?,
        stripe_customer_id: row.get(15)?,
        created_at: Timestamp::from_millis(row.get(16)?),
        updated_at: Timestamp::from_millis(row.get(17)?),
        last_login_at: row.get::<_, Option<i64>>(18)?.map(Timestamp::from_millis),
        last_logout_at: row.get::<_, Option<i64>>(19)?.map(Timestamp::from_millis),
        bio: row.get(20)?,
        website: row.get(21)?,
        profile_image: row.get(22)?,
        social_links: object(row, 23, "social_links")?,
        extra: object(row, 24, "extra")?,
    })
}

pub(super) fn key(row: &Row<'_>) -> Result<ApiKey, Error> {
    let scopes: String = row.get(5)?;
    let rate: Option<String> = row.get(11)?;
    let scopes: Option<Vec<Scope>> = scopes.split_ascii_whitespace().map(Scope::new).collect();
    Ok(ApiKey {
        id: KeyId::new(row.get::<_, String>(0)?),
        user_id: UserId::new(row.get::<_, String>(1)?),
        name: row.get(2)?,
        hash: KeyHash(row.get(3)?),
        last_four: row.get(4)?,
        scopes: scopes.ok_or_else(|| unknown(5, "scopes"))?,
        created_at: Timestamp::from_millis(row.get(6)?),
        expires_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
        revoked_at: row.get::<_, Option<i64>>(8)?.map(Timestamp::from_millis),
        last_used_at: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_millis),
        prefix: row.get(10)?,
        rate: rate.map(|text| text.parse().map_err(|_| unknown(11, "rate"))).transpose()?,
    })
}

fn object(row: &Row<'_>, place: usize, column: &'static str) -> Result<Map<String, Value>, Error> {
    let text: String = row.get(place)?;
    serde_json::from_str(&text).map_err(|_| unknown(place, column))
}

pub(super) fn object_text(object: &Map<String, Value>) -> String {
    Value::Object(object.clone()).to_string()
}

/// The condition of a list that begins after a place, which is in the parameters `first` and the one after it.
pub(super) fn after(is_given: bool, first: usize) -> String {
    let second = first.saturating_add(1);
    match is_given {
        true => format!("(created_at, id) < (?{first}, ?{second})"),
        // Both have to be named, so that they can be given.
        false => format!("?{first} IS NULL AND ?{second} IS NULL"),
    }
}

/// Scopes hold no spaces, so spaces part them.
pub(super) fn scopes_text(scopes: &[Scope]) -> String {
    scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
}

/// Which constraint an error is about: `table.column`, or `FOREIGN KEY`.
pub(super) fn violated(error: &Error) -> Option<&str> {
    let Error::SqliteFailure(code, Some(message)) = error else { return None };
    if code.code != rusqlite::ErrorCode::ConstraintViolation {
        return None;
    }
    match message.strip_prefix("UNIQUE constraint failed: ") {
        Some(columns) => Some(columns),
        None if message.starts_with("FOREIGN KEY") => Some("FOREIGN KEY"),
        None => None,
    }
}

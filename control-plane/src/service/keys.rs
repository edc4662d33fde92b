//! API keys: issue, list, revoke. A plain key is made here and handed out once; it must not be kept or logged.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use tollgate_protocol::{KeyHash, api_key};

use super::{InputFault, ServiceError};
use crate::{
    app::App,
    domain::{ApiKey, KeyId, MAX_NAME_CHARS, MAX_SCOPES, PlainKey, Scope, Timestamp, UserId},
    random,
    store::StoreError,
};

/// Most keys of one user that are not revoked.
pub const MAX_KEYS: u64 = 100;
/// Farthest end of a key, from now: ten years.
const MAX_LIFE_SECONDS: i64 = 10 * 366 * 24 * 3600;

/// A key to be issued.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
}

/// A key that was issued: the only moment at which the plain key is there.
#[derive(Debug)]
pub struct Issued {
    /// The record.
    pub key: ApiKey,
    /// The key itself.
    pub plain: PlainKey,
}

/// Issues a key for a user.
///
/// # Errors
/// [`ServiceError::Invalid`] with every fault, [`ServiceError::LimitReached`], [`ServiceError::NotFound`] where there is
/// no such user.
pub async fn issue(app: &App, user: &UserId, new: &NewKey) -> Result<Issued, ServiceError> {
    let now = app.clock.now();
    let (name, scopes) = check(new, now).map_err(ServiceError::Invalid)?;
    store_key(app, user, name, scopes, new.expires_at, now).await
}

/// Issues a key that has expired already: what a client sees when a key's time is over can be tried with it.
///
/// # Errors
/// As [`issue`].
pub async fn issue_expired(app: &App, user: &UserId, name: &str) -> Result<Issued, ServiceError> {
    let now = app.clock.now();
    let new = NewKey { name: name.to_owned(), ..NewKey::default() };
    let (name, scopes) = check(&new, now).map_err(ServiceError::Invalid)?;
    store_key(app, user, name, scopes, Some(now.plus_seconds(-1)), now).await
}

async fn store_key(
    app: &App,
    user: &UserId,
    name: String,
    scopes: Vec<Scope>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Issued, ServiceError> {
    if app.store.count_keys(user).await? >= MAX_KEYS {
        return Err(ServiceError::LimitReached("a user may have 100 keys; revoke one first"));
    }
    let plain = generate()?;
    let key = ApiKey {
        id: KeyId::new(random::id("key_")?),
        user_id: user.clone(),
        name,
        hash: hash(plain.expose()),
        last_four: plain.expose().chars().skip(api_key::LENGTH.saturating_sub(4)).collect(),
        scopes,
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    match app.store.insert_key(&key, &app.stamp()).await {
        Ok(()) => Ok(Issued { key, plain }),
        Err(StoreError::NotFound) => Err(ServiceError::NotFound),
        Err(error) => Err(error.into()),
    }
}

/// The keys of a user that are not revoked, oldest first.
///
/// # Errors
/// The store fails.
pub async fn list(app: &App, user: &UserId) -> Result<Vec<ApiKey>, ServiceError> {
    Ok(app.store.keys_of(user).await?)
}

/// Revokes a key of this user; every Envoy refuses it within a moment.
///
/// # Errors
/// [`ServiceError::NotFound`] where the user has no such key.
pub async fn revoke(app: &App, user: &UserId, key: &KeyId) -> Result<ApiKey, ServiceError> {
    match app.store.revoke_key(user, key, &app.stamp()).await {
        Err(StoreError::NotFound) => Err(ServiceError::NotFound),
        other => Ok(other?),
    }
}

/// The name under which a plain key is known.
pub fn hash(plain: &str) -> KeyHash {
    KeyHash(Sha256::digest(plain.as_bytes()).into())
}

fn generate() -> Result<PlainKey, ServiceError> {
    let numbers = random::base62_numbers(api_key::RANDOM_CHARS)?;
    // `base62_numbers` gives that many numbers below 62, so there is always a key; an empty one would be refused
    // everywhere, and is not stored.
    api_key::assemble(&numbers).map(PlainKey::new).ok_or(ServiceError::Conflict("the key could not be put together"))
}

fn check(new: &NewKey, now: Timestamp) -> Result<(String, Vec<Scope>), Vec<InputFault>> {
    let mut faults = Vec::new();
    let mut fault = |field, problem| faults.push(InputFault { field, problem });
    let name = new.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        fault("name", "must have 1 to 100 characters, no control characters");
    }
    if new.scopes.len() > MAX_SCOPES {
        fault("scopes", "may be 50 at most");
    }
    let scopes: Option<BTreeSet<Scope>> = new.scopes.iter().map(|text| Scope::new(text)).collect();
    if scopes.is_none() {
        fault(
            "scopes",
            "must each have 1 to 64 printable ASCII characters without spaces, commas, quotes, backslashes",
        );
    }
    if new.expires_at.is_some_and(|end| end <= now || end > now.plus_seconds(MAX_LIFE_SECONDS)) {
        fault("expires_at", "must be in the future, within ten years");
    }
    match scopes {
        Some(scopes) if faults.is_empty() => Ok((name.to_owned(), scopes.into_iter().collect())),
        _ => Err(faults),
    }
}

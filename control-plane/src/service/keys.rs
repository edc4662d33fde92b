//! API keys: issue, list, rotate, revoke, import. A plain key is made here and handed out once; it must not be kept or logged.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use tollgate_protocol::{KeyHash, api_key};

use super::{InputFault, ServiceError, page};
use crate::{
    app::App,
    domain::{
        ApiKey, KeyFilter, KeyId, MAX_NAME_CHARS, MAX_SCOPES, PageKey, PlainKey, Rate, RateFault, Scope, Timestamp,
        UserId,
    },
    random,
    store::{Conflict, StoreError},
};

/// Most keys of one user that are not revoked.
pub const MAX_KEYS: u64 = 100;
/// Farthest end of a key, from now: ten years.
const MAX_LIFE_SECONDS: i64 = 10 * 366 * 24 * 3600;
/// Longest time for which a rotated key goes on.
const MAX_OVERLAP_SECONDS: i64 = 30 * 24 * 3600;
/// Characters of a key that are kept to tell it by: `sk_` and four more.
const PREFIX_CHARS: usize = 7;

/// A key to be issued.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// How often it may be used, as [`Rate`] is written.
    pub rate: Option<String>,
}

/// What [`check`] has found to be good.
pub(super) struct Checked {
    pub(super) name: String,
    pub(super) scopes: Vec<Scope>,
    pub(super) rate: Option<Rate>,
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
    let checked = check(new, now).map_err(ServiceError::Invalid)?;
    store_key(app, user, checked, new.expires_at, now).await
}

/// Issues a key that has expired already: what a client sees when a key's time is over can be tried with it.
///
/// # Errors
/// As [`issue`].
pub async fn issue_expired(app: &App, user: &UserId, name: &str) -> Result<Issued, ServiceError> {
    let now = app.clock.now();
    let new = NewKey { name: name.to_owned(), ..NewKey::default() };
    let checked = check(&new, now).map_err(ServiceError::Invalid)?;
    store_key(app, user, checked, Some(now.plus_seconds(-1)), now).await
}

async fn store_key(
    app: &App,
    user: &UserId,
    checked: Checked,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Issued, ServiceError> {
    if app.store.count_keys(user).await? >= MAX_KEYS {
        return Err(ServiceError::LimitReached("a user may have 100 keys; revoke one first"));
    }
    let issued = make(user, checked, expires_at, now)?;
    match app.store.insert_key(&issued.key, &app.stamp()).await {
        Ok(()) => Ok(issued),
        Err(StoreError::NotFound) => Err(ServiceError::NotFound),
        Err(error) => Err(error.into()),
    }
}

fn make(
    user: &UserId,
    checked: Checked,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Issued, ServiceError> {
    let plain = generate()?;
    let key = ApiKey {
        id: KeyId::new(random::id("key_")?),
        user_id: user.clone(),
        name: checked.name,
        hash: hash(plain.expose()),
        prefix: plain.expose().chars().take(PREFIX_CHARS).collect(),
        last_four: plain.expose().chars().skip(api_key::LENGTH.saturating_sub(4)).collect(),
        scopes: checked.scopes,
        rate: checked.rate,
        created_at: now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    Ok(Issued { key, plain })
}

/// Issues a key that takes the place of another: the same name, scopes, rate and life; the former one goes on for
/// `overlap_seconds`, so that its holders can change over.
///
/// # Errors
/// [`ServiceError::NotFound`] where the user has no such key, [`ServiceError::Conflict`] where it has ended,
/// [`ServiceError::Invalid`] where the overlap is longer than thirty days, [`ServiceError::LimitReached`].
pub async fn rotate(app: &App, user: &UserId, old: &KeyId, overlap_seconds: i64) -> Result<Issued, ServiceError> {
    let now = app.clock.now();
    if !(0..=MAX_OVERLAP_SECONDS).contains(&overlap_seconds) {
        let problem = "must be between 0 and 2592000 (thirty days)";
        return Err(ServiceError::Invalid(vec![InputFault { field: "overlap_seconds", problem }]));
    }
    let former = app.store.key(old).await?.filter(|key| key.user_id == *user).ok_or(ServiceError::NotFound)?;
    if app.store.count_keys(user).await? >= MAX_KEYS {
        return Err(ServiceError::LimitReached("a user may have 100 keys; revoke one first"));
    }
    // A key that was to end keeps its length of life.
    let expires_at = former.expires_at.map(|end| {
        Timestamp::from_millis(now.millis().saturating_add(end.millis().saturating_sub(former.created_at.millis())))
    });
    let checked = Checked { name: former.name, scopes: former.scopes, rate: former.rate };
    let issued = make(user, checked, expires_at, now)?;
    match app.store.rotate_key(old, &issued.key, now.plus_seconds(overlap_seconds), &app.stamp()).await {
        Ok(()) => Ok(issued),
        Err(StoreError::NotFound) => Err(ServiceError::NotFound),
        Err(StoreError::Conflict(Conflict::KeyEnded)) => Err(ServiceError::Conflict("the key has ended")),
        Err(error) => Err(error.into()),
    }
}

/// Takes over a key that was issued before Tollgate, by its hash. It is accepted only where `accept_imported_keys` is on.
///
/// # Errors
/// As [`issue`]; [`ServiceError::Conflict`] where the hash is there already.
pub async fn import(app: &App, user: &UserId, hash: KeyHash, new: &NewKey) -> Result<ApiKey, ServiceError> {
    let now = app.clock.now();
    let checked = check(new, now).map_err(ServiceError::Invalid)?;
    let key = ApiKey {
        id: KeyId::new(random::id("key_")?),
        user_id: user.clone(),
        name: checked.name,
        hash,
        prefix: String::new(),
        last_four: String::new(),
        scopes: checked.scopes,
        rate: checked.rate,
        created_at: now,
        expires_at: new.expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    match app.store.insert_key(&key, &app.stamp()).await {
        Ok(()) => Ok(key),
        Err(StoreError::NotFound) => Err(ServiceError::NotFound),
        Err(StoreError::Conflict(Conflict::KeyHash)) => Err(ServiceError::Conflict("the key is there already")),
        Err(error) => Err(error.into()),
    }
}

/// The key of an id, whosever it is, revoked or not.
///
/// # Errors
/// [`ServiceError::NotFound`], or the store fails.
pub async fn get(app: &App, id: &KeyId) -> Result<ApiKey, ServiceError> {
    app.store.key(id).await?.ok_or(ServiceError::NotFound)
}

/// One page of keys, revoked ones too, newest first, and where the next one begins.
///
/// # Errors
/// The store fails.
pub async fn search(
    app: &App,
    filter: &KeyFilter,
    after: Option<&PageKey>,
    limit: usize,
) -> Result<(Vec<ApiKey>, Option<PageKey>), ServiceError> {
    let found = app.store.keys(filter, after, limit.saturating_add(1)).await?;
    Ok(page(found, limit, |key| PageKey { at: key.created_at, id: key.id.as_str().to_owned() }))
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

fn check(new: &NewKey, now: Timestamp) -> Result<Checked, Vec<InputFault>> {
    let mut faults = Vec::new();
    if new.expires_at.is_some_and(|end| end <= now || end > now.plus_seconds(MAX_LIFE_SECONDS)) {
        faults.push(InputFault { field: "expires_at", problem: "must be in the future, within ten years" });
    }
    match check_lasting(new) {
        Ok(checked) if faults.is_empty() => Ok(checked),
        Ok(_) => Err(faults),
        Err(others) => {
            faults.extend(others);
            Err(faults)
        }
    }
}

/// All but the expiry, which may be over for a key that is taken over.
pub(super) fn check_lasting(new: &NewKey) -> Result<Checked, Vec<InputFault>> {
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
    let rate = match new.rate.as_deref().map(str::parse::<Rate>).transpose() {
        Ok(rate) => rate,
        Err(RateFault) => {
            faults.push(InputFault {
                field: "rate",
                problem: "must be such as 60/min or 600/min burst 100 (s, min, h, day)",
            });
            None
        }
    };
    match scopes {
        Some(scopes) if faults.is_empty() => {
            Ok(Checked { name: name.to_owned(), scopes: scopes.into_iter().collect(), rate })
        }
        _ => Err(faults),
    }
}

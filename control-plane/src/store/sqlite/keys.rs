//! The table of API keys.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use tollgate_protocol::KeyHash;

use super::{SqliteStore, audit, fault, feed, rows, users};
use crate::{
    domain::{self, ApiKey, Happening, KeyFilter, KeyId, KeyStanding, PageKey, Stamp, Timestamp, User, UserId},
    store::{Conflict, KeyStore, StoreError},
};

fn select(connection: &Connection, user: &UserId, key: &KeyId) -> Result<Option<ApiKey>, StoreError> {
    let sql = format!("SELECT {} FROM api_keys WHERE user_id = ?1 AND id = ?2", rows::KEY_COLUMNS);
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    statement.query_row([user.as_str(), key.as_str()], rows::key).optional().map_err(fault)
}

pub(super) fn insert(transaction: &Transaction<'_>, key: &ApiKey) -> Result<(), StoreError> {
    let inserted = transaction.execute(
        "INSERT INTO api_keys (id, user_id, name, hash, last_four, scopes, created_at, expires_at, revoked_at,
            last_used_at, prefix, rate) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            key.id.as_str(),
            key.user_id.as_str(),
            key.name,
            key.hash.0,
            key.last_four,
            rows::scopes_text(&key.scopes),
            key.created_at.millis(),
            key.expires_at.map(Timestamp::millis),
            key.revoked_at.map(Timestamp::millis),
            key.last_used_at.map(Timestamp::millis),
            key.prefix,
            key.rate.map(|rate| rate.to_string()),
        ],
    );
    inserted.map(drop).map_err(|error| match rows::violated(&error) {
        Some("FOREIGN KEY") => StoreError::NotFound,
        Some("api_keys.id") => StoreError::Conflict(Conflict::Id),
        Some("api_keys.hash") => StoreError::Conflict(Conflict::KeyHash),
        _ => fault(error),
    })
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn insert_key(&self, key: &ApiKey, stamp: &Stamp) -> Result<(), StoreError> {
        let (key, stamp) = (key.clone(), stamp.clone());
        self.write(move |transaction| {
            insert(transaction, &key)?;
            let after = domain::audit::key(&key);
            audit::write(transaction, &stamp.entry("key.issued", key.id.as_str(), None, Some(after)))?;
            feed::write(transaction, &Happening::Key(key.hash), stamp.at)
        })
        .await
    }

    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Option<User>)>, StoreError> {
        let hash = *hash;
        self.read(move |connection| {
            let snapshot = connection.unchecked_transaction().map_err(fault)?;
            let sql = format!("SELECT {} FROM api_keys WHERE hash = ?1", rows::KEY_COLUMNS);
            let mut statement = snapshot.prepare_cached(&sql).map_err(fault)?;
            let Some(key) = statement.query_row([hash.0], rows::key).optional().map_err(fault)? else {
                return Ok(None);
            };
            let user = users::select(&snapshot, "id = ?1", &[key.user_id.as_str()])?;
            Ok(Some((key, user)))
        })
        .await
    }

    async fn keys_of(&self, user: &UserId) -> Result<Vec<ApiKey>, StoreError> {
        let user = user.clone();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {} FROM api_keys WHERE user_id = ?1 AND revoked_at IS NULL ORDER BY created_at, rowid",
                rows::KEY_COLUMNS
            );
            let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
            let found = statement.query_map([user.as_str()], rows::key).map_err(fault)?;
            found.collect::<Result<Vec<_>, _>>().map_err(fault)
        })
        .await
    }

    async fn key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        let id = id.clone();
        self.read(move |connection| {
            let sql = format!("SELECT {} FROM api_keys WHERE id = ?1", rows::KEY_COLUMNS);
            let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
            statement.query_row([id.as_str()], rows::key).optional().map_err(fault)
        })
        .await
    }

    async fn keys(&self, filter: &KeyFilter, after: Option<&PageKey>, limit: usize) -> Result<Vec<ApiKey>, StoreError> {
        let (filter, after) = (filter.clone(), after.cloned());
        self.read(move |connection| {
            let place = rows::after(after.is_some(), 3);
            let sql = format!(
                "SELECT {} FROM api_keys WHERE (?1 IS NULL OR user_id = ?1)
                 AND (?2 IS NULL OR id = ?2 OR (prefix <> '' AND substr(prefix, 1, length(?2)) = ?2))
                 AND {place} ORDER BY created_at DESC, id DESC LIMIT ?5",
                rows::KEY_COLUMNS
            );
            let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
            let values = params![
                filter.user_id.as_ref().map(UserId::as_str),
                filter.text,
                after.as_ref().map(|after| after.at.millis()),
                after.as_ref().map(|after| &after.id),
                i64::try_from(limit).unwrap_or(i64::MAX),
            ];
            let found = statement.query_map(values, rows::key).map_err(fault)?;
            found.collect::<Result<Vec<_>, _>>().map_err(fault)
        })
        .await
    }

    async fn rotate_key(&self, old: &KeyId, new: &ApiKey, ends: Timestamp, stamp: &Stamp) -> Result<(), StoreError> {
        let (old, new, stamp) = (old.clone(), new.clone(), stamp.clone());
        self.write(move |transaction| {
            let mut key = select(transaction, &new.user_id, &old)?.ok_or(StoreError::NotFound)?;
            if key.standing(stamp.at) != KeyStanding::Good {
                return Err(StoreError::Conflict(Conflict::KeyEnded));
            }
            let before = domain::audit::key(&key);
            let ends = key.expires_at.map_or(ends, |by_itself| by_itself.min(ends));
            key.expires_at = Some(ends);
            transaction
                .execute("UPDATE api_keys SET expires_at = ?2 WHERE id = ?1", params![old.as_str(), ends.millis()])
                .map_err(fault)?;
            insert(transaction, &new)?;
            let (ended, after) = (domain::audit::key(&key), domain::audit::key(&new));
            audit::write(transaction, &stamp.entry("key.rotated", old.as_str(), Some(before), Some(ended)))?;
            audit::write(transaction, &stamp.entry("key.issued", new.id.as_str(), None, Some(after)))?;
            feed::write(transaction, &Happening::Key(key.hash), stamp.at)?;
            feed::write(transaction, &Happening::Key(new.hash), stamp.at)
        })
        .await
    }

    async fn count_keys(&self, user: &UserId) -> Result<u64, StoreError> {
        let user = user.clone();
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT count(*) FROM api_keys WHERE user_id = ?1 AND revoked_at IS NULL")
                .map_err(fault)?;
            let count: i64 = statement.query_row([user.as_str()], |row| row.get(0)).map_err(fault)?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    async fn revoke_key(&self, user: &UserId, key: &KeyId, stamp: &Stamp) -> Result<ApiKey, StoreError> {
        let (user, id, stamp) = (user.clone(), key.clone(), stamp.clone());
        self.write(move |transaction| {
            let mut key = select(transaction, &user, &id)?.ok_or(StoreError::NotFound)?;
            if key.revoked_at.is_none() {
                let before = domain::audit::key(&key);
                key.revoked_at = Some(stamp.at);
                transaction
                    .execute(
                        "UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1",
                        params![id.as_str(), stamp.at.millis()],
                    )
                    .map_err(fault)?;
                let after = domain::audit::key(&key);
                audit::write(transaction, &stamp.entry("key.revoked", id.as_str(), Some(before), Some(after)))?;
                feed::write(transaction, &Happening::KeyRevoked(key.hash), stamp.at)?;
            }
            Ok(key)
        })
        .await
    }
}

//! The feed's table. A line is written inside the transaction of the change it tells of.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use tokio::sync::watch;
use tollgate_protocol::Cursor;

use super::{SqliteStore, fault};
use crate::{
    domain::{FeedEntry, Happening, Timestamp, UserId},
    store::{FeedPage, FeedStore, Heard, StoreError},
};

const USER: &str = "user";
const KEY: &str = "key";
const KEY_REVOKED: &str = "key_revoked";
const REVOKED: &str = "revoked";
const RECALL: &str = "recall";

/// Writes a line.
pub(super) fn write(transaction: &Transaction<'_>, happening: &Happening, at: Timestamp) -> Result<(), StoreError> {
    let (kind, subject) = match happening {
        Happening::User(id) => (USER, id.as_str().to_owned()),
        Happening::Key(hash) => (KEY, hash.to_string()),
        Happening::KeyRevoked(hash) => (KEY_REVOKED, hash.to_string()),
        Happening::Revoked(revocation) => {
            let json = serde_json::to_string(revocation).map_err(|error| StoreError::Corrupt(error.to_string()))?;
            (REVOKED, json)
        }
        Happening::Recall(id) => (RECALL, id.as_str().to_owned()),
        Happening::Unknown => return Ok(()),
    };
    let mut statement =
        transaction.prepare_cached("INSERT INTO feed (kind, subject, at) VALUES (?1, ?2, ?3)").map_err(fault)?;
    statement.execute(params![kind, subject, at.millis()]).map_err(fault)?;
    Ok(())
}

/// The newest number that was ever given, also where its line has been pruned.
pub(super) fn newest(connection: &Connection) -> Result<u64, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'feed'").map_err(fault)?;
    let seq: Option<i64> = statement.query_row([], |row| row.get(0)).optional().map_err(fault)?;
    Ok(seq.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(0))
}

fn read(kind: &str, subject: String) -> Happening {
    match (kind, subject) {
        (USER, id) => Happening::User(UserId::new(id)),
        (KEY, hash) => hash.parse().map_or(Happening::Unknown, Happening::Key),
        (KEY_REVOKED, hash) => hash.parse().map_or(Happening::Unknown, Happening::KeyRevoked),
        (REVOKED, json) => serde_json::from_str(&json).map_or(Happening::Unknown, Happening::Revoked),
        (RECALL, id) => Happening::Recall(UserId::new(id)),
        _ => Happening::Unknown,
    }
}

#[async_trait]
impl FeedStore for SqliteStore {
    async fn head(&self) -> Result<Cursor, StoreError> {
        let seq = self.read(newest).await?;
        Ok(Cursor::new(self.epoch.clone(), seq))
    }

    async fn since(&self, cursor: &Cursor, limit: usize) -> Result<FeedPage, StoreError> {
        let (asked, epoch) = (cursor.clone(), self.epoch.clone());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |connection| {
            // One snapshot for all three questions.
            let snapshot = connection.unchecked_transaction().map_err(fault)?;
            let newest = newest(&snapshot)?;
            let head = Cursor::new(epoch.clone(), newest);
            if asked.epoch != epoch || asked.seq > newest {
                return Ok(FeedPage::Lost(head));
            }
            if asked.seq == newest {
                return Ok(FeedPage::Entries(Vec::new(), head));
            }
            let oldest: Option<i64> =
                snapshot.query_row("SELECT min(seq) FROM feed", [], |row| row.get(0)).map_err(fault)?;
            let oldest = oldest.and_then(|seq| u64::try_from(seq).ok()).unwrap_or(u64::MAX);
            if asked.seq.saturating_add(1) < oldest {
                return Ok(FeedPage::Lost(head));
            }
            let after = i64::try_from(asked.seq).unwrap_or(i64::MAX);
            let mut statement = snapshot
                .prepare_cached("SELECT seq, kind, subject, at FROM feed WHERE seq > ?1 ORDER BY seq LIMIT ?2")
                .map_err(fault)?;
            let rows = statement
                .query_map([after, limit], |row| {
                    let (seq, kind, subject): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    let at = Some(Timestamp::from_millis(row.get(3)?));
                    Ok(FeedEntry { seq: u64::try_from(seq).unwrap_or(0), at, happening: read(&kind, subject) })
                })
                .map_err(fault)?;
            let entries = rows.collect::<Result<Vec<_>, _>>().map_err(fault)?;
            let seq = entries.last().map_or(newest, |entry| entry.seq);
            Ok(FeedPage::Entries(entries, Cursor::new(epoch, seq)))
        })
        .await
    }

    async fn prune(&self, before: Timestamp, at_least: u64) -> Result<u64, StoreError> {
        let at_least = i64::try_from(at_least).unwrap_or(i64::MAX);
        self.write(move |transaction| {
            let gone = transaction
                .execute(
                    "DELETE FROM feed WHERE at < ?1
                     AND seq <= (SELECT seq FROM sqlite_sequence WHERE name = 'feed') - ?2",
                    params![before.millis(), at_least],
                )
                .map_err(fault)?;
            Ok(u64::try_from(gone).unwrap_or(0))
        })
        .await
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn heard(&self) -> &Heard {
        &self.heard
    }
}

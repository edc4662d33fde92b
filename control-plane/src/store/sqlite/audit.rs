//! The table of changes. An entry is written inside the transaction of the change it tells of.

use async_trait::async_trait;
use rusqlite::{Connection, Row, Transaction, params};
use serde_json::Value;

use super::{SqliteStore, fault};
use crate::{
    domain::{AuditEntry, Timestamp},
    store::{AuditFilter, AuditStore, StoreError},
};

/// Writes an entry.
pub(super) fn write(transaction: &Transaction<'_>, entry: &AuditEntry) -> Result<(), StoreError> {
    let mut statement = transaction
        .prepare_cached(
            "INSERT INTO audit (at, actor, action, subject, before, after, request_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .map_err(fault)?;
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    let entry = params![
        entry.at.millis(),
        entry.actor,
        entry.action,
        entry.subject,
        text(&entry.before),
        text(&entry.after),
        entry.request_id
    ];
    statement.execute(entry).map(drop).map_err(fault)
}

fn read(row: &Row<'_>) -> Result<(String, AuditEntry), rusqlite::Error> {
    let value = |place| -> Result<Option<Value>, rusqlite::Error> {
        let text: Option<String> = row.get(place)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(place, rusqlite::types::Type::Text, Box::new(error))
        })
    };
    let entry = AuditEntry {
        at: Timestamp::from_millis(row.get(1)?),
        actor: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        before: value(5)?,
        after: value(6)?,
        request_id: row.get(7)?,
    };
    Ok((row.get::<_, i64>(0)?.to_string(), entry))
}

fn select(connection: &Connection, filter: &AuditFilter, below: i64, limit: i64) -> Result<Page, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT id, at, actor, action, subject, before, after, request_id FROM audit
             WHERE id < ?1 AND (?2 IS NULL OR subject = ?2) AND (?3 IS NULL OR actor = ?3) ORDER BY id DESC LIMIT ?4",
        )
        .map_err(fault)?;
    let rows = statement.query_map(params![below, filter.subject, filter.actor, limit], read).map_err(fault)?;
    rows.collect::<Result<Vec<_>, _>>().map_err(fault)
}

type Page = Vec<(String, AuditEntry)>;

#[async_trait]
impl AuditStore for SqliteStore {
    async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, AuditEntry)>, StoreError> {
        let filter = filter.clone();
        // A text that names no entry is followed by none.
        let below = after.map_or(i64::MAX, |text| text.parse().unwrap_or(0));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |connection| select(connection, &filter, below, limit)).await
    }
}

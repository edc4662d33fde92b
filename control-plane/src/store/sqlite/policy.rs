//! The table of the policy, which has one row.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{SqliteStore, audit, fault};
use crate::{
    domain::{self, Stamp, Timestamp},
    store::{Conflict, KeptPolicy, PolicyStore, StoreError},
};

fn select(connection: &Connection) -> Result<Option<KeptPolicy>, StoreError> {
    connection
        .query_row("SELECT version, text, at, actor FROM policy", [], |row| {
            let version: i64 = row.get(0)?;
            Ok(KeptPolicy {
                version: u64::try_from(version).unwrap_or_default(),
                text: row.get(1)?,
                at: Timestamp::from_millis(row.get(2)?),
                by: row.get(3)?,
            })
        })
        .optional()
        .map_err(fault)
}

#[async_trait]
impl PolicyStore for SqliteStore {
    async fn policy_version(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let version = connection.query_row("SELECT version FROM policy", [], |row| row.get::<_, i64>(0));
            let version = version.optional().map_err(fault)?.unwrap_or_default();
            Ok(u64::try_from(version).unwrap_or_default())
        })
        .await
    }

    async fn policy(&self) -> Result<Option<KeptPolicy>, StoreError> {
        self.read(select).await
    }

    async fn put_policy(&self, text: &str, expected: Option<u64>, stamp: &Stamp) -> Result<KeptPolicy, StoreError> {
        let (text, stamp) = (text.to_owned(), stamp.clone());
        self.write(move |transaction| {
            let former = select(transaction)?;
            let found = former.as_ref().map_or(0, |former| former.version);
            if expected.is_some_and(|expected| expected != found) {
                return Err(StoreError::Conflict(Conflict::Revision));
            }
            let version = found.saturating_add(1);
            let kept = KeptPolicy { version, text, at: stamp.at, by: stamp.actor.to_text() };
            let number = i64::try_from(kept.version).unwrap_or(i64::MAX);
            transaction
                .execute(
                    "INSERT INTO policy (id, version, text, at, actor) VALUES (1, ?1, ?2, ?3, ?4)
                     ON CONFLICT (id) DO UPDATE SET
                         version = excluded.version, text = excluded.text, at = excluded.at, actor = excluded.actor",
                    params![number, kept.text, kept.at.millis(), kept.by],
                )
                .map_err(fault)?;
            let shown = |kept: &KeptPolicy| domain::audit::policy(kept.version, &kept.text);
            let (before, after) = (former.as_ref().map(shown), shown(&kept));
            audit::write(transaction, &stamp.entry("policy.changed", "policy", before, Some(after)))?;
            Ok(kept)
        })
        .await
    }
}

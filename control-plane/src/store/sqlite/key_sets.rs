//! Last good key sets and own secrets.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};
use zeroize::Zeroizing;

use super::{SqliteStore, fault};
use crate::{
    domain::Timestamp,
    store::{KeptKeySet, KeySetStore, StoreError},
};

#[async_trait]
impl KeySetStore for SqliteStore {
    async fn key_set(&self, issuer: &str) -> Result<Option<KeptKeySet>, StoreError> {
        let issuer = issuer.to_owned();
        self.read(move |connection| {
            connection
                .query_row("SELECT document, fetched_at FROM key_sets WHERE issuer = ?1", [issuer], |row| {
                    Ok(KeptKeySet { document: row.get(0)?, fetched_at: Timestamp::from_millis(row.get(1)?) })
                })
                .optional()
                .map_err(fault)
        })
        .await
    }

    async fn keep_key_set(&self, issuer: &str, set: &KeptKeySet) -> Result<(), StoreError> {
        let (issuer, set) = (issuer.to_owned(), set.clone());
        self.write(move |transaction| {
            transaction
                .execute(
                    "INSERT INTO key_sets VALUES (?1, ?2, ?3)
                     ON CONFLICT (issuer) DO UPDATE SET document = excluded.document, fetched_at = excluded.fetched_at
                     WHERE excluded.fetched_at >= fetched_at",
                    params![issuer, set.document, set.fetched_at.millis()],
                )
                .map_err(fault)?;
            Ok(())
        })
        .await
    }

    async fn secret_or(&self, name: &str, fresh: &Zeroizing<[u8; 32]>) -> Result<Zeroizing<[u8; 32]>, StoreError> {
        let (name, fresh) = (name.to_owned(), fresh.clone());
        self.write(move |transaction| {
            transaction
                .execute("INSERT OR IGNORE INTO secrets VALUES (?1, ?2)", params![name, fresh.as_slice()])
                .map_err(fault)?;
            transaction
                .query_row("SELECT value FROM secrets WHERE name = ?1", [name], |row| row.get(0))
                .map(Zeroizing::new)
                .map_err(fault)
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.read(|connection| connection.query_row("SELECT 1 FROM meta LIMIT 1", [], |_| Ok(())).map_err(fault)).await
    }
}

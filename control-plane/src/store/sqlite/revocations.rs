//! The table of revocations.

use async_trait::async_trait;
use rusqlite::{Transaction, params};
use tollgate_protocol::{Revocation, Revoked};

use super::{SqliteStore, audit, fault, feed};
use crate::{
    domain::{self, Happening, Stamp, Timestamp},
    store::{RevocationStore, StoreError},
};

/// Writes a revocation, its entry in the log of changes and its line of the feed.
pub(super) fn write(transaction: &Transaction<'_>, revocation: &Revocation, stamp: &Stamp) -> Result<(), StoreError> {
    let Revocation { what, issuer, id, until } = revocation;
    let until = i64::try_from(*until).unwrap_or(i64::MAX);
    transaction
        .execute(
            "INSERT INTO revocations (what, issuer, id, until) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (what, issuer, id) DO UPDATE SET until = max(until, excluded.until)",
            params![what.as_str(), issuer.as_deref().unwrap_or_default(), id, until],
        )
        .map_err(fault)?;
    let after = domain::audit::revocation(revocation);
    audit::write(transaction, &stamp.entry(domain::audit::revoked(*what), id, None, Some(after)))?;
    feed::write(transaction, &Happening::Revoked(revocation.clone()), stamp.at)
}

fn kind(word: &str) -> Revoked {
    [Revoked::Session, Revoked::Token, Revoked::Key]
        .into_iter()
        .find(|what| what.as_str() == word)
        .unwrap_or(Revoked::Unknown)
}

fn seconds(now: Timestamp) -> i64 {
    i64::try_from(now.unix_seconds()).unwrap_or(i64::MAX)
}

#[async_trait]
impl RevocationStore for SqliteStore {
    async fn revoke(&self, revocation: &Revocation, stamp: &Stamp) -> Result<(), StoreError> {
        let (revocation, stamp) = (revocation.clone(), stamp.clone());
        self.write(move |transaction| write(transaction, &revocation, &stamp)).await
    }

    async fn revocations(&self, now: Timestamp) -> Result<Vec<Revocation>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT what, issuer, id, until FROM revocations WHERE until > ?1 ORDER BY rowid")
                .map_err(fault)?;
            let rows = statement
                .query_map([seconds(now)], |row| {
                    let (what, issuer): (String, String) = (row.get(0)?, row.get(1)?);
                    Ok(Revocation {
                        what: kind(&what),
                        issuer: Some(issuer).filter(|issuer| !issuer.is_empty()),
                        id: row.get(2)?,
                        until: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
                    })
                })
                .map_err(fault)?;
            rows.collect::<Result<Vec<_>, _>>().map_err(fault)
        })
        .await
    }

    async fn prune_revocations(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |transaction| {
            let gone =
                transaction.execute("DELETE FROM revocations WHERE until <= ?1", [seconds(now)]).map_err(fault)?;
            Ok(u64::try_from(gone).unwrap_or(0))
        })
        .await
    }
}

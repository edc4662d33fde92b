//! The tables of what is only watched: counts, and the last batch of each node.

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, Row, params};
use serde_json::json;

use super::{SqliteStore, audit, fault};
use crate::{
    domain::{Stamp, Timestamp},
    store::{StoreError, Watched, WatchedStore},
};

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn read(row: &Row<'_>) -> Result<Watched, rusqlite::Error> {
    let samples: String = row.get(5)?;
    Ok(Watched {
        route: row.get(0)?,
        code: row.get(1)?,
        count: u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
        first: Timestamp::from_millis(row.get(3)?),
        last: Timestamp::from_millis(row.get(4)?),
        samples: samples.split(' ').filter(|sample| !sample.is_empty()).map(str::to_owned).collect(),
    })
}

#[async_trait]
impl WatchedStore for SqliteStore {
    async fn add_watched(&self, node: &str, batch: u64, counts: &[Watched], at: Timestamp) -> Result<bool, StoreError> {
        let (node, counts) = (node.to_owned(), counts.to_vec());
        self.write(move |transaction| {
            let is_new = transaction
                .execute(
                    "INSERT INTO watched_nodes (node, number, at) VALUES (?1, ?2, ?3)
                     ON CONFLICT (node) DO UPDATE SET number = excluded.number, at = excluded.at
                     WHERE excluded.number > number",
                    params![node, number(batch), at.millis()],
                )
                .map_err(fault)?;
            if is_new == 0 {
                return Ok(false);
            }
            for more in &counts {
                let known =
                    "SELECT route, code, count, first, last, samples FROM watched WHERE route = ?1 AND code = ?2";
                let mut known = transaction.prepare_cached(known).map_err(fault)?;
                let known = known.query_row(params![more.route, more.code], read).optional().map_err(fault)?;
                let sum = match known {
                    Some(mut sum) => {
                        sum.add(more);
                        sum
                    }
                    None => more.clone(),
                };
                let mut put = transaction
                    .prepare_cached("INSERT OR REPLACE INTO watched VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
                    .map_err(fault)?;
                let samples = sum.samples.join(" ");
                let (first, last) = (sum.first.millis(), sum.last.millis());
                put.execute(params![sum.route, sum.code, number(sum.count), first, last, samples]).map_err(fault)?;
            }
            Ok(true)
        })
        .await
    }

    async fn watched(&self, after: Option<&(String, String)>, limit: usize) -> Result<Vec<Watched>, StoreError> {
        let (route, code) = after.cloned().unwrap_or_default();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached(
                    "SELECT route, code, count, first, last, samples FROM watched WHERE (route, code) > (?1, ?2)
                     ORDER BY route, code LIMIT ?3",
                )
                .map_err(fault)?;
            let rows = statement.query_map(params![route, code, limit], read).map_err(fault)?;
            rows.collect::<Result<_, _>>().map_err(fault)
        })
        .await
    }

    async fn forget_watched(&self, stamp: &Stamp) -> Result<u64, StoreError> {
        let stamp = stamp.clone();
        self.write(move |transaction| {
            let gone = transaction.execute("DELETE FROM watched", []).map_err(fault)?;
            audit::write(transaction, &stamp.entry("shadow.cleared", "shadow", Some(json!({ "counts": gone })), None))?;
            Ok(u64::try_from(gone).unwrap_or_default())
        })
        .await
    }

    async fn prune_watched(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |transaction| {
            let gone =
                transaction.execute("DELETE FROM watched_nodes WHERE at < ?1", [before.millis()]).map_err(fault)?;
            Ok(u64::try_from(gone).unwrap_or_default())
        })
        .await
    }
}

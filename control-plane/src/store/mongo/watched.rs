//! The collections of what is only watched: counts, and the last batch of each node.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::{
    ClientSession, Collection,
    bson::{Bson, Document, doc},
};
use serde_json::json;

use super::{
    MongoStore, audit, bounded, schema,
    transaction::transaction,
    values::{Members, date},
};
use crate::{
    domain::{Stamp, Timestamp},
    store::{KEPT_SAMPLES, StoreError, Watched, WatchedStore},
};

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn read(document: Document) -> Result<Watched, StoreError> {
    let mut from = Members::new(schema::WATCHED, document);
    let samples = match from.take("samples") {
        Some(Bson::Array(samples)) => samples.iter().filter_map(Bson::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let route = from.text("route")?.ok_or_else(|| from.corrupt("route"))?;
    let code = from.text("code")?.ok_or_else(|| from.corrupt("code"))?;
    let count = from.number("count")?.and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
    let mut moment = |member| from.moment(member)?.ok_or_else(|| from.corrupt(member));
    Ok(Watched { route, code, count, first: moment("first")?, last: moment("last")?, samples })
}

impl MongoStore {
    fn watched_counts(&self) -> Collection<Document> {
        self.database.collection(schema::WATCHED)
    }

    fn watched_nodes(&self) -> Collection<Document> {
        self.database.collection(schema::WATCHED_NODES)
    }

    async fn add_watched_once(
        &self,
        session: &mut ClientSession,
        node: &str,
        batch: u64,
        counts: &[Watched],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        // Where the node has told this batch or a later one, nothing is found, and what would be made is there already.
        let older = doc! { "_id": node, "number": { "$lt": number(batch) } };
        let mark = doc! { "$set": { "number": number(batch), "at": date(at) } };
        bounded(self.watched_nodes().update_one(older, mark).upsert(true).session(&mut *session)).await?;
        for more in counts {
            let samples: Vec<&str> = more.samples.iter().map(String::as_str).collect();
            let slice = i64::try_from(KEPT_SAMPLES).unwrap_or_default().saturating_neg();
            let change = doc! {
                "$setOnInsert": { "route": &more.route, "code": &more.code },
                "$inc": { "count": number(more.count) },
                "$min": { "first": date(more.first) },
                "$max": { "last": date(more.last) },
                "$push": { "samples": { "$each": samples, "$slice": slice } },
            };
            // A code has no space.
            let name = doc! { "_id": format!("{} {}", more.code, more.route) };
            bounded(self.watched_counts().update_one(name, change).upsert(true).session(&mut *session)).await?;
        }
        Ok(())
    }

    async fn forget_watched_once(&self, session: &mut ClientSession, stamp: &Stamp) -> Result<u64, StoreError> {
        let gone = bounded(self.watched_counts().delete_many(doc! {}).session(&mut *session)).await?.deleted_count;
        let before = Some(json!({ "counts": gone }));
        audit::write(self, session, &stamp.entry("shadow.cleared", "shadow", before, None)).await?;
        Ok(gone)
    }
}

#[async_trait]
impl WatchedStore for MongoStore {
    async fn add_watched(&self, node: &str, batch: u64, counts: &[Watched], at: Timestamp) -> Result<bool, StoreError> {
        match transaction!(self, |session| self.add_watched_once(session, node, batch, counts, at)) {
            Ok(((), _)) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn watched(&self, after: Option<&(String, String)>, limit: usize) -> Result<Vec<Watched>, StoreError> {
        let wanted = match after {
            None => Document::new(),
            Some((route, code)) => {
                doc! { "$or": [{ "route": { "$gt": route } }, { "route": route, "code": { "$gt": code } }] }
            }
        };
        let counts = self.watched_counts();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = counts.find(wanted).sort(doc! { "route": 1, "code": 1 }).limit(limit);
        let found: Vec<Document> = bounded(async { found.await?.try_collect().await }).await?;
        found.into_iter().map(read).collect()
    }

    async fn forget_watched(&self, stamp: &Stamp) -> Result<u64, StoreError> {
        let gone = transaction!(self, |session| self.forget_watched_once(session, stamp));
        gone.map(|(gone, _)| gone)
    }

    async fn prune_watched(&self, before: Timestamp) -> Result<u64, StoreError> {
        let gone = bounded(self.watched_nodes().delete_many(doc! { "at": { "$lt": date(before) } })).await?;
        Ok(gone.deleted_count)
    }
}

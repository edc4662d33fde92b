//! What other programs change in a MongoDB that is no replica set, as far as it can be seen: documents whose member
//! `updated_at` moved. It must not know what a change means.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use mongodb::{
    Database,
    bson::{Bson, DateTime, Document, doc},
};

use super::{documents, feed::Feed, revocations, schema, values};
use crate::{
    domain::{Happening, UserId},
    store::StoreError,
};

/// How often.
const INTERVAL: Duration = Duration::from_millis(250);
/// How far back is looked each time: programs' clocks differ, and a write is seen later than its time.
const OVERLAP_MILLIS: i64 = 10_000;

/// Tells what an updated document means.
type Reader = fn(&Document) -> Happening;

/// The collections that are polled.
const POLLED: &[(&str, Reader)] =
    &[(documents::USERS, user), (documents::API_KEYS, key), (schema::REVOCATIONS, revoked)];

fn user(document: &Document) -> Happening {
    let id = document.get("_id").and_then(values::id_text);
    id.map_or(Happening::Unknown, |id| Happening::User(UserId::new(id)))
}

fn key(document: &Document) -> Happening {
    let hash = document.get_str("hash").ok().and_then(|hash| hash.parse().ok());
    match (hash, document.get("revoked_at")) {
        (Some(hash), None | Some(Bson::Null)) => Happening::Key(hash),
        (Some(hash), Some(_)) => Happening::KeyRevoked(hash),
        (None, _) => Happening::Unknown,
    }
}

fn revoked(document: &Document) -> Happening {
    let revocation = revocations::read(document.get("_id"), document.get("until"));
    revocation.map_or(Happening::Unknown, Happening::Revoked)
}

/// Looks again and again. What this process changes itself is told at once by whoever changes it, and here once more.
pub(super) async fn run(database: Database, feed: Arc<Feed>) {
    let mut polled: Vec<Polled> = POLLED.iter().map(|(name, reader)| Polled::new(name, *reader)).collect();
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let mut happened = Vec::new();
        let mut outcome = Ok(());
        for collection in &mut polled {
            outcome = outcome.and(collection.look(&database, &mut happened).await);
        }
        if !happened.is_empty() {
            feed.push_next(happened);
        }
        if outcome.is_ok() {
            feed.heard().mark();
        }
        if std::mem::replace(&mut failing, outcome.is_err()) != outcome.is_err() {
            match outcome {
                Ok(()) => tracing::info!("MongoDB answers again"),
                Err(error) => tracing::warn!(%error, "cannot look for changes of other programs"),
            }
        }
    }
}

struct Polled {
    name: &'static str,
    reader: Reader,
    /// The newest time that was seen; `None` before the first look.
    newest: Option<DateTime>,
    /// What was seen of late: id and time.
    seen: HashSet<(String, i64)>,
}

impl Polled {
    fn new(name: &'static str, reader: Reader) -> Self {
        Self { name, reader, newest: None, seen: HashSet::new() }
    }

    async fn look(&mut self, database: &Database, happened: &mut Vec<Happening>) -> Result<(), StoreError> {
        let collection = database.collection::<Document>(self.name);
        let first_look = self.newest.is_none();
        if first_look {
            let newest =
                collection.find_one(doc! { "updated_at": { "$type": "date" } }).sort(doc! { "updated_at": -1 });
            let newest = super::bounded(newest).await?;
            let newest = newest.and_then(|document| document.get_datetime("updated_at").ok().copied());
            self.newest = Some(newest.unwrap_or(DateTime::from_millis(0)));
        }
        let newest = self.newest.map_or(0, DateTime::timestamp_millis);
        let since = newest.saturating_sub(OVERLAP_MILLIS);
        let find = collection
            .find(doc! { "updated_at": { "$gte": DateTime::from_millis(since) } })
            .projection(doc! { "updated_at": 1, "hash": 1, "revoked_at": 1, "until": 1 })
            .sort(doc! { "updated_at": 1 });
        let found: Vec<Document> = super::bounded(async { find.await?.try_collect().await }).await?;
        let mut seen = HashSet::with_capacity(found.len());
        for document in found {
            let Ok(at) = document.get_datetime("updated_at").copied() else { continue };
            let mark = (document.get("_id").map(Bson::to_string).unwrap_or_default(), at.timestamp_millis());
            if !first_look && !self.seen.contains(&mark) {
                happened.push((self.reader)(&document));
            }
            seen.insert(mark);
            self.newest = self.newest.max(Some(at));
        }
        self.seen = seen;
        Ok(())
    }
}

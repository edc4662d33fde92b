//! The collection of changes. An entry is written inside the transaction of the change it tells of, after it.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::{
    ClientSession,
    bson::{Bson, DateTime, Document, doc, oid::ObjectId},
};

use super::{
    MongoStore, bounded, schema,
    values::{Members, bson, date, json},
};
use crate::{
    domain::{AuditEntry, Timestamp},
    store::{AuditFilter, AuditStore, StoreError},
};

/// Writes an entry.
pub(super) async fn write(
    store: &MongoStore,
    session: &mut ClientSession,
    entry: &AuditEntry,
) -> Result<(), StoreError> {
    let entries = store.database.collection::<Document>(schema::AUDIT);
    bounded(entries.insert_one(document(entry)).session(session)).await.map(drop)
}

/// Writes several entries, if there are any.
pub(super) async fn write_all(
    store: &MongoStore,
    session: &mut ClientSession,
    all: &[AuditEntry],
) -> Result<(), StoreError> {
    if all.is_empty() {
        return Ok(());
    }
    let entries = store.database.collection::<Document>(schema::AUDIT);
    let all: Vec<Document> = all.iter().map(document).collect();
    bounded(entries.insert_many(all).session(session)).await.map(drop)
}

fn document(entry: &AuditEntry) -> Document {
    let mut document = doc! {
        "_id": ObjectId::new(),
        "at": date(entry.at),
        "actor": &entry.actor,
        "action": &entry.action,
        "subject": &entry.subject,
    };
    for (name, value) in [("before", &entry.before), ("after", &entry.after)] {
        if let Some(value) = value {
            document.insert(name, bson(value));
        }
    }
    if let Some(request) = &entry.request_id {
        document.insert("request_id", request);
    }
    document
}

/// What names an entry: its time and its id, by which entries are in order.
fn name(at: Timestamp, id: &str) -> String {
    format!("{}.{id}", at.millis())
}

fn read(document: Document) -> Result<(String, AuditEntry), StoreError> {
    let mut from = Members::new(schema::AUDIT, document);
    let id = from.id("_id")?;
    let mut text = |member| from.text(member).map(Option::unwrap_or_default);
    let (actor, action, subject) = (text("actor")?, text("action")?, text("subject")?);
    let entry = AuditEntry {
        at: from.moment("at")?.unwrap_or(Timestamp::from_millis(0)),
        actor,
        action,
        subject,
        before: from.take("before").map(json),
        after: from.take("after").map(json),
        request_id: from.text("request_id")?,
    };
    Ok((name(entry.at, &id), entry))
}

/// What comes after the entry that a text names; `None` where it names none.
fn older_than(text: &str) -> Option<Document> {
    let (at, id) = text.split_once('.')?;
    let (at, id) = (Bson::DateTime(DateTime::from_millis(at.parse().ok()?)), ObjectId::parse_str(id).ok()?);
    Some(doc! { "$or": [{ "at": { "$lt": at.clone() } }, { "at": at, "_id": { "$lt": id } }] })
}

#[async_trait]
impl AuditStore for MongoStore {
    async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, AuditEntry)>, StoreError> {
        let mut wanted = match after.map(older_than) {
            None => Document::new(),
            Some(Some(older)) => older,
            // A text that names no entry is followed by none.
            Some(None) => return Ok(Vec::new()),
        };
        for (name, value) in [("subject", &filter.subject), ("actor", &filter.actor)] {
            if let Some(value) = value {
                wanted.insert(name, value);
            }
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let entries = self.database.collection::<Document>(schema::AUDIT);
        let found = entries.find(wanted).sort(doc! { "at": -1, "_id": -1 }).limit(limit);
        let found: Vec<Document> = bounded(async { found.await?.try_collect().await }).await?;
        found.into_iter().map(read).collect()
    }
}

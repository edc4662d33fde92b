//! The collection of the policy, which has one document.

use async_trait::async_trait;
use mongodb::{
    ClientSession, Collection,
    bson::{Document, doc},
};

use super::{
    MongoStore, audit, bounded, schema,
    transaction::transaction,
    values::{Members, date},
};
use crate::{
    domain::{self, Stamp, Timestamp},
    store::{Conflict, KeptPolicy, PolicyStore, StoreError},
};

/// The `_id` of the document.
const ID: &str = "policy";

fn read(document: Document) -> Result<KeptPolicy, StoreError> {
    let mut from = Members::new(schema::POLICY, document);
    let version = version(&mut from)?;
    let text = from.text("text")?.ok_or_else(|| from.corrupt("text"))?;
    let at = from.moment("at")?.unwrap_or(Timestamp::from_millis(0));
    Ok(KeptPolicy { version, text, at, by: from.text("actor")?.unwrap_or_default() })
}

fn version(from: &mut Members<'_>) -> Result<u64, StoreError> {
    let version = from.number("version")?.and_then(|version| u64::try_from(version).ok());
    version.filter(|version| *version > 0).ok_or_else(|| from.corrupt("version"))
}

impl MongoStore {
    fn policies(&self) -> Collection<Document> {
        self.database.collection(schema::POLICY)
    }

    async fn put_policy_once(
        &self,
        session: &mut ClientSession,
        text: &str,
        expected: Option<u64>,
        stamp: &Stamp,
    ) -> Result<KeptPolicy, StoreError> {
        let found = bounded(self.policies().find_one(doc! { "_id": ID }).session(&mut *session)).await?;
        let former = found.map(read).transpose()?;
        let found = former.as_ref().map_or(0, |former| former.version);
        let changed = || StoreError::Conflict(Conflict::Revision);
        if expected.is_some_and(|expected| expected != found) {
            return Err(changed());
        }
        let version = found.saturating_add(1);
        let kept = KeptPolicy { version, text: text.to_owned(), at: stamp.at, by: stamp.actor.to_text() };
        let number = |version: u64| i64::try_from(version).unwrap_or(i64::MAX);
        let members = doc! { "version": number(version), "text": text, "at": date(kept.at), "actor": &kept.by };
        if former.is_none() {
            let mut first = doc! { "_id": ID };
            first.extend(members);
            match bounded(self.policies().insert_one(first).session(&mut *session)).await {
                // Another one was quicker.
                Err(StoreError::Conflict(_)) => return Err(changed()),
                inserted => inserted.map(drop)?,
            }
        } else {
            let same = doc! { "_id": ID, "version": number(found) };
            let policies = self.policies();
            let put = policies.update_one(same, doc! { "$set": members }).session(&mut *session);
            if bounded(put).await?.matched_count == 0 {
                return Err(changed());
            }
        }
        let shown = |kept: &KeptPolicy| domain::audit::policy(kept.version, &kept.text);
        let (before, after) = (former.as_ref().map(shown), shown(&kept));
        audit::write(self, session, &stamp.entry("policy.changed", "policy", before, Some(after))).await?;
        Ok(kept)
    }
}

#[async_trait]
impl PolicyStore for MongoStore {
    async fn policy_version(&self) -> Result<u64, StoreError> {
        let policies = self.policies();
        let found = bounded(policies.find_one(doc! { "_id": ID }).projection(doc! { "version": 1 })).await?;
        found.map_or(Ok(0), |found| version(&mut Members::new(schema::POLICY, found)))
    }

    async fn policy(&self) -> Result<Option<KeptPolicy>, StoreError> {
        bounded(self.policies().find_one(doc! { "_id": ID })).await?.map(read).transpose()
    }

    async fn put_policy(&self, text: &str, expected: Option<u64>, stamp: &Stamp) -> Result<KeptPolicy, StoreError> {
        let put = transaction!(self, |session| self.put_policy_once(session, text, expected, stamp));
        put.map(|(kept, _)| kept)
    }
}

//! The collection of revocations. What is revoked is a document's id, so that nothing is there twice.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::{
    ClientSession, Collection,
    bson::{Bson, Document, doc},
};
use tollgate_protocol::{Revocation, Revoked};

use super::{MongoStore, audit, bounded, schema, transaction::transaction, values::date};
use crate::{
    domain::{self, Happening, Stamp, Timestamp},
    store::{RevocationStore, StoreError},
};

/// The revocation of a document: its id and its end.
pub(super) fn read(id: Option<&Bson>, until: Option<&Bson>) -> Option<Revocation> {
    let (Some(Bson::Document(id)), Some(Bson::Int64(until))) = (id, until) else { return None };
    let word = id.get_str("what").ok()?;
    let kinds = [Revoked::Session, Revoked::Token, Revoked::Key];
    let issuer = id.get_str("issuer").ok()?;
    Some(Revocation {
        what: kinds.into_iter().find(|what| what.as_str() == word).unwrap_or(Revoked::Unknown),
        issuer: Some(issuer).filter(|issuer| !issuer.is_empty()).map(str::to_owned),
        id: id.get_str("id").ok()?.to_owned(),
        until: u64::try_from(*until).ok()?,
    })
}

fn seconds(now: Timestamp) -> i64 {
    i64::try_from(now.unix_seconds()).unwrap_or(i64::MAX)
}

impl MongoStore {
    fn revocations(&self) -> Collection<Document> {
        self.database.collection(schema::REVOCATIONS)
    }

    /// Writes a revocation and its entry in the log of changes.
    pub(super) async fn revoke_in(
        &self,
        session: &mut ClientSession,
        revocation: &Revocation,
        stamp: &Stamp,
    ) -> Result<(), StoreError> {
        let Revocation { what, issuer, id, until } = revocation;
        let issuer = issuer.as_deref().unwrap_or_default();
        let name = doc! { "_id": { "what": what.as_str(), "issuer": issuer, "id": id } };
        let until = i64::try_from(*until).unwrap_or(i64::MAX);
        let change = doc! { "$max": { "until": until }, "$set": { "updated_at": date(stamp.at) } };
        bounded(self.revocations().update_one(name, change).upsert(true).session(&mut *session)).await?;
        let after = domain::audit::revocation(revocation);
        audit::write(self, session, &stamp.entry(domain::audit::revoked(*what), id, None, Some(after))).await
    }
}

#[async_trait]
impl RevocationStore for MongoStore {
    async fn revoke(&self, revocation: &Revocation, stamp: &Stamp) -> Result<(), StoreError> {
        let ((), committed) = transaction!(self, |session| self.revoke_in(session, revocation, stamp))?;
        self.told(committed, Happening::Revoked(revocation.clone())).await;
        Ok(())
    }

    async fn revocations(&self, now: Timestamp) -> Result<Vec<Revocation>, StoreError> {
        let revocations = self.revocations();
        let found = revocations.find(doc! { "until": { "$gt": seconds(now) } }).sort(doc! { "until": 1 });
        let found: Vec<Document> = bounded(async { found.await?.try_collect().await }).await?;
        let unreadable = || StoreError::Corrupt(format!("collection {}: an unknown document", schema::REVOCATIONS));
        let one = |document: Document| read(document.get("_id"), document.get("until")).ok_or_else(unreadable);
        found.into_iter().map(one).collect()
    }

    async fn prune_revocations(&self, now: Timestamp) -> Result<u64, StoreError> {
        let gone = bounded(self.revocations().delete_many(doc! { "until": { "$lte": seconds(now) } })).await?;
        Ok(gone.deleted_count)
    }
}

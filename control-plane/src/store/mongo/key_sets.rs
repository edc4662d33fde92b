//! Last good key sets and own secrets.

use async_trait::async_trait;
use mongodb::{
    bson::{Binary, Bson, Document, doc, spec::BinarySubtype},
    error::Error as DriverError,
};
use zeroize::Zeroizing;

use super::{
    MongoStore, bounded, code, fault, schema,
    values::{Members, date},
};
use crate::{
    domain::Timestamp,
    store::{KeptKeySet, KeySetStore, StoreError},
};

#[async_trait]
impl KeySetStore for MongoStore {
    async fn key_set(&self, issuer: &str) -> Result<Option<KeptKeySet>, StoreError> {
        let sets = self.database.collection::<Document>(schema::KEY_SETS);
        let Some(found) = bounded(sets.find_one(doc! { "_id": issuer })).await? else { return Ok(None) };
        let mut from = Members::new(schema::KEY_SETS, found);
        let document = from.text("document")?.ok_or_else(|| from.corrupt("document"))?;
        let fetched_at = from.moment("fetched_at")?.unwrap_or(Timestamp::from_millis(0));
        Ok(Some(KeptKeySet { document, fetched_at }))
    }

    async fn keep_key_set(&self, issuer: &str, set: &KeptKeySet) -> Result<(), StoreError> {
        let sets = self.database.collection::<Document>(schema::KEY_SETS);
        let change = doc! { "$set": { "document": &set.document, "fetched_at": date(set.fetched_at) } };
        let not_newer = doc! { "_id": issuer, "fetched_at": { "$not": { "$gt": date(set.fetched_at) } } };
        let keep = || sets.update_one(not_newer.clone(), change.clone()).upsert(true);
        let taken = |error: &DriverError| code(error) == Some(schema::DUPLICATE_KEY);
        let mut kept = keep().await;
        // Two who both found nothing: the second one changes what the first one made.
        if kept.as_ref().is_err_and(taken) {
            kept = keep().await;
        }
        match kept {
            // A newer one is there.
            Err(error) if taken(&error) => Ok(()),
            other => other.map(drop).map_err(fault),
        }
    }

    async fn secret_or(&self, name: &str, fresh: &Zeroizing<[u8; 32]>) -> Result<Zeroizing<[u8; 32]>, StoreError> {
        let fresh = Binary { subtype: BinarySubtype::Generic, bytes: fresh.to_vec() };
        let kept = schema::value_or(&self.database, schema::SECRETS, name, Bson::Binary(fresh)).await?;
        let unreadable =
            || StoreError::Corrupt(format!("collection {}: a value of 32 bytes is wanted", schema::SECRETS));
        let Bson::Binary(kept) = kept else { return Err(unreadable()) };
        let bytes = Zeroizing::new(kept.bytes);
        <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new).map_err(|_| unreadable())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        bounded(self.database.run_command(doc! { "ping": 1 })).await.map(drop)
    }
}

//! The collection of API keys.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::{
    ClientSession,
    bson::{Bson, Document, doc},
};
use tollgate_protocol::KeyHash;

use super::{
    MongoStore, audit, bounded, documents, id_of,
    transaction::transaction,
    values::{any_id, date},
};
use crate::{
    domain::{self, ApiKey, Happening, KeyFilter, KeyId, KeyStanding, PageKey, Stamp, Timestamp, User, UserId},
    store::{Conflict, KeyStore, StoreError, UserStore as _},
};

/// The keys of a user that are not revoked. Null is also: not there.
fn usable_of(user: &UserId) -> Document {
    doc! { "user_id": any_id(user.as_str()), "revoked_at": Bson::Null }
}

impl MongoStore {
    async fn insert_key_once(
        &self,
        session: &mut ClientSession,
        key: &ApiKey,
        stamp: &Stamp,
    ) -> Result<(), StoreError> {
        let user = self.existing_user(session, &key.user_id).await?;
        let document = documents::from_key(key, id_of(&user));
        bounded(self.api_keys().insert_one(document).session(&mut *session)).await?;
        let after = domain::audit::key(key);
        audit::write(self, session, &stamp.entry("key.issued", key.id.as_str(), None, Some(after))).await
    }

    /// What has been rotated: the former key.
    async fn rotate_once(
        &self,
        session: &mut ClientSession,
        old: &KeyId,
        new: &ApiKey,
        ends: Timestamp,
        stamp: &Stamp,
    ) -> Result<ApiKey, StoreError> {
        let filter = doc! { "_id": any_id(old.as_str()), "user_id": any_id(new.user_id.as_str()) };
        let found = bounded(self.api_keys().find_one(filter).session(&mut *session)).await?;
        let found = found.ok_or(StoreError::NotFound)?;
        let condition = doc! { "_id": id_of(&found), "revoked_at": Bson::Null };
        let mut key = documents::key(found)?;
        if key.standing(stamp.at) != KeyStanding::Good {
            return Err(StoreError::Conflict(Conflict::KeyEnded));
        }
        // The new one first: where there are no transactions, a failure in between leaves two keys, never none.
        self.insert_key_once(session, new, stamp).await?;
        let before = domain::audit::key(&key);
        let ends = key.expires_at.map_or(ends, |by_itself| by_itself.min(ends));
        key.expires_at = Some(ends);
        let set = doc! { "$set": { "expires_at": date(ends), "updated_at": date(stamp.at) } };
        bounded(self.api_keys().update_one(condition, set).session(&mut *session)).await?;
        let after = domain::audit::key(&key);
        let entry = stamp.entry("key.rotated", key.id.as_str(), Some(before), Some(after));
        audit::write(self, session, &entry).await?;
        Ok(key)
    }

    /// The key, and whether it was revoked just now.
    async fn revoke_once(
        &self,
        session: &mut ClientSession,
        user: &UserId,
        id: &KeyId,
        stamp: &Stamp,
    ) -> Result<(ApiKey, bool), StoreError> {
        let filter = doc! { "_id": any_id(id.as_str()), "user_id": any_id(user.as_str()) };
        let found = bounded(self.api_keys().find_one(filter).session(&mut *session)).await?;
        let found = found.ok_or(StoreError::NotFound)?;
        let condition = doc! { "_id": id_of(&found), "revoked_at": Bson::Null };
        let mut key = documents::key(found)?;
        if key.revoked_at.is_some() {
            return Ok((key, false));
        }
        let set = doc! { "$set": { "revoked_at": date(stamp.at), "updated_at": date(stamp.at) } };
        // Should somebody else have been quicker, where there are no transactions, their time stays.
        bounded(self.api_keys().update_one(condition, set).session(&mut *session)).await?;
        let before = domain::audit::key(&key);
        key.revoked_at = Some(stamp.at);
        let after = domain::audit::key(&key);
        let entry = stamp.entry("key.revoked", key.id.as_str(), Some(before), Some(after));
        audit::write(self, session, &entry).await?;
        Ok((key, true))
    }
}

#[async_trait]
impl KeyStore for MongoStore {
    async fn insert_key(&self, key: &ApiKey, stamp: &Stamp) -> Result<(), StoreError> {
        let ((), committed) = transaction!(self, |session| self.insert_key_once(session, key, stamp))?;
        self.told(committed, Happening::Key(key.hash)).await;
        Ok(())
    }

    /// The key first: a user who is changed in between is told by the feed, after the place that the answer names.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Option<User>)>, StoreError> {
        let (mut session, keys) = (self.session().await?, self.api_keys());
        let found = keys.find_one(doc! { "hash": hash.to_string() }).session(&mut session);
        let Some(found) = bounded(found).await? else { return Ok(None) };
        let key = documents::key(found)?;
        let user = self.user(&key.user_id).await?;
        Ok(Some((key, user)))
    }

    async fn keys_of(&self, user: &UserId) -> Result<Vec<ApiKey>, StoreError> {
        let keys = self.api_keys();
        let found = keys.find(usable_of(user)).sort(doc! { "created_at": 1, "_id": 1 });
        let found: Vec<Document> = bounded(async { found.await?.try_collect().await }).await?;
        found.into_iter().map(documents::key).collect()
    }

    async fn key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError> {
        let found = bounded(self.api_keys().find_one(doc! { "_id": any_id(id.as_str()) })).await?;
        found.map(documents::key).transpose()
    }

    async fn keys(&self, filter: &KeyFilter, after: Option<&PageKey>, limit: usize) -> Result<Vec<ApiKey>, StoreError> {
        self.search_keys(filter, after, limit).await
    }

    async fn rotate_key(&self, old: &KeyId, new: &ApiKey, ends: Timestamp, stamp: &Stamp) -> Result<(), StoreError> {
        let (former, committed) = transaction!(self, |session| self.rotate_once(session, old, new, ends, stamp))?;
        self.told(committed, Happening::Key(former.hash)).await;
        self.told(committed, Happening::Key(new.hash)).await;
        Ok(())
    }

    async fn count_keys(&self, user: &UserId) -> Result<u64, StoreError> {
        bounded(self.api_keys().count_documents(usable_of(user))).await
    }

    async fn revoke_key(&self, user: &UserId, key: &KeyId, stamp: &Stamp) -> Result<ApiKey, StoreError> {
        let ((key, news), committed) = transaction!(self, |session| self.revoke_once(session, user, key, stamp))?;
        if news {
            self.told(committed, Happening::KeyRevoked(key.hash)).await;
        }
        Ok(key)
    }
}

//! Many users and keys of a file, in one transaction.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::{TryStreamExt as _, future::BoxFuture};
use mongodb::{
    ClientSession,
    bson::{Bson, Document, doc},
};

use super::{
    MongoStore, audit, bounded, documents, id_of,
    transaction::transaction,
    values::{id_forms, id_text},
};
use crate::{
    domain::{self, ApiKey, Email, Happening, ImportedUser, Stamp, User},
    store::{
        Conflict, ImportStore, Imported, StoreError,
        import::{Plan, plan},
    },
};

/// Members that an update of ours never touches: the id, and what is the ledger's.
const NOT_OURS: [&str; 3] = ["_id", "tokens_remaining", "tokens_used"];

/// What a set of changes did, and of what the feed is to tell.
type Outcome = (Vec<Imported>, Vec<Happening>);

impl MongoStore {
    async fn documents_of(
        &self,
        session: &mut ClientSession,
        collection: &str,
        wanted: Document,
    ) -> Result<Vec<Document>, StoreError> {
        let collection = self.database.collection::<Document>(collection);
        let found = async {
            let mut cursor = collection.find(wanted).session(&mut *session).await?;
            cursor.stream(session).try_collect().await
        };
        bounded(found).await
    }

    /// Everybody who has the id, the address or the Clerk id of one of them, each with the id as it was found.
    async fn alike(
        &self,
        session: &mut ClientSession,
        users: &[ImportedUser],
    ) -> Result<(Vec<User>, BTreeMap<String, Bson>), StoreError> {
        let ids: Vec<Bson> = users.iter().flat_map(|one| id_forms(one.user.id.as_str())).collect();
        let emails: Vec<&str> = users.iter().filter_map(|one| one.user.email.as_ref().map(Email::as_str)).collect();
        let clerks: Vec<&str> =
            users.iter().filter_map(|one| one.user.clerk.as_ref().map(|clerk| clerk.id.as_str())).collect();
        // One question for each index.
        let mut found = BTreeMap::new();
        for (member, values) in [("_id", ids), ("email", bson_texts(emails)), ("clerk_id", bson_texts(clerks))] {
            if values.is_empty() {
                continue;
            }
            for document in self.documents_of(session, documents::USERS, doc! { member: { "$in": values } }).await? {
                found.insert(id_of(&document).to_string(), document);
            }
        }
        let ids = found.values().filter_map(|document| Some((id_text(&id_of(document))?, id_of(document))));
        let ids = ids.collect();
        let users = found.into_values().map(documents::user).collect::<Result<_, _>>()?;
        Ok((users, ids))
    }

    /// Boxed, like the one for keys: the compiler cannot see through a stream of the driver that it may be sent.
    fn import_users_once<'a>(
        &'a self,
        session: &'a mut ClientSession,
        users: &'a [ImportedUser],
        update: bool,
        stamp: &'a Stamp,
    ) -> BoxFuture<'a, Result<Outcome, StoreError>> {
        Box::pin(self.take_users(session, users, update, stamp))
    }

    fn import_keys_once<'a>(
        &'a self,
        session: &'a mut ClientSession,
        keys: &'a [ApiKey],
        stamp: &'a Stamp,
    ) -> BoxFuture<'a, Result<Outcome, StoreError>> {
        Box::pin(self.take_keys(session, keys, stamp))
    }

    async fn take_users(
        &self,
        session: &mut ClientSession,
        users: &[ImportedUser],
        update: bool,
        stamp: &Stamp,
    ) -> Result<Outcome, StoreError> {
        let (there, ids) = self.alike(session, users).await?;
        let (mut outcomes, mut told) = (Vec::with_capacity(users.len()), Vec::new());
        let (mut added, mut entries) = (Vec::new(), Vec::new());
        for imported in users {
            let user = &imported.user;
            outcomes.push(match plan(imported, &there, update, stamp.at) {
                Plan::Leave => Imported::Unchanged,
                Plan::Refuse(conflict) => Imported::Refused(conflict),
                Plan::Add if self.is_gone(session, None, user).await? => Imported::Refused(Conflict::ClerkDeleted),
                Plan::Change(change) if self.is_gone(session, Some(&change.0), &change.1).await? => {
                    Imported::Refused(Conflict::ClerkDeleted)
                }
                Plan::Add => {
                    added.push(documents::from_user(user));
                    let after = domain::audit::imported_user(user);
                    entries.push(stamp.entry("user.imported", user.id.as_str(), None, Some(after)));
                    told.push(Happening::User(user.id.clone()));
                    Imported::Added
                }
                Plan::Change(change) => {
                    let (before, after) = &*change;
                    let id = ids.get(before.id.as_str()).cloned().unwrap_or(Bson::Null);
                    match self.change_user(session, &id, before, after).await {
                        Ok(()) => {
                            let (was, is) = (domain::audit::user(before), domain::audit::user(after));
                            entries.push(stamp.entry("user.changed", before.id.as_str(), Some(was), Some(is)));
                            told.push(Happening::User(before.id.clone()));
                            Imported::Updated
                        }
                        Err(StoreError::Conflict(Conflict::LastAdmin)) => Imported::Refused(Conflict::LastAdmin),
                        Err(error) => return Err(error),
                    }
                }
            });
        }
        if !added.is_empty() {
            bounded(self.users().insert_many(added).session(&mut *session)).await?;
        }
        audit::write_all(self, session, &entries).await?;
        Ok((outcomes, told))
    }

    /// Whether it would link somebody to a Clerk user who is gone.
    async fn is_gone(
        &self,
        session: &mut ClientSession,
        before: Option<&User>,
        after: &User,
    ) -> Result<bool, StoreError> {
        match &after.clerk {
            Some(identity) if before.is_none_or(|before| before.clerk != after.clerk) => {
                match self.exists_at_clerk(session, identity).await {
                    Err(StoreError::Conflict(Conflict::ClerkDeleted)) => Ok(true),
                    Ok(()) => self.met(session, identity).await.map(|()| false),
                    Err(error) => Err(error),
                }
            }
            _ => Ok(false),
        }
    }

    /// Sets what differs, member by member.
    async fn change_user(
        &self,
        session: &mut ClientSession,
        id: &Bson,
        before: &User,
        after: &User,
    ) -> Result<(), StoreError> {
        if before.is_acting_admin() && !after.is_acting_admin() {
            self.another_admin(session, id).await?;
        }
        if before.is_active != after.is_active {
            self.decided_here(session, after).await?;
        }
        let was = documents::from_user(before);
        let differs =
            |(name, value): &(String, Bson)| !NOT_OURS.contains(&name.as_str()) && was.get(name) != Some(value);
        let set: Document = documents::from_user(after).into_iter().filter(differs).collect();
        let users = self.users();
        let change = users.update_one(doc! { "_id": id }, doc! { "$set": set });
        match bounded(change.session(session)).await?.matched_count {
            0 => Err(StoreError::Conflict(Conflict::Revision)),
            _ => Ok(()),
        }
    }

    async fn take_keys(
        &self,
        session: &mut ClientSession,
        keys: &[ApiKey],
        stamp: &Stamp,
    ) -> Result<Outcome, StoreError> {
        let hashes: Vec<String> = keys.iter().map(|key| key.hash.to_string()).collect();
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let alike = doc! { "$or": [{ "hash": { "$in": hashes } }, { "_id": { "$in": ids } }] };
        let there = self.documents_of(session, documents::API_KEYS, alike).await?;
        let there = there.into_iter().map(documents::key).collect::<Result<Vec<_>, _>>()?;
        let owners: Vec<Bson> = keys.iter().flat_map(|key| id_forms(key.user_id.as_str())).collect();
        let owners = self.documents_of(session, documents::USERS, doc! { "_id": { "$in": owners } }).await?;
        let owners: BTreeMap<String, Bson> =
            owners.iter().filter_map(|user| Some((id_text(&id_of(user))?, id_of(user)))).collect();
        let (mut outcomes, mut told) = (Vec::with_capacity(keys.len()), Vec::new());
        let (mut added, mut entries) = (Vec::new(), Vec::new());
        for key in keys {
            let same_hash = there.iter().find(|other| other.hash == key.hash);
            outcomes.push(match (same_hash, owners.get(key.user_id.as_str())) {
                (Some(other), _) if other.user_id == key.user_id => Imported::Unchanged,
                (Some(_), _) => Imported::Refused(Conflict::KeyHash),
                (None, None) => Imported::NoUser,
                (None, _) if there.iter().any(|other| other.id == key.id) => Imported::Refused(Conflict::Id),
                (None, Some(owner)) => {
                    added.push(documents::from_key(key, owner.clone()));
                    let after = domain::audit::key(key);
                    entries.push(stamp.entry("key.imported", key.id.as_str(), None, Some(after)));
                    told.push(Happening::Key(key.hash));
                    Imported::Added
                }
            });
        }
        if !added.is_empty() {
            bounded(self.api_keys().insert_many(added).session(&mut *session)).await?;
        }
        audit::write_all(self, session, &entries).await?;
        Ok((outcomes, told))
    }

    /// The change stream tells of everything by itself; where there is none, each one is told here.
    async fn told_all(&self, committed: Option<mongodb::bson::Timestamp>, mut told: Vec<Happening>) {
        if self.is_replicated() {
            told.truncate(1);
        }
        for happening in told {
            self.told(committed, happening).await;
        }
    }
}

fn bson_texts(texts: Vec<&str>) -> Vec<Bson> {
    texts.into_iter().map(Bson::from).collect()
}

#[async_trait]
impl ImportStore for MongoStore {
    async fn import_users(
        &self,
        users: &[ImportedUser],
        update: bool,
        stamp: &Stamp,
    ) -> Result<Vec<Imported>, StoreError> {
        let ((outcomes, told), committed) =
            transaction!(self, |session| self.import_users_once(session, users, update, stamp))?;
        self.told_all(committed, told).await;
        Ok(outcomes)
    }

    async fn import_keys(&self, keys: &[ApiKey], stamp: &Stamp) -> Result<Vec<Imported>, StoreError> {
        let ((outcomes, told), committed) = transaction!(self, |session| self.import_keys_once(session, keys, stamp))?;
        self.told_all(committed, told).await;
        Ok(outcomes)
    }
}

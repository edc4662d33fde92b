//! The collections of deliveries that were taken and of what Clerk last said of its users. Without transactions, what an
//! event changes is written before it counts as taken: taking it again changes nothing more.

use async_trait::async_trait;
use mongodb::{
    ClientSession, Collection,
    bson::{Bson, Document, doc},
};

use super::{
    MongoStore, audit, bounded, documents, id_of, schema,
    transaction::transaction,
    users::{by_clerk, by_email},
    values::{Members, date},
};
use crate::{
    domain::{
        self, ClerkIdentity, Happening, Stamp, Timestamp, User, UserId,
        clerk::{self, ClerkEvent, ClerkNews, ClerkOutcome, ClerkProfile, ClerkRecord, Found, Plan},
    },
    store::{Conflict, StoreError, WebhookStore},
};

fn name(identity: &ClerkIdentity) -> Document {
    doc! { "_id": { "issuer": &identity.issuer, "id": &identity.id } }
}

fn read(document: Document) -> Result<ClerkRecord, StoreError> {
    let mut from = Members::new(schema::CLERK_USERS, document);
    Ok(ClerkRecord {
        updated_at: from.moment("updated_at")?,
        deleted_at: from.moment("deleted_at")?,
        name: from.text("name")?,
        image: from.text("image")?,
        barred: from.truth("barred")?.unwrap_or(false),
    })
}

fn written(record: &ClerkRecord) -> Document {
    let moment = |moment: Option<Timestamp>| moment.map_or(Bson::Null, date);
    doc! {
        "updated_at": moment(record.updated_at),
        "deleted_at": moment(record.deleted_at),
        "name": record.name.as_deref(),
        "image": record.image.as_deref(),
        "barred": record.barred,
    }
}

impl MongoStore {
    fn clerk_users(&self) -> Collection<Document> {
        self.database.collection(schema::CLERK_USERS)
    }

    fn deliveries(&self) -> Collection<Document> {
        self.database.collection(schema::DELIVERIES)
    }

    async fn record_in(
        &self,
        session: &mut ClientSession,
        identity: &ClerkIdentity,
    ) -> Result<ClerkRecord, StoreError> {
        let found = bounded(self.clerk_users().find_one(name(identity)).session(session)).await?;
        Ok(found.map(read).transpose()?.unwrap_or_default())
    }

    /// Writes what is remembered. The turn makes it a change in any case: of two transactions about one Clerk user, which
    /// might otherwise not see each other, the later one begins anew.
    async fn remember_in(
        &self,
        session: &mut ClientSession,
        identity: &ClerkIdentity,
        set: Document,
    ) -> Result<(), StoreError> {
        let mut change = doc! { "$inc": { "turn": 1_i64 } };
        if !set.is_empty() {
            change.insert("$set", set);
        }
        bounded(self.clerk_users().update_one(name(identity), change).upsert(true).session(session)).await.map(drop)
    }

    /// Makes sure that Clerk has not said that the user is gone. Whoever goes on calls [`Self::met`] at the end.
    pub(super) async fn exists_at_clerk(
        &self,
        session: &mut ClientSession,
        identity: &ClerkIdentity,
    ) -> Result<(), StoreError> {
        match self.record_in(session, identity).await?.deleted_at {
            Some(_) => Err(StoreError::Conflict(Conflict::ClerkDeleted)),
            None => Ok(()),
        }
    }

    /// Makes sure that Clerk does not say at this moment that the user is gone. The last step of a transaction: of many
    /// first sign-ins of one person, those that are too late find that out by reading, and are in nobody's way.
    pub(super) async fn met(&self, session: &mut ClientSession, identity: &ClerkIdentity) -> Result<(), StoreError> {
        self.remember_in(session, identity, Document::new()).await
    }

    /// Notes that somebody here has decided whether an account may be used: from then on Clerk does not take that back.
    pub(super) async fn decided_here(&self, session: &mut ClientSession, user: &User) -> Result<(), StoreError> {
        let Some(identity) = &user.clerk else { return Ok(()) };
        let set = doc! { "$set": { "barred": false } };
        bounded(self.clerk_users().update_one(name(identity), set).session(session)).await.map(drop)
    }

    async fn linked_in(
        &self,
        session: &mut ClientSession,
        identity: &ClerkIdentity,
    ) -> Result<Option<(Bson, User)>, StoreError> {
        let Some(found) = self.find_user_in(session, by_clerk(identity)).await? else { return Ok(None) };
        Ok(Some((id_of(&found), documents::user(found)?)))
    }

    async fn write_change(
        &self,
        session: &mut ClientSession,
        action: &str,
        id: Bson,
        (before, after): (&User, &User),
        stamp: &Stamp,
    ) -> Result<(), StoreError> {
        let change = documents::from_clerk(before, after, stamp.at);
        let users = self.users();
        if bounded(users.update_one(doc! { "_id": id }, change).session(&mut *session)).await?.matched_count == 0 {
            return Err(StoreError::NotFound);
        }
        let (was, is) = (domain::audit::user(before), domain::audit::user(after));
        audit::write(self, session, &stamp.entry(action, after.id.as_str(), Some(was), Some(is))).await
    }

    async fn profile_in(
        &self,
        session: &mut ClientSession,
        profile: &ClerkProfile,
        fresh: &UserId,
        stamp: &Stamp,
    ) -> Result<ClerkOutcome, StoreError> {
        let identity = &profile.identity;
        let record = self.record_in(session, identity).await?;
        let (linked_id, linked) = self.linked_in(session, identity).await?.unzip();
        let holder = match &profile.email {
            Some(email) => self.find_user_in(session, by_email(email)).await?,
            None => None,
        };
        let id = linked_id.or_else(|| holder.as_ref().map(id_of));
        let found = Found { record, linked, holder: holder.map(documents::user).transpose()? };
        match clerk::plan(profile, found, fresh, stamp.at) {
            Plan::Nothing(outcome) => Ok(outcome),
            Plan::Remember(record) => {
                self.remember_in(session, identity, written(&record)).await?;
                Ok(ClerkOutcome::Unchanged)
            }
            Plan::Create(user, record) => {
                self.create_in(session, &user, stamp).await?;
                self.remember_in(session, identity, written(&record)).await?;
                Ok(ClerkOutcome::Created(user.id))
            }
            Plan::Change { before, after, record, outcome } => {
                let action = if before.clerk.is_none() { "user.linked" } else { "user.changed" };
                let id = id.unwrap_or(Bson::Null);
                self.write_change(session, action, id, (&before, &after), stamp).await?;
                self.remember_in(session, identity, written(&record)).await?;
                Ok(outcome)
            }
        }
    }

    async fn deleted_in(
        &self,
        session: &mut ClientSession,
        identity: &ClerkIdentity,
        stamp: &Stamp,
    ) -> Result<ClerkOutcome, StoreError> {
        if self.record_in(session, identity).await?.deleted_at.is_some() {
            return Ok(ClerkOutcome::Unchanged);
        }
        let outcome = match self.linked_in(session, identity).await? {
            Some((id, user)) => {
                self.write_change(session, "user.closed", id, (&user, &clerk::close(&user)), stamp).await?;
                ClerkOutcome::Closed(user.id)
            }
            None => ClerkOutcome::Unchanged,
        };
        let gone = ClerkRecord { deleted_at: Some(stamp.at), ..ClerkRecord::default() };
        self.remember_in(session, identity, written(&gone)).await?;
        Ok(outcome)
    }

    async fn take_once(
        &self,
        session: &mut ClientSession,
        event: &ClerkEvent,
        fresh: &UserId,
        stamp: &Stamp,
    ) -> Result<ClerkOutcome, StoreError> {
        let delivery = doc! { "_id": { "issuer": &event.issuer, "id": &event.delivery } };
        if bounded(self.deliveries().find_one(delivery.clone()).session(&mut *session)).await?.is_some() {
            return Ok(ClerkOutcome::Doubled);
        }
        let outcome = match &event.news {
            ClerkNews::Profile(profile) => self.profile_in(session, profile, fresh, stamp).await?,
            ClerkNews::Deleted(identity) => self.deleted_in(session, identity, stamp).await?,
            ClerkNews::Ended(revocation) => {
                self.revoke_in(session, revocation, stamp).await?;
                ClerkOutcome::Ended
            }
        };
        let mut taken = delivery;
        taken.insert("at", date(stamp.at));
        bounded(self.deliveries().insert_one(taken).session(session)).await?;
        Ok(outcome)
    }
}

#[async_trait]
impl WebhookStore for MongoStore {
    async fn take_event(&self, event: &ClerkEvent, fresh: &UserId, stamp: &Stamp) -> Result<ClerkOutcome, StoreError> {
        let (outcome, committed) = transaction!(self, |session| self.take_once(session, event, fresh, stamp))?;
        let happening = match (&outcome, &event.news) {
            (
                ClerkOutcome::Created(user)
                | ClerkOutcome::Linked(user)
                | ClerkOutcome::Changed { user, .. }
                | ClerkOutcome::Closed(user),
                _,
            ) => Some(Happening::User(user.clone())),
            (ClerkOutcome::Ended, ClerkNews::Ended(revocation)) => Some(Happening::Revoked(revocation.clone())),
            _ => None,
        };
        if let Some(happening) = happening {
            self.told(committed, happening).await;
        }
        Ok(outcome)
    }

    async fn clerk_record(&self, identity: &ClerkIdentity) -> Result<Option<ClerkRecord>, StoreError> {
        bounded(self.clerk_users().find_one(name(identity))).await?.map(read).transpose()
    }

    async fn prune_deliveries(&self, before: Timestamp) -> Result<u64, StoreError> {
        let gone = bounded(self.deliveries().delete_many(doc! { "at": { "$lt": date(before) } })).await?;
        Ok(gone.deleted_count)
    }
}

//! The collection of users.

use async_trait::async_trait;
use mongodb::{
    ClientSession,
    bson::{Bson, Document, doc},
};
use tollgate_protocol::Cursor;

use super::{
    MongoStore, audit, bounded, documents, id_of, meta,
    transaction::transaction,
    values::{any_id, date},
};
use crate::{
    domain::{
        self, ClerkIdentity, Email, Happening, PageKey, Revision, Role, Stamp, User, UserFilter, UserId, UserPatch,
    },
    store::{Conflict, StoreError, UserStore},
};

fn by_id(id: &UserId) -> Document {
    doc! { "_id": any_id(id.as_str()) }
}

pub(super) fn by_email(email: &Email) -> Document {
    doc! { "email": email.as_str() }
}

/// Also a document that names no issuer, written by a program that knows one only.
pub(super) fn by_clerk(identity: &ClerkIdentity) -> Document {
    doc! { "clerk_id": &identity.id, "clerk_issuer": { "$in": [&identity.issuer, Bson::Null, ""] } }
}

impl MongoStore {
    pub(super) async fn find_user(&self, filter: Document) -> Result<Option<Document>, StoreError> {
        let mut session = self.session().await?;
        self.find_user_in(&mut session, filter).await
    }

    pub(super) async fn find_user_in(
        &self,
        session: &mut ClientSession,
        filter: Document,
    ) -> Result<Option<Document>, StoreError> {
        bounded(self.users().find_one(filter).session(session)).await
    }

    /// The document of a user that is there.
    pub(super) async fn existing_user(&self, session: &mut ClientSession, id: &UserId) -> Result<Document, StoreError> {
        self.find_user_in(session, by_id(id)).await?.ok_or(StoreError::NotFound)
    }

    async fn insert_once(&self, session: &mut ClientSession, user: &User, stamp: &Stamp) -> Result<(), StoreError> {
        let Some(identity) = &user.clerk else { return self.create_in(session, user, stamp).await };
        self.exists_at_clerk(session, identity).await?;
        self.create_in(session, user, stamp).await?;
        self.met(session, identity).await
    }

    pub(super) async fn create_in(
        &self,
        session: &mut ClientSession,
        user: &User,
        stamp: &Stamp,
    ) -> Result<(), StoreError> {
        // What the index does not see: an account with this Clerk id and no issuer.
        if let Some(identity) = &user.clerk
            && self.find_user_in(session, by_clerk(identity)).await?.is_some()
        {
            return Err(StoreError::Conflict(Conflict::ClerkIdentity));
        }
        bounded(self.users().insert_one(documents::from_user(user)).session(&mut *session)).await?;
        let after = domain::audit::user(user);
        audit::write(self, session, &stamp.entry("user.created", user.id.as_str(), None, Some(after))).await
    }

    async fn link_once(
        &self,
        session: &mut ClientSession,
        email: &Email,
        identity: &ClerkIdentity,
        stamp: &Stamp,
    ) -> Result<User, StoreError> {
        let found = self.find_user_in(session, by_email(email)).await?.ok_or(StoreError::NotFound)?;
        let mut user = documents::user(found.clone())?;
        if !user.may_be_linked() {
            return Err(StoreError::Conflict(Conflict::NotLinkable));
        }
        if self.find_user_in(session, by_clerk(identity)).await?.is_some() {
            return Err(StoreError::Conflict(Conflict::ClerkIdentity));
        }
        self.exists_at_clerk(session, identity).await?;
        // A transaction holds what was read against others; without one, these conditions do. Null is also: not there.
        let as_found = |member| found.get(member).cloned().unwrap_or(Bson::Null);
        let condition = doc! {
            "_id": id_of(&found),
            "email": as_found("email"),
            "email_verified": as_found("email_verified"),
            "clerk_id": as_found("clerk_id"),
            "role": as_found("role"),
        };
        let set = doc! {
            "clerk_issuer": &identity.issuer, "clerk_id": &identity.id, "updated_at": date(stamp.at),
        };
        let changed = bounded(self.users().update_one(condition, doc! { "$set": set }).session(&mut *session)).await?;
        if changed.matched_count == 0 {
            return Err(StoreError::Conflict(Conflict::NotLinkable));
        }
        let before = domain::audit::user(&user);
        user.clerk = Some(identity.clone());
        user.updated_at = stamp.at;
        let after = domain::audit::user(&user);
        let entry = stamp.entry("user.linked", user.id.as_str(), Some(before), Some(after));
        audit::write(self, session, &entry).await?;
        self.met(session, identity).await?;
        Ok(user)
    }

    async fn update_once(
        &self,
        session: &mut ClientSession,
        id: &UserId,
        patch: &UserPatch,
        expected: Option<&Revision>,
        stamp: &Stamp,
    ) -> Result<User, StoreError> {
        let found = self.existing_user(session, id).await?;
        let found_id = id_of(&found);
        let mut user = documents::user(found)?;
        if expected.is_some_and(|expected| *expected != user.revision()) {
            return Err(StoreError::Conflict(Conflict::Revision));
        }
        let (before, was_admin) = (domain::audit::user(&user), user.is_acting_admin());
        patch.clone().apply(&mut user, stamp.at);
        if was_admin && !user.is_acting_admin() {
            self.another_admin(session, &found_id).await?;
        }
        let users = self.users();
        let change = users.update_one(doc! { "_id": found_id }, documents::from_patch(patch, stamp.at));
        if bounded(change.session(&mut *session)).await?.matched_count == 0 {
            return Err(StoreError::NotFound);
        }
        if patch.is_active.is_some() {
            self.decided_here(session, &user).await?;
        }
        let after = domain::audit::user(&user);
        let entry = stamp.entry("user.changed", user.id.as_str(), Some(before), Some(after));
        audit::write(self, session, &entry).await?;
        Ok(user)
    }

    /// Two transactions that take the role from two administrators see each other still there. So both write one
    /// document, and the later one begins anew.
    pub(super) async fn another_admin(&self, session: &mut ClientSession, id: &Bson) -> Result<(), StoreError> {
        let guard = meta(&self.database);
        let touch = guard.update_one(doc! { "_id": "admins" }, doc! { "$inc": { "removals": 1 } }).upsert(true);
        bounded(touch.session(&mut *session)).await?;
        let acting = doc! { "role": Role::Admin.as_str(), "is_active": { "$ne": false }, "_id": { "$ne": id } };
        let other = bounded(self.users().find_one(acting).session(session)).await?;
        other.map(drop).ok_or(StoreError::Conflict(Conflict::LastAdmin))
    }
}

#[async_trait]
impl UserStore for MongoStore {
    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        self.find_user(by_id(id)).await?.map(documents::user).transpose()
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        self.find_user(by_email(email)).await?.map(documents::user).transpose()
    }

    async fn user_by_clerk(&self, identity: &ClerkIdentity) -> Result<Option<User>, StoreError> {
        let found = self.find_user(by_clerk(identity)).await?.map(documents::user).transpose()?;
        Ok(found.map(|user| User { clerk: Some(identity.clone()), ..user }))
    }

    async fn insert_user(&self, user: &User, stamp: &Stamp) -> Result<Cursor, StoreError> {
        let ((), committed) = transaction!(self, |session| self.insert_once(session, user, stamp))?;
        Ok(self.told(committed, Happening::User(user.id.clone())).await)
    }

    async fn link_clerk(
        &self,
        email: &Email,
        identity: &ClerkIdentity,
        stamp: &Stamp,
    ) -> Result<(User, Cursor), StoreError> {
        let (user, committed) = transaction!(self, |session| self.link_once(session, email, identity, stamp))?;
        let place = self.told(committed, Happening::User(user.id.clone())).await;
        Ok((user, place))
    }

    async fn update_user(
        &self,
        id: &UserId,
        patch: &UserPatch,
        expected: Option<&Revision>,
        stamp: &Stamp,
    ) -> Result<User, StoreError> {
        let (user, committed) = transaction!(self, |session| self.update_once(session, id, patch, expected, stamp))?;
        self.told(committed, Happening::User(user.id.clone())).await;
        Ok(user)
    }
    async fn users(&self, filter: &UserFilter, after: Option<&PageKey>, limit: usize) -> Result<Vec<User>, StoreError> {
        self.search_users(filter, after, limit).await
    }
}

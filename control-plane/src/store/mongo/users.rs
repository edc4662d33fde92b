//! The collection of users.

use async_trait::async_trait;
use mongodb::{
    ClientSession,
    bson::{Bson, Document, doc},
};
use tollgate_protocol::Cursor;

use super::{
    MongoStore, audit, bounded, documents, id_of,
    transaction::transaction,
    values::{any_id, date},
};
use crate::{
    domain::{self, ClerkIdentity, Email, Happening, Stamp, User, UserId, UserPatch},
    store::{Conflict, StoreError, UserStore},
};

fn by_id(id: &UserId) -> Document {
    doc! { "_id": any_id(id.as_str()) }
}

fn by_email(email: &Email) -> Document {
    doc! { "email": email.as_str() }
}

/// Also a document that names no issuer, written by a program that knows one only.
fn by_clerk(identity: &ClerkIdentity) -> Document {
    doc! { "clerk_id": &identity.id, "clerk_issuer": { "$in": [&identity.issuer, Bson::Null, ""] } }
}

impl MongoStore {
    pub(super) async fn find_user(&self, filter: Document) -> Result<Option<Document>, StoreError> {
        bounded(self.users().find_one(filter)).await
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
        Ok(user)
    }

    async fn update_once(
        &self,
        session: &mut ClientSession,
        id: &UserId,
        patch: &UserPatch,
        stamp: &Stamp,
    ) -> Result<User, StoreError> {
        let found = self.existing_user(session, id).await?;
        let found_id = id_of(&found);
        let mut user = documents::user(found)?;
        let before = domain::audit::user(&user);
        let mut set = doc! { "updated_at": date(stamp.at) };
        user.updated_at = stamp.at;
        if let Some(name) = &patch.name {
            set.insert("name", name);
            user.name = Some(name.clone());
        }
        if let Some(role) = patch.role {
            set.insert("role", role.as_str());
            user.role = role;
        }
        if let Some(is_active) = patch.is_active {
            set.insert("is_active", is_active);
            user.is_active = is_active;
        }
        if let Some(subscription) = patch.subscription {
            set.insert("subscription", subscription.as_str());
            user.subscription = subscription;
        }
        let users = self.users();
        let change = users.update_one(doc! { "_id": found_id }, doc! { "$set": set });
        if bounded(change.session(&mut *session)).await?.matched_count == 0 {
            return Err(StoreError::NotFound);
        }
        let after = domain::audit::user(&user);
        let entry = stamp.entry("user.changed", user.id.as_str(), Some(before), Some(after));
        audit::write(self, session, &entry).await?;
        Ok(user)
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

    async fn update_user(&self, id: &UserId, patch: &UserPatch, stamp: &Stamp) -> Result<User, StoreError> {
        let (user, committed) = transaction!(self, |session| self.update_once(session, id, patch, stamp))?;
        self.told(committed, Happening::User(user.id.clone())).await;
        Ok(user)
    }
}

//! The collection of sessions, and the members of users that signing in and out changes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::{
    ClientSession, Collection,
    bson::{Binary, Bson, Document, doc, spec::BinarySubtype},
};
use tollgate_protocol::Revocation;

use super::{
    MongoStore, audit, bounded, documents, id_of, schema,
    transaction::transaction,
    values::{Members, any_id, date, id_forms},
};
use crate::{
    config::Secret,
    domain::{self, Happening, Session, SessionId, Stamp, Timestamp, TokenHash, UserId},
    store::{Conflict, SessionStore, StoreError},
};

fn binary(hash: &TokenHash) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: hash.0.to_vec() })
}

/// What changes with each refresh.
fn tokens(session: &Session) -> Document {
    let mut tokens = doc! {
        "refreshed_at": date(session.refreshed_at),
        "expires_at": date(session.expires_at),
        "access_until": i64::try_from(session.access_until).unwrap_or(i64::MAX),
        "current": binary(&session.current),
    };
    if let Some((hash, at)) = &session.previous {
        tokens.extend(doc! { "previous": binary(hash), "previous_used_at": date(*at) });
    }
    tokens
}

fn from_session(session: &Session) -> Document {
    let mut document = tokens(session);
    document.extend(doc! {
        "_id": session.id.as_str(),
        "user_id": session.user_id.as_str(),
        "created_at": date(session.created_at),
        "family": binary(&session.family),
    });
    for (member, text) in [("address", &session.address), ("user_agent", &session.user_agent)] {
        if let Some(text) = text {
            document.insert(member, text);
        }
    }
    document
}

fn session(document: Document) -> Result<Session, StoreError> {
    let mut from = Members::new(schema::SESSIONS, document);
    let (family, current) = (hash(&mut from, "family")?, hash(&mut from, "current")?);
    let previous = hash(&mut from, "previous")?.zip(from.moment("previous_used_at")?);
    let mut moment = |member| from.moment(member)?.ok_or_else(|| from.corrupt(member));
    let (created_at, refreshed_at, expires_at) =
        (moment("created_at")?, moment("refreshed_at")?, moment("expires_at")?);
    Ok(Session {
        id: SessionId::new(from.id("_id")?),
        user_id: UserId::new(from.id("user_id")?),
        created_at,
        refreshed_at,
        expires_at,
        access_until: from.number("access_until")?.and_then(|until| u64::try_from(until).ok()).unwrap_or(0),
        family: family.ok_or_else(|| from.corrupt("family"))?,
        current: current.ok_or_else(|| from.corrupt("current"))?,
        previous,
        address: from.text("address")?,
        user_agent: from.text("user_agent")?,
    })
}

fn hash(from: &mut Members<'_>, member: &str) -> Result<Option<TokenHash>, StoreError> {
    match from.take(member) {
        None => Ok(None),
        Some(Bson::Binary(binary)) => {
            binary.bytes.try_into().map(|bytes| Some(TokenHash(bytes))).map_err(|_| from.corrupt(member))
        }
        Some(_) => Err(from.corrupt(member)),
    }
}

impl MongoStore {
    fn sessions(&self) -> Collection<Document> {
        self.database.collection(schema::SESSIONS)
    }

    async fn begin_once(&self, session: &mut ClientSession, new: &Session) -> Result<(), StoreError> {
        let user = self.existing_user(session, &new.user_id).await?;
        bounded(self.sessions().insert_one(from_session(new)).session(&mut *session)).await?;
        let set = doc! { "$set": { "last_login_at": date(new.created_at) } };
        bounded(self.users().update_one(doc! { "_id": id_of(&user) }, set).session(session)).await.map(drop)
    }

    async fn end_once(
        &self,
        session: &mut ClientSession,
        ended: Document,
        revocation: &Revocation,
        stamp: &Stamp,
    ) -> Result<(), StoreError> {
        // The revocation is written first: without transactions, a crash in between leaves a session that ends again.
        if bounded(self.sessions().find_one(ended.clone()).session(&mut *session)).await?.is_none() {
            return Err(StoreError::NotFound);
        }
        self.revoke_in(session, revocation, stamp).await?;
        bounded(self.sessions().delete_one(ended).session(session)).await.map(drop)
    }

    async fn sign_out_once(&self, session: &mut ClientSession, id: &UserId, stamp: &Stamp) -> Result<(), StoreError> {
        let found = self.existing_user(session, id).await?;
        let found_id = id_of(&found);
        let user = documents::user(found)?;
        // A clock that was set back takes no sign-out back.
        let at = user.last_logout_at.map_or(stamp.at, |known| known.max(stamp.at));
        let set = doc! { "$set": { "last_logout_at": date(at), "updated_at": date(stamp.at) } };
        bounded(self.users().update_one(doc! { "_id": found_id }, set).session(&mut *session)).await?;
        bounded(self.sessions().delete_many(doc! { "user_id": id.as_str() }).session(&mut *session)).await?;
        let before = domain::audit::sign_out(user.last_logout_at);
        let after = domain::audit::sign_out(Some(at));
        audit::write(self, session, &stamp.entry("user.signed_out", id.as_str(), Some(before), Some(after))).await
    }

    async fn upgrade_once(
        &self,
        session: &mut ClientSession,
        user: &UserId,
        seen: &Secret,
        hash: &Secret,
        stamp: &Stamp,
    ) -> Result<bool, StoreError> {
        let condition = doc! { "_id": any_id(user.as_str()), "password_hash": seen.expose() };
        let set = doc! { "$set": { "password_hash": hash.expose(), "updated_at": date(stamp.at) } };
        if bounded(self.users().update_one(condition, set).session(&mut *session)).await?.matched_count == 0 {
            return Ok(false);
        }
        audit::write(self, session, &stamp.entry("password.upgraded", user.as_str(), None, None)).await?;
        Ok(true)
    }

    async fn set_once(
        &self,
        session: &mut ClientSession,
        user: &UserId,
        hash: &Secret,
        stamp: &Stamp,
    ) -> Result<(), StoreError> {
        let wanted = doc! { "_id": any_id(user.as_str()) };
        let set = doc! { "$set": { "password_hash": hash.expose(), "updated_at": date(stamp.at) } };
        if bounded(self.users().update_one(wanted, set).session(&mut *session)).await?.matched_count == 0 {
            return Err(StoreError::NotFound);
        }
        audit::write(self, session, &stamp.entry("password.set", user.as_str(), None, None)).await
    }
}

#[async_trait]
impl SessionStore for MongoStore {
    async fn begin_session(&self, session: &Session) -> Result<(), StoreError> {
        transaction!(self, |client| self.begin_once(client, session)).map(drop)
    }

    async fn session_by_family(&self, family: &TokenHash) -> Result<Option<Session>, StoreError> {
        bounded(self.sessions().find_one(doc! { "family": binary(family) })).await?.map(session).transpose()
    }

    async fn sessions_of(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let sessions = self.sessions();
        let wanted = doc! { "user_id": user.as_str(), "expires_at": { "$gt": date(now) } };
        let found = sessions.find(wanted).sort(doc! { "refreshed_at": -1, "_id": 1 });
        let found: Vec<Document> = bounded(async { found.await?.try_collect().await }).await?;
        found.into_iter().map(self::session).collect()
    }

    async fn refresh_session(&self, session: &Session, seen: &TokenHash) -> Result<(), StoreError> {
        let condition = doc! { "_id": session.id.as_str(), "current": binary(seen) };
        let sessions = self.sessions();
        if bounded(sessions.update_one(condition, doc! { "$set": tokens(session) })).await?.matched_count > 0 {
            return Ok(());
        }
        match bounded(sessions.find_one(doc! { "_id": session.id.as_str() })).await? {
            Some(_) => Err(StoreError::Conflict(Conflict::Revision)),
            None => Err(StoreError::NotFound),
        }
    }

    async fn end_session(
        &self,
        user: &UserId,
        session: &SessionId,
        revocation: &Revocation,
        stamp: &Stamp,
    ) -> Result<(), StoreError> {
        let ended = || doc! { "_id": session.as_str(), "user_id": user.as_str() };
        let ((), committed) = transaction!(self, |client| self.end_once(client, ended(), revocation, stamp))?;
        self.told(committed, Happening::Revoked(revocation.clone())).await;
        Ok(())
    }

    async fn sign_out(&self, user: &UserId, stamp: &Stamp) -> Result<(), StoreError> {
        let ((), committed) = transaction!(self, |client| self.sign_out_once(client, user, stamp))?;
        self.told(committed, Happening::User(user.clone())).await;
        Ok(())
    }

    async fn upgrade_password(
        &self,
        user: &UserId,
        seen: &Secret,
        hash: &Secret,
        stamp: &Stamp,
    ) -> Result<bool, StoreError> {
        let (upgraded, _) = transaction!(self, |client| self.upgrade_once(client, user, seen, hash, stamp))?;
        Ok(upgraded)
    }

    async fn set_password(&self, user: &UserId, hash: &Secret, stamp: &Stamp) -> Result<(), StoreError> {
        transaction!(self, |client| self.set_once(client, user, hash, stamp)).map(drop)
    }

    async fn note_seen(&self, users: &[(UserId, Timestamp)]) -> Result<(), StoreError> {
        let mut by_time: BTreeMap<Timestamp, Vec<Bson>> = BTreeMap::new();
        for (user, at) in users {
            by_time.entry(*at).or_default().extend(id_forms(user.as_str()));
        }
        for (at, ids) in by_time {
            let change = doc! { "$max": { "last_login_at": date(at) } };
            bounded(self.users().update_many(doc! { "_id": { "$in": ids } }, change)).await?;
        }
        Ok(())
    }

    async fn prune_sessions(&self, now: Timestamp) -> Result<u64, StoreError> {
        let gone = bounded(self.sessions().delete_many(doc! { "expires_at": { "$lte": date(now) } })).await?;
        Ok(gone.deleted_count)
    }
}

//! The table of sessions, and the columns of users that signing in and out changes.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tollgate_protocol::Revocation;

use super::{SqliteStore, audit, fault, feed, revocations, rows, users};
use crate::{
    config::Secret,
    domain::{self, Happening, Session, SessionId, Stamp, Timestamp, TokenHash, UserId},
    store::{Conflict, SessionStore, StoreError},
};

const COLUMNS: &str = "id, user_id, created_at, refreshed_at, expires_at, access_until, family, current, previous, \
     previous_used_at, address, user_agent";

fn session(row: &Row<'_>) -> Result<Session, rusqlite::Error> {
    let previous: Option<[u8; 32]> = row.get(8)?;
    let used_at: Option<i64> = row.get(9)?;
    Ok(Session {
        id: SessionId::new(row.get::<_, String>(0)?),
        user_id: UserId::new(row.get::<_, String>(1)?),
        created_at: Timestamp::from_millis(row.get(2)?),
        refreshed_at: Timestamp::from_millis(row.get(3)?),
        expires_at: Timestamp::from_millis(row.get(4)?),
        access_until: u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
        family: TokenHash(row.get(6)?),
        current: TokenHash(row.get(7)?),
        previous: previous.zip(used_at).map(|(hash, at)| (TokenHash(hash), Timestamp::from_millis(at))),
        address: row.get(10)?,
        user_agent: row.get(11)?,
    })
}

fn access_until(session: &Session) -> i64 {
    i64::try_from(session.access_until).unwrap_or(i64::MAX)
}

fn exists(connection: &Connection, id: &SessionId) -> Result<bool, StoreError> {
    let found = connection.query_row("SELECT 1 FROM sessions WHERE id = ?1", [id.as_str()], |_| Ok(()));
    Ok(found.optional().map_err(fault)?.is_some())
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn begin_session(&self, session: &Session) -> Result<(), StoreError> {
        let session = session.clone();
        self.write(move |transaction| {
            let sql =
                format!("INSERT INTO sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
            let inserted = transaction.prepare_cached(&sql).map_err(fault)?.execute(params![
                session.id.as_str(),
                session.user_id.as_str(),
                session.created_at.millis(),
                session.refreshed_at.millis(),
                session.expires_at.millis(),
                access_until(&session),
                session.family.0,
                session.current.0,
                session.previous.map(|(hash, _)| hash.0),
                session.previous.map(|(_, at)| at.millis()),
                session.address,
                session.user_agent,
            ]);
            inserted.map_err(|error| match rows::violated(&error) {
                Some("FOREIGN KEY") => StoreError::NotFound,
                Some(_) => StoreError::Conflict(Conflict::Id),
                None => fault(error),
            })?;
            transaction
                .execute(
                    "UPDATE users SET last_login_at = ?2 WHERE id = ?1",
                    params![session.user_id.as_str(), session.created_at.millis()],
                )
                .map(drop)
                .map_err(fault)
        })
        .await
    }

    async fn session_by_family(&self, family: &TokenHash) -> Result<Option<Session>, StoreError> {
        let family = *family;
        self.read(move |connection| {
            let sql = format!("SELECT {COLUMNS} FROM sessions WHERE family = ?1");
            let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
            statement.query_row([family.0], session).optional().map_err(fault)
        })
        .await
    }

    async fn sessions_of(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let user = user.clone();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {COLUMNS} FROM sessions WHERE user_id = ?1 AND expires_at > ?2
                 ORDER BY refreshed_at DESC, rowid DESC"
            );
            let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
            let found = statement.query_map(params![user.as_str(), now.millis()], session).map_err(fault)?;
            found.collect::<Result<Vec<_>, _>>().map_err(fault)
        })
        .await
    }

    async fn refresh_session(&self, session: &Session, seen: &TokenHash) -> Result<(), StoreError> {
        let (session, seen) = (session.clone(), *seen);
        self.write(move |transaction| {
            let changed = transaction
                .execute(
                    "UPDATE sessions SET refreshed_at = ?3, expires_at = ?4, access_until = ?5, current = ?6,
                        previous = ?7, previous_used_at = ?8 WHERE id = ?1 AND current = ?2",
                    params![
                        session.id.as_str(),
                        seen.0,
                        session.refreshed_at.millis(),
                        session.expires_at.millis(),
                        access_until(&session),
                        session.current.0,
                        session.previous.map(|(hash, _)| hash.0),
                        session.previous.map(|(_, at)| at.millis()),
                    ],
                )
                .map_err(fault)?;
            match changed {
                0 if exists(transaction, &session.id)? => Err(StoreError::Conflict(Conflict::Revision)),
                0 => Err(StoreError::NotFound),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn end_session(
        &self,
        user: &UserId,
        session: &SessionId,
        revocation: &Revocation,
        stamp: &Stamp,
    ) -> Result<(), StoreError> {
        let (user, session, revocation, stamp) = (user.clone(), session.clone(), revocation.clone(), stamp.clone());
        self.write(move |transaction| {
            let ended = transaction
                .execute("DELETE FROM sessions WHERE id = ?1 AND user_id = ?2", [session.as_str(), user.as_str()])
                .map_err(fault)?;
            if ended == 0 {
                return Err(StoreError::NotFound);
            }
            revocations::write(transaction, &revocation, &stamp)
        })
        .await
    }

    async fn sign_out(&self, user: &UserId, stamp: &Stamp) -> Result<(), StoreError> {
        let (id, stamp) = (user.clone(), stamp.clone());
        self.write(move |transaction| {
            let user = users::select(transaction, "id = ?1", &[id.as_str()])?.ok_or(StoreError::NotFound)?;
            // A clock that was set back takes no sign-out back.
            let at = user.last_logout_at.map_or(stamp.at, |known| known.max(stamp.at));
            transaction
                .execute(
                    "UPDATE users SET last_logout_at = ?2, updated_at = ?3 WHERE id = ?1",
                    params![id.as_str(), at.millis(), stamp.at.millis()],
                )
                .map_err(fault)?;
            transaction.execute("DELETE FROM sessions WHERE user_id = ?1", [id.as_str()]).map_err(fault)?;
            let before = domain::audit::sign_out(user.last_logout_at);
            let after = domain::audit::sign_out(Some(at));
            audit::write(transaction, &stamp.entry("user.signed_out", id.as_str(), Some(before), Some(after)))?;
            feed::write(transaction, &Happening::User(id), stamp.at)
        })
        .await
    }

    async fn upgrade_password(
        &self,
        user: &UserId,
        seen: &Secret,
        hash: &Secret,
        stamp: &Stamp,
    ) -> Result<bool, StoreError> {
        let (user, seen, hash, stamp) = (user.clone(), seen.clone(), hash.clone(), stamp.clone());
        self.write(move |transaction| {
            let changed = transaction
                .execute(
                    "UPDATE users SET password_hash = ?3, updated_at = ?4 WHERE id = ?1 AND password_hash = ?2",
                    params![user.as_str(), seen.expose(), hash.expose(), stamp.at.millis()],
                )
                .map_err(fault)?;
            if changed > 0 {
                audit::write(transaction, &stamp.entry("password.upgraded", user.as_str(), None, None))?;
            }
            Ok(changed > 0)
        })
        .await
    }

    async fn set_password(&self, user: &UserId, hash: &Secret, stamp: &Stamp) -> Result<(), StoreError> {
        let (user, hash, stamp) = (user.clone(), hash.clone(), stamp.clone());
        self.write(move |transaction| {
            let changed = transaction
                .execute(
                    "UPDATE users SET password_hash = ?2, updated_at = ?3 WHERE id = ?1",
                    params![user.as_str(), hash.expose(), stamp.at.millis()],
                )
                .map_err(fault)?;
            if changed == 0 {
                return Err(StoreError::NotFound);
            }
            audit::write(transaction, &stamp.entry("password.set", user.as_str(), None, None))
        })
        .await
    }

    async fn note_seen(&self, users: &[(UserId, Timestamp)]) -> Result<(), StoreError> {
        let users = users.to_vec();
        self.write(move |transaction| {
            let mut statement = transaction
                .prepare_cached(
                    "UPDATE users SET last_login_at = ?2
                     WHERE id = ?1 AND (last_login_at IS NULL OR last_login_at < ?2)",
                )
                .map_err(fault)?;
            for (user, at) in &users {
                statement.execute(params![user.as_str(), at.millis()]).map_err(fault)?;
            }
            Ok(())
        })
        .await
    }

    async fn prune_sessions(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |transaction| {
            let gone =
                transaction.execute("DELETE FROM sessions WHERE expires_at <= ?1", [now.millis()]).map_err(fault)?;
            Ok(u64::try_from(gone).unwrap_or(0))
        })
        .await
    }
}

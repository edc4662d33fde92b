//! The table of users.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use tollgate_protocol::Cursor;

use super::{SqliteStore, audit, fault, feed, rows, webhooks};
use crate::{
    domain::{
        self, ClerkIdentity, Email, Happening, PageKey, Revision, Role, Stamp, Subscription, Timestamp, User,
        UserFilter, UserId, UserPatch,
    },
    store::{Conflict, StoreError, UserStore},
};

/// The one user of a condition on unique columns.
pub(super) fn select(connection: &Connection, condition: &str, values: &[&str]) -> Result<Option<User>, StoreError> {
    let sql = format!("SELECT {} FROM users WHERE {condition}", rows::USER_COLUMNS);
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    statement.query_row(rusqlite::params_from_iter(values), rows::user).optional().map_err(fault)
}

pub(super) fn conflict(error: rusqlite::Error) -> StoreError {
    match rows::violated(&error) {
        Some("users.id") => StoreError::Conflict(Conflict::Id),
        Some("users.email") => StoreError::Conflict(Conflict::Email),
        Some("users.clerk_issuer, users.clerk_id") => StoreError::Conflict(Conflict::ClerkIdentity),
        _ => fault(error),
    }
}

pub(super) fn insert(transaction: &Transaction<'_>, user: &User) -> Result<(), StoreError> {
    let sql = format!(
        "INSERT INTO users ({}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
            ?19, ?20, ?21, ?22, ?23, ?24, ?25)",
        rows::USER_COLUMNS
    );
    let mut statement = transaction.prepare_cached(&sql).map_err(fault)?;
    let inserted = statement.execute(params![
        user.id.as_str(),
        user.email.as_ref().map(Email::as_str),
        user.password_hash.as_ref().map(crate::config::Secret::expose),
        user.name,
        user.role.as_str(),
        user.is_active,
        user.clerk.as_ref().map(|clerk| &clerk.issuer),
        user.clerk.as_ref().map(|clerk| &clerk.id),
        user.first_name,
        user.last_name,
        user.email_verified,
        user.tokens_remaining,
        user.tokens_used,
        user.monthly_limit,
        user.subscription.as_str(),
        user.stripe_customer_id,
        user.created_at.millis(),
        user.updated_at.millis(),
        user.last_login_at.map(Timestamp::millis),
        user.last_logout_at.map(Timestamp::millis),
        user.bio,
        user.website,
        user.profile_image,
        rows::object_text(&user.social_links),
        rows::object_text(&user.extra),
    ]);
    inserted.map(drop).map_err(conflict)
}

/// Adds a user, with the entry in the log of changes and the line of the feed.
pub(super) fn create(transaction: &Transaction<'_>, user: &User, stamp: &Stamp) -> Result<(), StoreError> {
    insert(transaction, user)?;
    let after = domain::audit::user(user);
    audit::write(transaction, &stamp.entry("user.created", user.id.as_str(), None, Some(after)))?;
    feed::write(transaction, &Happening::User(user.id.clone()), stamp.at)
}

#[async_trait]
impl UserStore for SqliteStore {
    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let id = id.clone();
        self.read(move |connection| select(connection, "id = ?1", &[id.as_str()])).await
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        let email = email.clone();
        self.read(move |connection| select(connection, "email = ?1", &[email.as_str()])).await
    }

    async fn user_by_clerk(&self, identity: &ClerkIdentity) -> Result<Option<User>, StoreError> {
        let identity = identity.clone();
        self.read(move |connection| {
            select(connection, "clerk_issuer = ?1 AND clerk_id = ?2", &[&identity.issuer, &identity.id])
        })
        .await
    }

    async fn insert_user(&self, user: &User, stamp: &Stamp) -> Result<Cursor, StoreError> {
        let (user, stamp, epoch) = (user.clone(), stamp.clone(), self.epoch.clone());
        self.write(move |transaction| {
            if let Some(identity) = &user.clerk {
                webhooks::exists_at_clerk(transaction, identity)?;
            }
            create(transaction, &user, &stamp)?;
            Ok(Cursor::new(epoch, feed::newest(transaction)?))
        })
        .await
    }

    async fn link_clerk(
        &self,
        email: &Email,
        identity: &ClerkIdentity,
        stamp: &Stamp,
    ) -> Result<(User, Cursor), StoreError> {
        let (email, identity, stamp, epoch) = (email.clone(), identity.clone(), stamp.clone(), self.epoch.clone());
        self.write(move |transaction| {
            let mut user = select(transaction, "email = ?1", &[email.as_str()])?.ok_or(StoreError::NotFound)?;
            if !user.may_be_linked() {
                return Err(StoreError::Conflict(Conflict::NotLinkable));
            }
            webhooks::exists_at_clerk(transaction, &identity)?;
            transaction
                .execute(
                    "UPDATE users SET clerk_issuer = ?2, clerk_id = ?3, updated_at = ?4 WHERE id = ?1",
                    params![user.id.as_str(), identity.issuer, identity.id, stamp.at.millis()],
                )
                .map_err(conflict)?;
            let before = domain::audit::user(&user);
            user.clerk = Some(identity);
            user.updated_at = stamp.at;
            let after = domain::audit::user(&user);
            audit::write(transaction, &stamp.entry("user.linked", user.id.as_str(), Some(before), Some(after)))?;
            feed::write(transaction, &Happening::User(user.id.clone()), stamp.at)?;
            Ok((user, Cursor::new(epoch, feed::newest(transaction)?)))
        })
        .await
    }

    async fn update_user(
        &self,
        id: &UserId,
        patch: &UserPatch,
        expected: Option<&Revision>,
        stamp: &Stamp,
    ) -> Result<User, StoreError> {
        let (id, patch, expected, stamp) = (id.clone(), patch.clone(), expected.cloned(), stamp.clone());
        self.write(move |transaction| {
            let mut user = select(transaction, "id = ?1", &[id.as_str()])?.ok_or(StoreError::NotFound)?;
            if expected.is_some_and(|expected| expected != user.revision()) {
                return Err(StoreError::Conflict(Conflict::Revision));
            }
            let (before, was_admin) = (domain::audit::user(&user), user.is_acting_admin());
            let decides = patch.is_active.is_some();
            patch.apply(&mut user, stamp.at);
            if was_admin && !user.is_acting_admin() && other_admins(transaction, &id)? == 0 {
                return Err(StoreError::Conflict(Conflict::LastAdmin));
            }
            update(transaction, &user)?;
            if decides {
                webhooks::decided_here(transaction, &user)?;
            }
            let after = domain::audit::user(&user);
            audit::write(transaction, &stamp.entry("user.changed", id.as_str(), Some(before), Some(after)))?;
            feed::write(transaction, &Happening::User(id), stamp.at)?;
            Ok(user)
        })
        .await
    }

    async fn users(&self, filter: &UserFilter, after: Option<&PageKey>, limit: usize) -> Result<Vec<User>, StoreError> {
        let (filter, after) = (filter.clone(), after.cloned());
        self.read(move |connection| {
            // A condition of its own: one that may be absent would make SQLite read the list from its beginning.
            let place = rows::after(after.is_some(), 5);
            let sql = format!(
                "SELECT {} FROM users WHERE (?1 IS NULL OR id = ?1 OR clerk_id = ?1 OR substr(email, 1, length(?1)) = ?1)
                 AND (?2 IS NULL OR role = ?2) AND (?3 IS NULL OR is_active = ?3) AND (?4 IS NULL OR subscription = ?4)
                 AND {place} ORDER BY created_at DESC, id DESC LIMIT ?7",
                rows::USER_COLUMNS
            );
            let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
            let values = params![
                filter.text,
                filter.role.map(Role::as_str),
                filter.is_active,
                filter.subscription.map(Subscription::as_str),
                after.as_ref().map(|after| after.at.millis()),
                after.as_ref().map(|after| &after.id),
                i64::try_from(limit).unwrap_or(i64::MAX),
            ];
            let found = statement.query_map(values, rows::user).map_err(fault)?;
            found.collect::<Result<Vec<_>, _>>().map_err(fault)
        })
        .await
    }
}

/// How many others can act as an administrator. There is one writer, so nobody else changes that meanwhile.
pub(super) fn other_admins(connection: &Connection, id: &UserId) -> Result<i64, StoreError> {
    let sql = "SELECT count(*) FROM users WHERE role = 'admin' AND is_active = 1 AND id <> ?1";
    connection.query_row(sql, [id.as_str()], |row| row.get(0)).map_err(fault)
}

/// Writes what a [`UserPatch`] may have changed.
pub(super) fn update(transaction: &Transaction<'_>, user: &User) -> Result<(), StoreError> {
    let changed = transaction.execute(
        "UPDATE users SET name = ?2, role = ?3, is_active = ?4, subscription = ?5, monthly_limit = ?6, bio = ?7,
            website = ?8, profile_image = ?9, social_links = ?10, updated_at = ?11 WHERE id = ?1",
        params![
            user.id.as_str(),
            user.name,
            user.role.as_str(),
            user.is_active,
            user.subscription.as_str(),
            user.monthly_limit,
            user.bio,
            user.website,
            user.profile_image,
            rows::object_text(&user.social_links),
            user.updated_at.millis()
        ],
    );
    changed.map(drop).map_err(fault)
}

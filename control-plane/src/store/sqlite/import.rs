//! Many users and keys of a file, in one transaction.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{SqliteStore, audit, fault, feed, keys, rows, users, webhooks};
use crate::{
    config::Secret,
    domain::{self, ApiKey, Email, Happening, ImportedUser, Stamp, Timestamp, User},
    store::{
        Conflict, ImportStore, Imported, StoreError,
        import::{Plan, plan},
    },
};

/// Everybody with the same id, address or Clerk id.
fn alike(connection: &Connection, imported: &ImportedUser) -> Result<Vec<User>, StoreError> {
    let sql = format!(
        "SELECT {} FROM users WHERE id = ?1 OR email = ?2 OR (clerk_issuer = ?3 AND clerk_id = ?4)",
        rows::USER_COLUMNS
    );
    let user = &imported.user;
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    let values = params![
        user.id.as_str(),
        user.email.as_ref().map(Email::as_str),
        user.clerk.as_ref().map(|clerk| &clerk.issuer),
        user.clerk.as_ref().map(|clerk| &clerk.id),
    ];
    let found = statement.query_map(values, rows::user).map_err(fault)?;
    found.collect::<Result<_, _>>().map_err(fault)
}

/// Writes everything about a user but what is the ledger's.
fn rewrite(transaction: &Transaction<'_>, user: &User) -> Result<(), StoreError> {
    let sql = "UPDATE users SET email = ?2, password_hash = ?3, clerk_issuer = ?4, clerk_id = ?5, first_name = ?6,
        last_name = ?7, email_verified = ?8, stripe_customer_id = ?9, created_at = ?10, last_login_at = ?11,
        last_logout_at = ?12, extra = ?13 WHERE id = ?1";
    let mut statement = transaction.prepare_cached(sql).map_err(fault)?;
    let changed = statement.execute(params![
        user.id.as_str(),
        user.email.as_ref().map(Email::as_str),
        user.password_hash.as_ref().map(Secret::expose),
        user.clerk.as_ref().map(|clerk| &clerk.issuer),
        user.clerk.as_ref().map(|clerk| &clerk.id),
        user.first_name,
        user.last_name,
        user.email_verified,
        user.stripe_customer_id,
        user.created_at.millis(),
        user.last_login_at.map(Timestamp::millis),
        user.last_logout_at.map(Timestamp::millis),
        rows::object_text(&user.extra),
    ]);
    changed.map_err(users::conflict)?;
    users::update(transaction, user)
}

/// Whether it would link somebody to a Clerk user who is gone.
fn is_gone(connection: &Connection, before: Option<&User>, after: &User) -> Result<bool, StoreError> {
    match &after.clerk {
        Some(identity) if before.is_none_or(|before| before.clerk != after.clerk) => {
            match webhooks::exists_at_clerk(connection, identity) {
                Err(StoreError::Conflict(Conflict::ClerkDeleted)) => Ok(true),
                other => other.map(|()| false),
            }
        }
        _ => Ok(false),
    }
}

fn one_user(
    transaction: &Transaction<'_>,
    imported: &ImportedUser,
    update: bool,
    stamp: &Stamp,
) -> Result<Imported, StoreError> {
    let user = &imported.user;
    match plan(imported, &alike(transaction, imported)?, update, stamp.at) {
        Plan::Leave => Ok(Imported::Unchanged),
        Plan::Refuse(conflict) => Ok(Imported::Refused(conflict)),
        Plan::Add if is_gone(transaction, None, user)? => Ok(Imported::Refused(Conflict::ClerkDeleted)),
        Plan::Change(change) if is_gone(transaction, Some(&change.0), &change.1)? => {
            Ok(Imported::Refused(Conflict::ClerkDeleted))
        }
        Plan::Add => {
            users::insert(transaction, user)?;
            let after = domain::audit::imported_user(user);
            audit::write(transaction, &stamp.entry("user.imported", user.id.as_str(), None, Some(after)))?;
            feed::write(transaction, &Happening::User(user.id.clone()), stamp.at)?;
            Ok(Imported::Added)
        }
        Plan::Change(change) => {
            let (before, after) = &*change;
            let is_lost = before.is_acting_admin() && !after.is_acting_admin();
            if is_lost && users::other_admins(transaction, &before.id)? == 0 {
                return Ok(Imported::Refused(Conflict::LastAdmin));
            }
            rewrite(transaction, after)?;
            if before.is_active != after.is_active {
                webhooks::decided_here(transaction, after)?;
            }
            let (was, is) = (domain::audit::user(before), domain::audit::user(after));
            audit::write(transaction, &stamp.entry("user.changed", before.id.as_str(), Some(was), Some(is)))?;
            feed::write(transaction, &Happening::User(before.id.clone()), stamp.at)?;
            Ok(Imported::Updated)
        }
    }
}

fn one_key(transaction: &Transaction<'_>, key: &ApiKey, stamp: &Stamp) -> Result<Imported, StoreError> {
    let owner = "SELECT user_id FROM api_keys WHERE hash = ?1";
    let mut statement = transaction.prepare_cached(owner).map_err(fault)?;
    let owner: Option<String> = statement.query_row([key.hash.0], |row| row.get(0)).optional().map_err(fault)?;
    if let Some(owner) = owner {
        let is_same = owner == key.user_id.as_str();
        return Ok(if is_same { Imported::Unchanged } else { Imported::Refused(Conflict::KeyHash) });
    }
    match keys::insert(transaction, key) {
        Ok(()) => {}
        Err(StoreError::NotFound) => return Ok(Imported::NoUser),
        Err(StoreError::Conflict(conflict)) => return Ok(Imported::Refused(conflict)),
        Err(error) => return Err(error),
    }
    let after = domain::audit::key(key);
    audit::write(transaction, &stamp.entry("key.imported", key.id.as_str(), None, Some(after)))?;
    feed::write(transaction, &Happening::Key(key.hash), stamp.at)?;
    Ok(Imported::Added)
}

#[async_trait]
impl ImportStore for SqliteStore {
    async fn import_users(
        &self,
        users: &[ImportedUser],
        update: bool,
        stamp: &Stamp,
    ) -> Result<Vec<Imported>, StoreError> {
        let (users, stamp) = (users.to_vec(), stamp.clone());
        self.write(move |transaction| users.iter().map(|user| one_user(transaction, user, update, &stamp)).collect())
            .await
    }

    async fn import_keys(&self, keys: &[ApiKey], stamp: &Stamp) -> Result<Vec<Imported>, StoreError> {
        let (keys, stamp) = (keys.to_vec(), stamp.clone());
        self.write(move |transaction| keys.iter().map(|key| one_key(transaction, key, &stamp)).collect()).await
    }
}

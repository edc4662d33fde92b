//! The tables of deliveries that were taken and of what Clerk last said of its users.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{SqliteStore, audit, fault, feed, revocations, users};
use crate::{
    domain::{
        self, ClerkIdentity, Email, Happening, Stamp, Timestamp, User, UserId,
        clerk::{self, ClerkEvent, ClerkNews, ClerkOutcome, ClerkProfile, ClerkRecord, Found, Plan},
    },
    store::{Conflict, StoreError, WebhookStore},
};

fn record(connection: &Connection, identity: &ClerkIdentity) -> Result<Option<ClerkRecord>, StoreError> {
    let sql = "SELECT updated_at, deleted_at, name, image, barred FROM clerk_users WHERE issuer = ?1 AND id = ?2";
    let mut statement = connection.prepare_cached(sql).map_err(fault)?;
    let found = statement.query_row([&identity.issuer, &identity.id], |row| {
        Ok(ClerkRecord {
            updated_at: row.get::<_, Option<i64>>(0)?.map(Timestamp::from_millis),
            deleted_at: row.get::<_, Option<i64>>(1)?.map(Timestamp::from_millis),
            name: row.get(2)?,
            image: row.get(3)?,
            barred: row.get(4)?,
        })
    });
    found.optional().map_err(fault)
}

fn remember(transaction: &Transaction<'_>, identity: &ClerkIdentity, record: &ClerkRecord) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO clerk_users (issuer, id, updated_at, deleted_at, name, image, barred)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let mut statement = transaction.prepare_cached(sql).map_err(fault)?;
    let written = statement.execute(params![
        identity.issuer,
        identity.id,
        record.updated_at.map(Timestamp::millis),
        record.deleted_at.map(Timestamp::millis),
        record.name,
        record.image,
        record.barred
    ]);
    written.map(drop).map_err(fault)
}

/// Makes sure that Clerk has not said that the user is gone. There is one writer, so nobody says so meanwhile.
pub(super) fn exists_at_clerk(connection: &Connection, identity: &ClerkIdentity) -> Result<(), StoreError> {
    match record(connection, identity)? {
        Some(ClerkRecord { deleted_at: Some(_), .. }) => Err(StoreError::Conflict(Conflict::ClerkDeleted)),
        _ => Ok(()),
    }
}

/// Notes that somebody here has decided whether an account may be used: from then on Clerk does not take that back.
pub(super) fn decided_here(transaction: &Transaction<'_>, user: &User) -> Result<(), StoreError> {
    let Some(identity) = &user.clerk else { return Ok(()) };
    let sql = "UPDATE clerk_users SET barred = 0 WHERE issuer = ?1 AND id = ?2";
    transaction.execute(sql, [&identity.issuer, &identity.id]).map(drop).map_err(fault)
}

fn linked(connection: &Connection, identity: &ClerkIdentity) -> Result<Option<User>, StoreError> {
    users::select(connection, "clerk_issuer = ?1 AND clerk_id = ?2", &[&identity.issuer, &identity.id])
}

/// Writes what an event of Clerk may have changed.
fn update(transaction: &Transaction<'_>, user: &User) -> Result<(), StoreError> {
    let changed = transaction.execute(
        "UPDATE users SET email = ?2, email_verified = ?3, name = ?4, first_name = ?5, last_name = ?6,
            profile_image = ?7, is_active = ?8, clerk_issuer = ?9, clerk_id = ?10, updated_at = ?11 WHERE id = ?1",
        params![
            user.id.as_str(),
            user.email.as_ref().map(Email::as_str),
            user.email_verified,
            user.name,
            user.first_name,
            user.last_name,
            user.profile_image,
            user.is_active,
            user.clerk.as_ref().map(|clerk| &clerk.issuer),
            user.clerk.as_ref().map(|clerk| &clerk.id),
            user.updated_at.millis()
        ],
    );
    changed.map(drop).map_err(users::conflict)
}

fn write_change(
    transaction: &Transaction<'_>,
    action: &str,
    before: &User,
    mut after: User,
    stamp: &Stamp,
) -> Result<(), StoreError> {
    after.updated_at = stamp.at;
    update(transaction, &after)?;
    let (was, is) = (domain::audit::user(before), domain::audit::user(&after));
    audit::write(transaction, &stamp.entry(action, after.id.as_str(), Some(was), Some(is)))?;
    feed::write(transaction, &Happening::User(after.id), stamp.at)
}

fn profile(
    transaction: &Transaction<'_>,
    profile: &ClerkProfile,
    fresh: &UserId,
    stamp: &Stamp,
) -> Result<ClerkOutcome, StoreError> {
    let identity = &profile.identity;
    let holder = match &profile.email {
        Some(email) => users::select(transaction, "email = ?1", &[email.as_str()])?,
        None => None,
    };
    let record = record(transaction, identity)?.unwrap_or_default();
    let found = Found { record, linked: linked(transaction, identity)?, holder };
    match clerk::plan(profile, found, fresh, stamp.at) {
        Plan::Nothing(outcome) => Ok(outcome),
        Plan::Remember(record) => {
            remember(transaction, identity, &record)?;
            Ok(ClerkOutcome::Unchanged)
        }
        Plan::Create(user, record) => {
            remember(transaction, identity, &record)?;
            users::create(transaction, &user, stamp)?;
            Ok(ClerkOutcome::Created(user.id))
        }
        Plan::Change { before, after, record, outcome } => {
            remember(transaction, identity, &record)?;
            let action = if before.clerk.is_none() { "user.linked" } else { "user.changed" };
            write_change(transaction, action, &before, *after, stamp)?;
            Ok(outcome)
        }
    }
}

fn deleted(transaction: &Transaction<'_>, identity: &ClerkIdentity, stamp: &Stamp) -> Result<ClerkOutcome, StoreError> {
    let known = record(transaction, identity)?.unwrap_or_default();
    if known.deleted_at.is_some() {
        return Ok(ClerkOutcome::Unchanged);
    }
    remember(transaction, identity, &ClerkRecord { deleted_at: Some(stamp.at), ..ClerkRecord::default() })?;
    let Some(user) = linked(transaction, identity)? else { return Ok(ClerkOutcome::Unchanged) };
    write_change(transaction, "user.closed", &user, clerk::close(&user), stamp)?;
    Ok(ClerkOutcome::Closed(user.id))
}

#[async_trait]
impl WebhookStore for SqliteStore {
    async fn take_event(&self, event: &ClerkEvent, fresh: &UserId, stamp: &Stamp) -> Result<ClerkOutcome, StoreError> {
        let (event, fresh, stamp) = (event.clone(), fresh.clone(), stamp.clone());
        self.write(move |transaction| {
            let taken = transaction
                .execute(
                    "INSERT OR IGNORE INTO deliveries (issuer, id, at) VALUES (?1, ?2, ?3)",
                    params![event.issuer, event.delivery, stamp.at.millis()],
                )
                .map_err(fault)?;
            if taken == 0 {
                return Ok(ClerkOutcome::Doubled);
            }
            match &event.news {
                ClerkNews::Profile(news) => profile(transaction, news, &fresh, &stamp),
                ClerkNews::Deleted(identity) => deleted(transaction, identity, &stamp),
                ClerkNews::Ended(revocation) => {
                    revocations::write(transaction, revocation, &stamp)?;
                    Ok(ClerkOutcome::Ended)
                }
            }
        })
        .await
    }

    async fn clerk_record(&self, identity: &ClerkIdentity) -> Result<Option<ClerkRecord>, StoreError> {
        let identity = identity.clone();
        self.read(move |connection| record(connection, &identity)).await
    }

    async fn prune_deliveries(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |transaction| {
            let gone = transaction.execute("DELETE FROM deliveries WHERE at < ?1", [before.millis()]).map_err(fault)?;
            Ok(u64::try_from(gone).unwrap_or(0))
        })
        .await
    }
}

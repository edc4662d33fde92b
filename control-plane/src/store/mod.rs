//! Where users, keys, the feed and last good key sets are kept, as traits that every kind of store meets in the same
//! way (the suite of `tests/tests/stores` holds them to it). A store must not know HTTP, a service's rules or the time.

mod error;
mod import;
mod ledger;
pub mod mongo;
mod policy;
mod sessions;
pub mod sqlite;
pub(crate) mod timing;
mod watched;
mod webhooks;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::watch;
use tollgate_protocol::{Cursor, KeyHash};
use zeroize::Zeroizing;

pub use error::{Cause, Conflict, StoreError};
pub use import::{ImportStore, Imported};
pub use ledger::LedgerStore;
pub use policy::{KeptPolicy, PolicyStore};
pub use sessions::{RevocationStore, SessionStore};
pub use watched::{KEPT_SAMPLES, Watched, WatchedStore};
pub use webhooks::WebhookStore;

use crate::{
    config::StoreLocation,
    domain::{
        ApiKey, AuditEntry, ClerkIdentity, Email, FeedEntry, KeyFilter, KeyId, PageKey, Revision, Stamp, Timestamp,
        User, UserFilter, UserId, UserPatch,
    },
};

/// Everything a store does.
pub trait Store:
    UserStore
    + KeyStore
    + FeedStore
    + KeySetStore
    + AuditStore
    + LedgerStore
    + SessionStore
    + RevocationStore
    + ImportStore
    + WebhookStore
    + PolicyStore
    + WatchedStore
{
}

impl<T> Store for T where
    T: UserStore
        + KeyStore
        + FeedStore
        + KeySetStore
        + AuditStore
        + LedgerStore
        + SessionStore
        + RevocationStore
        + ImportStore
        + WebhookStore
        + PolicyStore
        + WatchedStore
{
}

/// Users. Each change writes its line of the feed and its entry in the log of changes in the same transaction.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// The user of an id.
    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError>;

    /// The user of an e-mail address.
    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError>;

    /// The user who is linked to a Clerk user.
    async fn user_by_clerk(&self, identity: &ClerkIdentity) -> Result<Option<User>, StoreError>;

    /// Adds a user, and says at which place of the feed. [`StoreError::Conflict`] where id, address or Clerk user is
    /// taken, and [`Conflict::ClerkDeleted`] where the Clerk user is gone.
    async fn insert_user(&self, user: &User, stamp: &Stamp) -> Result<Cursor, StoreError>;

    /// Links the account of an address to a Clerk user, in one step with the check that it
    /// [may be](User::may_be_linked): [`Conflict::NotLinkable`] where not, [`Conflict::ClerkDeleted`] where the Clerk
    /// user is gone. Says at which place of the feed.
    async fn link_clerk(
        &self,
        email: &Email,
        identity: &ClerkIdentity,
        stamp: &Stamp,
    ) -> Result<(User, Cursor), StoreError>;

    /// Changes a user. [`StoreError::NotFound`] where there is none; [`Conflict::Revision`] where `expected` names
    /// another state than the one there is; [`Conflict::LastAdmin`] where nobody would be left who can act as an
    /// administrator, whatever others change at the same moment.
    async fn update_user(
        &self,
        id: &UserId,
        patch: &UserPatch,
        expected: Option<&Revision>,
        stamp: &Stamp,
    ) -> Result<User, StoreError>;

    /// Users, newest first, at most `limit`, after the place where an earlier page ended.
    async fn users(&self, filter: &UserFilter, after: Option<&PageKey>, limit: usize) -> Result<Vec<User>, StoreError>;
}

/// API keys. Each change writes its line of the feed and its entry in the log of changes in the same transaction.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Adds a key. [`StoreError::NotFound`] where its user does not exist.
    async fn insert_key(&self, key: &ApiKey, stamp: &Stamp) -> Result<(), StoreError>;

    /// The key of a hash, revoked or not, and its user.
    async fn key_by_hash(&self, hash: &KeyHash) -> Result<Option<(ApiKey, Option<User>)>, StoreError>;

    /// The keys of a user, oldest first, without the revoked ones.
    async fn keys_of(&self, user: &UserId) -> Result<Vec<ApiKey>, StoreError>;

    /// The key of an id, revoked or not.
    async fn key(&self, id: &KeyId) -> Result<Option<ApiKey>, StoreError>;

    /// Keys, revoked ones too, newest first, at most `limit`, after the place where an earlier page ended.
    async fn keys(&self, filter: &KeyFilter, after: Option<&PageKey>, limit: usize) -> Result<Vec<ApiKey>, StoreError>;

    /// How many keys a user has that are not revoked.
    async fn count_keys(&self, user: &UserId) -> Result<u64, StoreError>;

    /// Adds `new` and lets the key `old` of the same user end at `ends` (earlier, where it ends earlier by itself), in
    /// one step. [`StoreError::NotFound`] where the user has no such key, [`Conflict::KeyEnded`] where it is revoked or
    /// has expired.
    async fn rotate_key(&self, old: &KeyId, new: &ApiKey, ends: Timestamp, stamp: &Stamp) -> Result<(), StoreError>;

    /// Revokes a key of this user. [`StoreError::NotFound`] where the user has no such key; revoking twice is fine and
    /// keeps the first time.
    async fn revoke_key(&self, user: &UserId, key: &KeyId, stamp: &Stamp) -> Result<ApiKey, StoreError>;
}

/// What an asked place in the feed is followed by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedPage {
    /// What happened since, oldest first, and the place after it.
    Entries(Vec<FeedEntry>, Cursor),
    /// The place is unknown or too old. This is the newest one.
    Lost(Cursor),
}

/// The feed of changes.
#[async_trait]
pub trait FeedStore: Send + Sync {
    /// The newest place.
    async fn head(&self) -> Result<Cursor, StoreError>;

    /// What happened since `cursor`: at most `limit` entries.
    async fn since(&self, cursor: &Cursor, limit: usize) -> Result<FeedPage, StoreError>;

    /// Forgets entries from before `before`, but keeps the newest `at_least`. Says how many went.
    async fn prune(&self, before: Timestamp, at_least: u64) -> Result<u64, StoreError>;

    /// Number of the newest entry; it changes soon after anyone, in whichever process, changed something.
    fn news(&self) -> watch::Receiver<u64>;

    /// When everything that had happened was last known to be in the feed of this process.
    fn heard(&self) -> &Heard;
}

/// When something was last heard of. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Heard(Arc<Mutex<Instant>>);

impl Default for Heard {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

impl Heard {
    /// Now.
    pub fn mark(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long ago.
    pub fn ago(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Which entries of the log of changes are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only changes of this user, key, session, …
    pub subject: Option<String>,
    /// Only changes by this actor, as [`Actor::to_text`](crate::domain::Actor::to_text) writes it.
    pub actor: Option<String>,
}

/// The log of changes. Entries are written by the stores themselves, in the transaction of the change.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Entries, newest first, at most `limit`, after the one that `after` names (from an earlier page). With each comes
    /// the text that names it.
    async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, AuditEntry)>, StoreError>;
}

/// A key set as it was last good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKeySet {
    /// The document, in the edge's form.
    pub document: String,
    /// When it was last seen so.
    pub fetched_at: Timestamp,
}

/// Last good key sets, and what the control plane makes for itself.
#[async_trait]
pub trait KeySetStore: Send + Sync {
    /// The last good key set of an issuer.
    async fn key_set(&self, issuer: &str) -> Result<Option<KeptKeySet>, StoreError>;

    /// Keeps a key set, unless a newer one is kept.
    async fn keep_key_set(&self, issuer: &str, set: &KeptKeySet) -> Result<(), StoreError>;

    /// The secret of a name; where there is none, `fresh` becomes it. Of two processes that ask at once both get the
    /// same one.
    async fn secret_or(&self, name: &str, fresh: &Zeroizing<[u8; 32]>) -> Result<Zeroizing<[u8; 32]>, StoreError>;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Opens the store of a location, makes it if there is none, and brings its schema up to date.
///
/// # Errors
/// [`StoreError`] says why it cannot be used.
pub async fn open(location: &StoreLocation) -> Result<Arc<dyn Store>, StoreError> {
    match location {
        StoreLocation::Sqlite(path) => Ok(Arc::new(sqlite::SqliteStore::open(path).await?)),
        StoreLocation::Mongo(url) => Ok(Arc::new(mongo::MongoStore::open(url).await?)),
    }
}

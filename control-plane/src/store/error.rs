//! What can go wrong in a store, by what a caller can do about it. It must not know a status code.

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something with this unique value is there already, or the condition of a change no longer holds.
    #[error("conflict: {0}")]
    Conflict(Conflict),
    /// There is nothing to change.
    #[error("not found")]
    NotFound,
    /// The store cannot be reached, or is too busy: it may work later.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Cause),
    /// What the store holds makes no sense.
    #[error("the store holds what cannot be read: {0}")]
    Corrupt(String),
    /// The store was made by a newer version of this program.
    #[error("the store has schema version {found}, this program knows {known}: use a newer tollgate")]
    TooNew {
        /// Version of the store.
        found: i64,
        /// Newest version that is known here.
        known: i64,
    },
}

/// The driver's own error.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a change conflicts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// Another record has this id.
    #[error("the id is taken")]
    Id,
    /// Another user has this e-mail address.
    #[error("the e-mail address is taken")]
    Email,
    /// Another user is linked to this Clerk user.
    #[error("the Clerk user is linked to another account")]
    ClerkIdentity,
    /// Clerk has said that this user is gone.
    #[error("the Clerk user is deleted")]
    ClerkDeleted,
    /// Another key has this hash.
    #[error("the key is there already")]
    KeyHash,
    /// The record has changed since it was read.
    #[error("it has changed meanwhile")]
    Revision,
    /// Nobody would be left who can act as an administrator.
    #[error("the last administrator cannot be removed")]
    LastAdmin,
    /// The key is revoked or has expired.
    #[error("the key has ended")]
    KeyEnded,
    /// Another entry of the ledger has this idempotency key.
    #[error("the idempotency key was used for something else")]
    LedgerKey,
    /// The account may not be linked (any more).
    #[error("the account may not be linked")]
    NotLinkable,
}

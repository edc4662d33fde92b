//! What a store keeps for the older sign-in, and what it keeps of revocations of every kind.

use async_trait::async_trait;
use tollgate_protocol::Revocation;

use super::StoreError;
use crate::{
    config::Secret,
    domain::{Session, SessionId, Stamp, Timestamp, TokenHash, UserId},
};

/// Sessions and passwords of the older sign-in, and when users were last there.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Begins a session; its beginning is its user's last sign-in. Edges need not hear of it, and signing in is not
    /// audited. [`StoreError::NotFound`] where there is no such user.
    async fn begin_session(&self, session: &Session) -> Result<(), StoreError>;

    /// The session whose refresh tokens share this part.
    async fn session_by_family(&self, family: &TokenHash) -> Result<Option<Session>, StoreError>;

    /// The sessions of a user that are not over at `now`, the one that was refreshed last first.
    async fn sessions_of(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError>;

    /// Puts the tokens and times of `session` in place if its good refresh token is still `seen`:
    /// [`Conflict::Revision`](super::Conflict::Revision) where another was quicker, [`StoreError::NotFound`] where the
    /// session has ended.
    async fn refresh_session(&self, session: &Session, seen: &TokenHash) -> Result<(), StoreError>;

    /// Ends a session of this user and revokes its tokens, in one step. [`StoreError::NotFound`] where the user has no
    /// such session.
    async fn end_session(
        &self,
        user: &UserId,
        session: &SessionId,
        revocation: &Revocation,
        stamp: &Stamp,
    ) -> Result<(), StoreError>;

    /// Signs a user out everywhere: ends all sessions and notes when. [`StoreError::NotFound`] where there is no such
    /// user.
    async fn sign_out(&self, user: &UserId, stamp: &Stamp) -> Result<(), StoreError>;

    /// Keeps another hash of the same password, if the user's is still `seen`. Says whether it was.
    async fn upgrade_password(
        &self,
        user: &UserId,
        seen: &Secret,
        hash: &Secret,
        stamp: &Stamp,
    ) -> Result<bool, StoreError>;

    /// Keeps the hash of another password. [`StoreError::NotFound`] where there is no such user.
    async fn set_password(&self, user: &UserId, hash: &Secret, stamp: &Stamp) -> Result<(), StoreError>;

    /// Notes when users were last there, where that is later than what is known. Edges do not hear of it.
    async fn note_seen(&self, users: &[(UserId, Timestamp)]) -> Result<(), StoreError>;

    /// Forgets sessions that are over at `now`. Says how many.
    async fn prune_sessions(&self, now: Timestamp) -> Result<u64, StoreError>;
}

/// Revocations of every kind.
#[async_trait]
pub trait RevocationStore: Send + Sync {
    /// Revokes something. Of two revocations of one thing the longer one holds.
    async fn revoke(&self, revocation: &Revocation, stamp: &Stamp) -> Result<(), StoreError>;

    /// Everything that is revoked at `now`.
    async fn revocations(&self, now: Timestamp) -> Result<Vec<Revocation>, StoreError>;

    /// Forgets what is over at `now`. Says how many.
    async fn prune_revocations(&self, now: Timestamp) -> Result<u64, StoreError>;
}

//! What Clerk's events change, and what must be remembered for it: which deliveries were taken, and what was last said
//! of each Clerk user. Rules come from [`crate::domain::clerk`].

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{
    ClerkIdentity, Stamp, Timestamp, UserId,
    clerk::{ClerkEvent, ClerkOutcome, ClerkRecord},
};

/// Events of Clerk.
#[async_trait]
pub trait WebhookStore: Send + Sync {
    /// Takes an event once: what it changes, that its delivery was taken, its entry in the log of changes and its line of
    /// the feed are there whole or not at all. `fresh` becomes the id of a user who is made. [`StoreError::Conflict`]
    /// where others changed the same accounts at the same moment: then nothing was done, and it can be tried again.
    async fn take_event(&self, event: &ClerkEvent, fresh: &UserId, stamp: &Stamp) -> Result<ClerkOutcome, StoreError>;

    /// What is remembered of a Clerk user.
    async fn clerk_record(&self, identity: &ClerkIdentity) -> Result<Option<ClerkRecord>, StoreError>;

    /// Forgets deliveries that were taken before `before`. Says how many. What is remembered of users stays.
    async fn prune_deliveries(&self, before: Timestamp) -> Result<u64, StoreError>;
}

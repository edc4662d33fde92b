//! Where the rules for routes are kept as text, for all control planes of one store. It must not read the text.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{Stamp, Timestamp};

/// The text of a policy, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPolicy {
    /// Counts the changes, from 1.
    pub version: u64,
    /// The text (TOML).
    pub text: String,
    /// When it was put there.
    pub at: Timestamp,
    /// By whom, as [`Actor::to_text`](crate::domain::Actor::to_text) writes it.
    pub by: String,
}

/// The one policy of a store. A change writes its entry in the log of changes in the same transaction. The feed says
/// nothing of it: control planes look at the version.
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// The version of the policy; 0: there is none.
    async fn policy_version(&self) -> Result<u64, StoreError>;

    /// The policy, if there is one.
    async fn policy(&self) -> Result<Option<KeptPolicy>, StoreError>;

    /// Puts a policy in the place of the former one. [`Conflict::Revision`](super::Conflict::Revision) where `expected`
    /// is another version than the one there is.
    async fn put_policy(&self, text: &str, expected: Option<u64>, stamp: &Stamp) -> Result<KeptPolicy, StoreError>;
}

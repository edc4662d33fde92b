//! What rules that are only watched would have refused, counted, for all control planes of one store. It must not know a
//! rule.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{Stamp, Timestamp};

/// Most request ids that are kept with a count: the newest.
pub const KEPT_SAMPLES: usize = 5;

/// How often a route would have refused requests for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The route, as it is written.
    pub route: String,
    /// The word of the reason.
    pub code: String,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// Ids of some requests, the oldest first.
    pub samples: Vec<String>,
}

impl Watched {
    /// Adds what came later.
    pub(super) fn add(&mut self, more: &Self) {
        self.count = self.count.saturating_add(more.count);
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
        self.samples.extend(more.samples.iter().cloned());
        let too_many = self.samples.len().saturating_sub(KEPT_SAMPLES);
        self.samples.drain(..too_many);
    }
}

/// Counts by route and reason.
#[async_trait]
pub trait WatchedStore: Send + Sync {
    /// Adds a batch of a node, whose batches come in the order of their numbers. False: it was added before.
    async fn add_watched(&self, node: &str, batch: u64, counts: &[Watched], at: Timestamp) -> Result<bool, StoreError>;

    /// Counts by route, then by reason, at most `limit`, after the route and reason with which an earlier page ended.
    async fn watched(&self, after: Option<&(String, String)>, limit: usize) -> Result<Vec<Watched>, StoreError>;

    /// Begins anew, and leaves an entry in the log of changes. Says how many counts went.
    async fn forget_watched(&self, stamp: &Stamp) -> Result<u64, StoreError>;

    /// Forgets nodes that have not been heard of since. Says how many went.
    async fn prune_watched(&self, before: Timestamp) -> Result<u64, StoreError>;
}

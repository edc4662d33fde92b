//! The ledger, as every kind of store keeps it. Rules come from [`crate::domain::ledger::desk`]; a store brings what
//! they need together and writes what they made, in one transaction.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::{
    Stamp, Timestamp, UserId,
    ledger::{
        Account, Allowances, Batch, BatchReceipt, DailyUsage, Entry, LeaseCall, LeaseReceipt, Posted, Posting,
        Reservation,
    },
};

/// Credits. Each operation is one transaction: what it does to balances, reservations and entries is there whole or not
/// at all. Whatever it does, it first enters the billing month of the stamp for every account that it touches. Grants,
/// refills and adjustments write a line of the feed, too; grants and adjustments an entry in the log of changes.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// What the ledger keeps about a user, in the billing month of the stamp. [`StoreError::NotFound`] where there is no
    /// such user.
    async fn account(&self, user: &UserId, allowances: &Allowances, stamp: &Stamp) -> Result<Account, StoreError>;

    /// Posts a grant, an adjustment, or use. The same posting again changes nothing and answers with the first entry;
    /// another one with its key is a [`Conflict::LedgerKey`](super::Conflict::LedgerKey). [`StoreError::NotFound`] where
    /// there is no such user.
    async fn post(&self, posting: &Posting, allowances: &Allowances, stamp: &Stamp) -> Result<Posted, StoreError>;

    /// Settles, renews and makes reservations, in this order.
    async fn lease(&self, call: &LeaseCall, allowances: &Allowances, stamp: &Stamp)
    -> Result<LeaseReceipt, StoreError>;

    /// Books a batch of what an Envoy has counted. The same number of the same Envoy again changes nothing and answers
    /// the same. A key's last use only moves forward.
    async fn book(&self, batch: &Batch, allowances: &Allowances, stamp: &Stamp) -> Result<BatchReceipt, StoreError>;

    /// Settles reservations whose time is over, at what was reported, `limit` at most. Gives the entries that were made.
    async fn settle_expired(
        &self,
        limit: usize,
        allowances: &Allowances,
        stamp: &Stamp,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Entries of a user, newest first, `limit` at most, from below number `before`.
    async fn entries(&self, user: &UserId, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// The open reservations of a user.
    async fn open_reservations(&self, user: &UserId) -> Result<Vec<Reservation>, StoreError>;

    /// How many reservations of all users are open.
    async fn count_open_reservations(&self) -> Result<u64, StoreError>;

    /// What was counted for a user from one day to another (`2026-11-23`), both included: by day, then by key.
    async fn daily_usage(&self, user: &UserId, from: &str, to: &str) -> Result<Vec<DailyUsage>, StoreError>;

    /// Forgets the numbers of batches from before `before`. Says how many went.
    async fn forget_batches(&self, before: Timestamp) -> Result<u64, StoreError>;
}

//! The ledger's collections. Each operation is one transaction. Those of one process that concern the same user wait for
//! each other here instead of failing there; those of several processes are tried again. A single server without a
//! replica set has no transactions: there, a crash in the middle of an operation can leave a balance without its entry.

pub(super) mod documents;
mod turns;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::{
    ClientSession, Collection,
    bson::{self, Document, doc},
};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use self::{
    documents::{at, number},
    turns::Turn,
    work::Work,
};
use super::{MongoStore, bounded, schema, transaction::transaction, values::any_id};
use crate::{
    domain::{
        Happening, Stamp, Timestamp, UserId,
        ledger::{
            Account, Allowances, Batch, BatchReceipt, DailyUsage, Entry, LeaseCall, LeaseId, LeaseReceipt, Posted,
            Posting, Reservation, desk::Desk,
        },
    },
    store::{Conflict, LedgerStore, StoreError},
};

/// Locks for users: as many as two of one process seldom meet in by chance.
const STRIPES: u16 = 256;
/// How often an operation is tried that somebody else was quicker with.
const TRIES: usize = 5;

/// Who works on which users' accounts in this process.
#[derive(Debug)]
pub(super) struct Stripes(Vec<Mutex<()>>);

impl Stripes {
    pub(super) fn new() -> Self {
        Self((0..STRIPES).map(|_| Mutex::new(())).collect())
    }
}

/// The turn of an operation: in its process, and among processes.
type Held<'s> = Vec<(Option<Turn>, MutexGuard<'s, ()>)>;

fn stripe(user: &UserId) -> u16 {
    let hash = Sha256::digest(user.as_str().as_bytes());
    let number = hash.iter().take(2).fold(0_u16, |number, byte| (number << 8) | u16::from(*byte));
    number % STRIPES
}

/// Tries `$attempt` again where somebody else has just written the same.
macro_rules! contended {
    ($attempt:expr) => {{
        let mut tries = 1;
        loop {
            match $attempt {
                Err(StoreError::Conflict(Conflict::Id)) if tries < TRIES => tries += 1,
                // Somebody else's entry has this key.
                Err(StoreError::Conflict(Conflict::Id)) => break Err(StoreError::Conflict(Conflict::LedgerKey)),
                other => break other,
            }
        }
    }};
}

impl MongoStore {
    fn work<'w>(&'w self, session: &'w mut ClientSession, allowances: &'w Allowances, stamp: &'w Stamp) -> Work<'w> {
        Work::new(self, session, allowances, stamp)
    }

    /// Waits until nobody works on these users. Always in the same order, so that no two wait for each other.
    async fn turn<'u>(&self, users: impl IntoIterator<Item = &'u UserId>) -> Result<Held<'_>, StoreError> {
        self.turns(users, []).await
    }

    /// The same; on `counted` users others of this process alone are waited for. A turn among processes costs two
    /// round trips each, which is worth it for balances that many want at once, not for a hundred counters.
    async fn turns<'u>(
        &self,
        users: impl IntoIterator<Item = &'u UserId>,
        counted: impl IntoIterator<Item = &'u UserId>,
    ) -> Result<Held<'_>, StoreError> {
        let mut places: BTreeMap<u16, bool> = counted.into_iter().map(|user| (stripe(user), false)).collect();
        places.extend(users.into_iter().map(|user| (stripe(user), self.is_replicated())));
        let mut held = Vec::with_capacity(places.len());
        for (place, among_processes) in places {
            let Some(stripe) = self.stripes.0.get(usize::from(place)) else { continue };
            let guard = stripe.lock().await;
            let turn = if among_processes { turns::wait(&self.database, i32::from(place)).await? } else { None };
            held.push((turn, guard));
        }
        Ok(held)
    }

    fn ledger(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// Makes sure that what edges hear of is in this process's feed.
    async fn tell_given(&self, committed: Option<bson::Timestamp>, entries: &[Entry]) {
        let told = entries.iter().filter(|entry| entry.kind.is_told()).map(|entry| &entry.user);
        for user in told.collect::<BTreeSet<_>>() {
            self.told(committed, Happening::User(user.clone())).await;
        }
    }

    /// Whose reservations these are.
    async fn users_of<'i>(&self, ids: impl Iterator<Item = &'i LeaseId>) -> Result<Vec<UserId>, StoreError> {
        let ids: Vec<&str> = ids.map(LeaseId::as_str).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.reservations(doc! { "_id": { "$in": ids } }, doc! { "_id": 1 }, 0).await?;
        Ok(found.into_iter().map(|one| one.user).collect())
    }

    async fn reservations(&self, filter: Document, sort: Document, limit: i64) -> Result<Vec<Reservation>, StoreError> {
        let reservations = self.ledger(schema::RESERVATIONS);
        let found = reservations.find(filter).sort(sort).limit(limit);
        let found: Vec<Document> = bounded(async { found.await?.try_collect().await }).await?;
        found.into_iter().map(documents::reservation).collect()
    }
}

#[async_trait]
impl LedgerStore for MongoStore {
    async fn account(&self, user: &UserId, allowances: &Allowances, stamp: &Stamp) -> Result<Account, StoreError> {
        let found = self.find_user(doc! { "_id": any_id(user.as_str()) }).await?.ok_or(StoreError::NotFound)?;
        let account = documents::account(found)?;
        // Most of the time there is nothing to write.
        if Desk::open(account.clone(), allowances, stamp).close().is_none() {
            return Ok(account);
        }
        let _held = self.turn([user]).await?;
        let ((account, entries), committed) =
            contended!(transaction!(self, |session| self.work(session, allowances, stamp).account(user)))?;
        self.tell_given(committed, &entries).await;
        Ok(account)
    }

    async fn post(&self, posting: &Posting, allowances: &Allowances, stamp: &Stamp) -> Result<Posted, StoreError> {
        let _held = self.turn([&posting.user]).await?;
        let ((posted, entries), committed) =
            contended!(transaction!(self, |session| self.work(session, allowances, stamp).post(posting)))?;
        self.tell_given(committed, &entries).await;
        Ok(posted)
    }

    async fn lease(
        &self,
        call: &LeaseCall,
        allowances: &Allowances,
        stamp: &Stamp,
    ) -> Result<LeaseReceipt, StoreError> {
        let known = call.settle.iter().chain(call.renew.iter().map(|(used, _)| used)).map(|used| &used.id);
        let users = self.users_of(known).await?;
        let _held = self.turn(users.iter().chain(call.take.iter().map(|take| &take.user))).await?;
        let (receipt, committed) =
            contended!(transaction!(self, |session| self.work(session, allowances, stamp).lease(call)))?;
        self.tell_given(committed, &receipt.entries).await;
        // Who has asked waits for others, who hear of it by the feed; where there is none, they are told here.
        if !self.is_replicated() {
            for user in &receipt.recalled {
                self.told(committed, Happening::Recall(user.clone())).await;
            }
        }
        Ok(receipt)
    }

    async fn book(&self, batch: &Batch, allowances: &Allowances, stamp: &Stamp) -> Result<BatchReceipt, StoreError> {
        let users = self.users_of(batch.leases.iter().map(|used| &used.id)).await?;
        let _held = self.turns(&users, batch.counts.iter().map(|count| &count.user)).await?;
        let (receipt, committed) =
            contended!(transaction!(self, |session| self.work(session, allowances, stamp).book(batch)))?;
        self.tell_given(committed, &receipt.entries).await;
        Ok(receipt)
    }

    async fn settle_expired(
        &self,
        limit: usize,
        allowances: &Allowances,
        stamp: &Stamp,
    ) -> Result<Vec<Entry>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let over = doc! { "is_open": true, "expires_at": { "$lte": at(stamp.at) } };
        let mut by_user: BTreeMap<UserId, Vec<LeaseId>> = BTreeMap::new();
        for one in self.reservations(over, doc! { "expires_at": 1 }, limit).await? {
            by_user.entry(one.user).or_default().push(one.id);
        }
        let mut all = Vec::new();
        for (user, ids) in &by_user {
            let _held = self.turn([user]).await?;
            let (entries, committed) =
                contended!(transaction!(self, |session| self.work(session, allowances, stamp).settle(ids)))?;
            self.tell_given(committed, &entries).await;
            all.extend(entries);
        }
        Ok(all)
    }

    async fn entries(&self, user: &UserId, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let before = before.map_or(i64::MAX, number);
        let filter = doc! { "user_id": user.as_str(), "seq": { "$lt": before } };
        let ledger = self.ledger(schema::LEDGER);
        let found = ledger.find(filter).sort(doc! { "seq": -1 }).limit(i64::try_from(limit).unwrap_or(i64::MAX));
        let found: Vec<Document> = bounded(async { found.await?.try_collect().await }).await?;
        found.into_iter().map(documents::entry).collect()
    }

    async fn open_reservations(&self, user: &UserId) -> Result<Vec<Reservation>, StoreError> {
        self.reservations(doc! { "user_id": user.as_str(), "is_open": true }, doc! { "_id": 1 }, 0).await
    }

    async fn count_open_reservations(&self) -> Result<u64, StoreError> {
        bounded(self.ledger(schema::RESERVATIONS).count_documents(doc! { "is_open": true })).await
    }

    async fn daily_usage(&self, user: &UserId, from: &str, to: &str) -> Result<Vec<DailyUsage>, StoreError> {
        let filter = doc! { "user_id": user.as_str(), "day": { "$gte": from, "$lte": to } };
        let daily = self.ledger(schema::USAGE_DAILY);
        let found = daily.find(filter).sort(doc! { "day": 1, "key_id": 1 });
        let found: Vec<Document> = bounded(async { found.await?.try_collect().await }).await?;
        found.into_iter().map(documents::daily).collect()
    }

    async fn forget_batches(&self, before: Timestamp) -> Result<u64, StoreError> {
        let old = doc! { "at": { "$lt": at(before) } };
        Ok(bounded(self.ledger(schema::USAGE_BATCHES).delete_many(old)).await?.deleted_count)
    }
}

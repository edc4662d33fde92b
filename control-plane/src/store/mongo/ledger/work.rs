//! One operation of the ledger in its transaction: brings account and reservation to the desk, and writes what it made
//! of them. It must not know how a transaction is tried again.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use mongodb::{
    ClientSession, Collection,
    bson::{Bson, Document, doc},
};

use super::{
    super::{
        MongoStore, audit, bounded,
        documents::API_KEYS,
        id_of, schema,
        values::{any_id, date, id_forms, id_text},
    },
    documents::{self, number},
};
use crate::{
    domain::{
        self, KeyId, Stamp, UserId,
        ledger::{
            Account, Allowances, Batch, BatchReceipt, Count, Entry, LeaseCall, LeaseId, LeaseReceipt, Posted, Posting,
            Purpose, Reservation, Take, TakeOutcome, UseOutcome, Used, desk::Desk, month,
        },
    },
    store::{Conflict, StoreError},
};

/// A user's account, as it was read and as the desk has left it.
struct Opened {
    id: Bson,
    seq: u64,
    account: Account,
    is_changed: bool,
}

/// A reservation, as the desk has left it.
struct Kept {
    reservation: Reservation,
    is_new: bool,
    is_changed: bool,
}

/// One operation: what it needs, what it has read, and the entries that it has made so far. What has changed is written
/// at its end, each document once.
pub(super) struct Work<'w> {
    store: &'w MongoStore,
    session: &'w mut ClientSession,
    allowances: &'w Allowances,
    stamp: &'w Stamp,
    accounts: BTreeMap<UserId, Option<Opened>>,
    reservations: BTreeMap<LeaseId, Option<Kept>>,
    entries: Vec<Entry>,
    recalled: BTreeSet<UserId>,
}

impl<'w> Work<'w> {
    pub(super) fn new(
        store: &'w MongoStore,
        session: &'w mut ClientSession,
        allowances: &'w Allowances,
        stamp: &'w Stamp,
    ) -> Self {
        let (accounts, reservations) = (BTreeMap::new(), BTreeMap::new());
        let (entries, recalled) = (Vec::new(), BTreeSet::new());
        Self { store, session, allowances, stamp, accounts, reservations, entries, recalled }
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.store.database.collection(name)
    }

    /// Reads a user's account, once.
    async fn open(&mut self, user: &UserId) -> Result<(), StoreError> {
        if self.accounts.contains_key(user) {
            return Ok(());
        }
        let filter = doc! { "_id": any_id(user.as_str()) };
        let opened = match self.store.find_user_in(self.session, filter).await? {
            None => None,
            Some(found) => {
                let id = id_of(&found);
                let account = documents::account(found)?;
                Some(Opened { id, seq: account.seq, account, is_changed: false })
            }
        };
        self.accounts.insert(user.clone(), opened);
        Ok(())
    }

    /// Lets the desk work on a user's account. `None` where there is no such user.
    async fn at_desk<T>(
        &mut self,
        user: &UserId,
        work: impl FnOnce(&mut Desk<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        self.open(user).await?;
        let Some(Some(opened)) = self.accounts.get_mut(user) else { return Ok(None) };
        let mut desk = Desk::open(opened.account.clone(), self.allowances, self.stamp);
        let done = work(&mut desk);
        if let Some((account, entries)) = desk.close() {
            opened.account = account;
            opened.is_changed = true;
            self.entries.extend(entries);
        }
        Ok(Some(done))
    }

    /// Reads reservations, each once.
    async fn fetch(&mut self, wanted: Vec<LeaseId>) -> Result<(), StoreError> {
        let reservations = self.collection(schema::RESERVATIONS);
        for id in wanted {
            let find = reservations.find_one(doc! { "_id": id.as_str() });
            let found = bounded(find.session(&mut *self.session)).await?;
            let found = found.map(documents::reservation).transpose()?;
            let kept = found.map(|reservation| Kept { is_new: false, is_changed: false, reservation });
            self.reservations.insert(id, kept);
        }
        Ok(())
    }

    fn reservation(&self, id: &LeaseId) -> Option<Reservation> {
        self.reservations.get(id).and_then(Option::as_ref).map(|kept| kept.reservation.clone())
    }

    fn keep(&mut self, reservation: Reservation) {
        match self.reservations.get_mut(&reservation.id) {
            Some(Some(kept)) => {
                kept.reservation = reservation;
                kept.is_changed = true;
            }
            _ => {
                let kept = Kept { is_new: true, is_changed: true, reservation };
                self.reservations.insert(kept.reservation.id.clone(), Some(kept));
            }
        }
    }

    /// Which users' documents are to be changed, and how.
    fn changes(&self) -> Vec<(Document, Document)> {
        let mut changes = Vec::new();
        for (user, opened) in &self.accounts {
            let Some(Opened { id, seq, account, is_changed: true }) = opened else { continue };
            let is_told = self.entries.iter().any(|entry| entry.kind.is_told() && entry.user == *user);
            let set = documents::account_members(account, is_told.then_some(self.stamp.at));
            // In a transaction nobody else can have written meanwhile; without one, this notices it. Null is also: not
            // there.
            let seen = if *seq == 0 {
                doc! { "$in": [0_i64, Bson::Null] }
            } else {
                doc! { "$eq": number(*seq) }
            };
            changes.push((doc! { "_id": id, "tokens_seq": seen }, doc! { "$set": set }));
        }
        changes
    }

    /// Writes everything that has changed. Gives the entries.
    async fn finish(mut self) -> Result<Vec<Entry>, StoreError> {
        let users = self.store.users();
        for (condition, change) in self.changes() {
            let update = users.update_one(condition, change).session(&mut *self.session);
            if bounded(update).await?.matched_count == 0 {
                return Err(StoreError::Conflict(Conflict::Id));
            }
        }
        for opened in self.recalled.iter().filter_map(|user| self.accounts.get(user)?.as_ref()) {
            let mut told = Document::new();
            told.insert(documents::RECALLED_AT, date(self.stamp.at));
            let update = users.update_one(doc! { "_id": &opened.id }, doc! { "$set": told });
            let update = update.session(&mut *self.session);
            bounded(update).await?;
        }
        if !self.entries.is_empty() {
            let documents: Vec<Document> = self.entries.iter().map(documents::from_entry).collect();
            let ledger = self.collection(schema::LEDGER);
            bounded(ledger.insert_many(documents).session(&mut *self.session)).await?;
        }
        let reservations = self.collection(schema::RESERVATIONS);
        let mut fresh = Vec::new();
        let kept: Vec<Kept> = std::mem::take(&mut self.reservations).into_values().flatten().collect();
        for kept in kept {
            if !kept.is_changed {
                continue;
            }
            let document = documents::from_reservation(&kept.reservation);
            if kept.is_new {
                fresh.push(document);
                continue;
            }
            let put = reservations.replace_one(doc! { "_id": kept.reservation.id.as_str() }, document);
            bounded(put.session(&mut *self.session)).await?;
        }
        if !fresh.is_empty() {
            bounded(reservations.insert_many(fresh).session(&mut *self.session)).await?;
        }
        Ok(self.entries)
    }

    /// The same as [`Self::at_desk`] for a reservation and its user's account.
    async fn on_reservation(
        &mut self,
        mut one: Reservation,
        work: impl FnOnce(&mut Desk<'_>, &mut Reservation),
    ) -> Result<UseOutcome, StoreError> {
        let before = one.revision;
        if self.at_desk(&one.user.clone(), |desk| work(desk, &mut one)).await?.is_none() {
            // Its user is gone, and nobody's tokens are held any more.
            one.is_open = false;
            self.keep(one);
            return Ok(UseOutcome::Unknown);
        }
        if one.revision != before {
            self.keep(one.clone());
        }
        Ok(if one.is_open { UseOutcome::Open(one) } else { UseOutcome::Ended })
    }

    async fn used(
        &mut self,
        used: &Used,
        work: impl FnOnce(&mut Desk<'_>, &mut Reservation),
    ) -> Result<UseOutcome, StoreError> {
        match self.reservation(&used.id) {
            Some(one) => self.on_reservation(one, work).await,
            None => Ok(UseOutcome::Unknown),
        }
    }

    async fn take(&mut self, take: &Take, node: &str) -> Result<TakeOutcome, StoreError> {
        if let Some(known) = self.reservation(&take.id) {
            return Ok(if known.is_open { TakeOutcome::Granted(known) } else { TakeOutcome::Ended });
        }
        let made = self.at_desk(&take.user, |desk| {
            desk.reserve(take, node).ok_or_else(|| TakeOutcome::Exhausted { reserved: desk.account().reserved })
        });
        match made.await? {
            None => Ok(TakeOutcome::Unknown),
            Some(Err(outcome)) => {
                if take.recall && matches!(outcome, TakeOutcome::Exhausted { reserved } if reserved > 0) {
                    self.recalled.insert(take.user.clone());
                }
                Ok(outcome)
            }
            Some(Ok(reservation)) => {
                self.keep(reservation.clone());
                Ok(TakeOutcome::Granted(reservation))
            }
        }
    }

    pub(super) async fn account(mut self, user: &UserId) -> Result<(Account, Vec<Entry>), StoreError> {
        let account = self.at_desk(user, |desk| desk.account().clone()).await?.ok_or(StoreError::NotFound)?;
        Ok((account, self.finish().await?))
    }

    pub(super) async fn post(mut self, posting: &Posting) -> Result<(Posted, Vec<Entry>), StoreError> {
        let ledger = self.collection(schema::LEDGER);
        let found = bounded(ledger.find_one(doc! { "_id": &posting.key }).session(&mut *self.session)).await?;
        if let Some(entry) = found.map(documents::entry).transpose()? {
            return if posting.made(&entry) {
                Ok((Posted::Done { entry, replayed: true }, Vec::new()))
            } else {
                Err(StoreError::Conflict(Conflict::LedgerKey))
            };
        }
        let posted = self.at_desk(&posting.user, |desk| desk.post(posting)).await?.ok_or(StoreError::NotFound)?;
        let action = match posting.purpose {
            Purpose::Grant => Some("tokens.granted"),
            Purpose::Adjust => Some("tokens.adjusted"),
            Purpose::Consume => None,
        };
        if let (Some(action), Posted::Done { entry, .. }) = (action, &posted) {
            let (before, after) = domain::audit::posting(entry);
            let entry = self.stamp.entry(action, posting.user.as_str(), Some(before), Some(after));
            audit::write(self.store, self.session, &entry).await?;
        }
        Ok((posted, self.finish().await?))
    }

    pub(super) async fn lease(mut self, call: &LeaseCall) -> Result<LeaseReceipt, StoreError> {
        let known = call.settle.iter().chain(call.renew.iter().map(|(used, _)| used)).map(|used| &used.id);
        self.fetch(known.chain(call.take.iter().map(|take| &take.id)).cloned().collect()).await?;
        let mut receipt = LeaseReceipt::default();
        for used in &call.settle {
            let outcome = self.used(used, |desk, one| {
                desk.report(one, used.used);
                desk.settle(one);
            });
            receipt.settled.push(outcome.await?);
        }
        for (used, until) in &call.renew {
            let outcome = self.used(used, |desk, one| desk.renew(one, used.used, *until));
            receipt.renewed.push(outcome.await?);
        }
        for take in &call.take {
            receipt.taken.push(self.take(take, &call.node).await?);
        }
        receipt.recalled = self.recalled.iter().cloned().collect();
        receipt.entries = self.finish().await?;
        Ok(receipt)
    }

    pub(super) async fn book(mut self, batch: &Batch) -> Result<BatchReceipt, StoreError> {
        let batches = self.collection(schema::USAGE_BATCHES);
        let id = documents::batch_id(&batch.node, batch.number);
        let known = bounded(batches.find_one(doc! { "_id": &id }).session(&mut *self.session)).await?;
        if let Some(known) = known {
            let receipt = known.get_str("answer").ok().and_then(BatchReceipt::from_text);
            let corrupt = || StoreError::Corrupt(format!("collection {}: an answer", schema::USAGE_BATCHES));
            return receipt.ok_or_else(corrupt);
        }
        self.fetch(batch.leases.iter().map(|used| used.id.clone()).collect()).await?;
        let unknown_users = self.count(&batch.counts).await?;
        let mut receipt = BatchReceipt { unknown_users, ..BatchReceipt::default() };
        for used in &batch.leases {
            match self.used(used, |desk, one| desk.report(one, used.used)).await? {
                UseOutcome::Open(_) => {}
                UseOutcome::Ended => receipt.ended_leases.push(used.id.as_str().to_owned()),
                UseOutcome::Unknown => receipt.unknown_leases.push(used.id.as_str().to_owned()),
            }
        }
        let document = doc! { "_id": id, "answer": receipt.to_text(), "at": date(self.stamp.at) };
        bounded(batches.insert_one(document).session(&mut *self.session)).await?;
        receipt.entries = self.finish().await?;
        Ok(receipt)
    }

    /// Counts requests, all of them in as many round trips as one. Gives the users that do not exist.
    async fn count(&mut self, counts: &[Count]) -> Result<Vec<String>, StoreError> {
        if counts.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.known_users(counts).await?;
        let mut unknown = Vec::new();
        let (mut daily, mut keys) = (Vec::new(), Vec::new());
        for count in counts {
            let user = count.user.as_str();
            if !known.contains(user) {
                unknown.push(user.to_owned());
                continue;
            }
            // What an Envoy's clock says is not believed beyond ours.
            let seen = count.last_used_at.min(self.stamp.at);
            let (day, key) = (month::day(seen), count.key.as_ref().map_or("", KeyId::as_str));
            let change = doc! {
                "$inc": { "requests": count.requests, "tokens": count.tokens },
                "$setOnInsert": { "user_id": user, "day": &day, "key_id": key },
            };
            let id = doc! { "user_id": user, "day": &day, "key_id": key };
            daily.push(doc! { "q": { "_id": id }, "u": change, "upsert": true });
            if !key.is_empty() {
                let filter = doc! { "_id": any_id(key), "user_id": any_id(user) };
                keys.push(doc! { "q": filter, "u": { "$max": { "last_used_at": date(seen) } } });
            }
        }
        self.update_all(schema::USAGE_DAILY, daily).await?;
        self.update_all(API_KEYS, keys).await?;
        Ok(unknown)
    }

    /// Ids of those of the counted users that exist.
    async fn known_users(&mut self, counts: &[Count]) -> Result<BTreeSet<String>, StoreError> {
        let ids: Vec<Bson> = counts.iter().flat_map(|count| id_forms(count.user.as_str())).collect();
        let users = self.store.users();
        let find = users.find(doc! { "_id": { "$in": ids } }).projection(doc! { "_id": 1 });
        let session = &mut *self.session;
        let found: Vec<Document> =
            bounded(async { find.session(&mut *session).await?.stream(session).try_collect().await }).await?;
        Ok(found.iter().filter_map(|user| id_text(&id_of(user))).collect())
    }

    /// Several updates of a collection in one round trip.
    async fn update_all(&mut self, collection: &str, updates: Vec<Document>) -> Result<(), StoreError> {
        if updates.is_empty() {
            return Ok(());
        }
        let command = doc! { "update": collection, "updates": updates };
        let run = self.store.database.run_command(command).session(&mut *self.session);
        let answer = bounded(run).await?;
        // In a transaction a failed write fails the command; without one it is only told.
        match answer.get_array("writeErrors") {
            Ok(errors) if !errors.is_empty() => Err(StoreError::Conflict(Conflict::Id)),
            _ => Ok(()),
        }
    }

    /// Settles those of these reservations whose time is over still.
    pub(super) async fn settle(mut self, ids: &[LeaseId]) -> Result<Vec<Entry>, StoreError> {
        self.fetch(ids.to_vec()).await?;
        for id in ids {
            let Some(one) = self.reservation(id) else { continue };
            if one.is_open && one.expires_at <= self.stamp.at {
                self.on_reservation(one, |desk, one| desk.settle(one)).await?;
            }
        }
        self.finish().await
    }
}

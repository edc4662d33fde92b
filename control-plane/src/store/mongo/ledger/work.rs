//! One operation of the ledger in its transaction: brings account and reservation to the desk, and writes what it made
//! of them. It must not know how a transaction is tried again.

use mongodb::{
    ClientSession, Collection,
    bson::{Bson, Document, doc},
};

use super::{
    super::{MongoStore, audit, bounded, id_of, schema, values::any_id, values::date},
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

/// One operation: what it needs, and the entries that it has made so far.
pub(super) struct Work<'w> {
    pub(super) store: &'w MongoStore,
    pub(super) session: &'w mut ClientSession,
    pub(super) allowances: &'w Allowances,
    pub(super) stamp: &'w Stamp,
    pub(super) entries: Vec<Entry>,
}

impl Work<'_> {
    fn collection(&self, name: &str) -> Collection<Document> {
        self.store.database.collection(name)
    }

    /// Lets the desk work on a user's account, and writes what has changed. `None` where there is no such user.
    async fn at_desk<T>(
        &mut self,
        user: &UserId,
        work: impl FnOnce(&mut Desk<'_>) -> T,
    ) -> Result<Option<T>, StoreError> {
        let filter = doc! { "_id": any_id(user.as_str()) };
        let Some(found) = self.store.find_user_in(self.session, filter).await? else { return Ok(None) };
        let id = id_of(&found);
        let account = documents::account(found)?;
        let seq = account.seq;
        let mut desk = Desk::open(account, self.allowances, self.stamp);
        let done = work(&mut desk);
        if let Some((account, entries)) = desk.close() {
            self.save(id, seq, &account, &entries).await?;
            self.entries.extend(entries);
        }
        Ok(Some(done))
    }

    async fn save(&mut self, id: Bson, seq: u64, account: &Account, entries: &[Entry]) -> Result<(), StoreError> {
        let is_told = entries.iter().any(|entry| entry.kind.is_told());
        let set = documents::account_members(account, is_told.then_some(self.stamp.at));
        // In a transaction nobody else can have written meanwhile; without one, this notices it. Null is also: not there.
        let seen = if seq == 0 {
            doc! { "$in": [0_i64, Bson::Null] }
        } else {
            doc! { "$eq": number(seq) }
        };
        let condition = doc! { "_id": id, "tokens_seq": seen };
        let users = self.store.users();
        let update = users.update_one(condition, doc! { "$set": set }).session(&mut *self.session);
        if bounded(update).await?.matched_count == 0 {
            return Err(StoreError::Conflict(Conflict::Id));
        }
        if !entries.is_empty() {
            let documents: Vec<Document> = entries.iter().map(documents::from_entry).collect();
            let ledger = self.collection(schema::LEDGER);
            bounded(ledger.insert_many(documents).session(&mut *self.session)).await?;
        }
        Ok(())
    }

    pub(super) async fn reservation(&mut self, id: &LeaseId) -> Result<Option<Reservation>, StoreError> {
        let reservations = self.collection(schema::RESERVATIONS);
        let found = bounded(reservations.find_one(doc! { "_id": id.as_str() }).session(&mut *self.session)).await?;
        found.map(documents::reservation).transpose()
    }

    async fn put_reservation(&mut self, one: &Reservation) -> Result<(), StoreError> {
        let reservations = self.collection(schema::RESERVATIONS);
        let document = documents::from_reservation(one);
        let put = reservations.replace_one(doc! { "_id": one.id.as_str() }, document).upsert(true);
        bounded(put.session(&mut *self.session)).await.map(drop)
    }

    /// The same as [`Self::at_desk`] for a reservation and its user's account.
    pub(super) async fn on_reservation(
        &mut self,
        mut one: Reservation,
        work: impl FnOnce(&mut Desk<'_>, &mut Reservation),
    ) -> Result<UseOutcome, StoreError> {
        let before = one.revision;
        if self.at_desk(&one.user.clone(), |desk| work(desk, &mut one)).await?.is_none() {
            // Its user is gone, and nobody's tokens are held any more.
            one.is_open = false;
            self.put_reservation(&one).await?;
            return Ok(UseOutcome::Unknown);
        }
        if one.revision != before {
            self.put_reservation(&one).await?;
        }
        Ok(if one.is_open { UseOutcome::Open(one) } else { UseOutcome::Ended })
    }

    async fn used(
        &mut self,
        used: &Used,
        work: impl FnOnce(&mut Desk<'_>, &mut Reservation),
    ) -> Result<UseOutcome, StoreError> {
        match self.reservation(&used.id).await? {
            Some(one) => self.on_reservation(one, work).await,
            None => Ok(UseOutcome::Unknown),
        }
    }

    async fn take(&mut self, take: &Take, node: &str) -> Result<TakeOutcome, StoreError> {
        if let Some(known) = self.reservation(&take.id).await? {
            return Ok(if known.is_open { TakeOutcome::Granted(known) } else { TakeOutcome::Ended });
        }
        let made = self.at_desk(&take.user, |desk| {
            desk.reserve(take, node).ok_or_else(|| TakeOutcome::Exhausted { reserved: desk.account().reserved })
        });
        match made.await? {
            None => Ok(TakeOutcome::Unknown),
            Some(Err(outcome)) => Ok(outcome),
            Some(Ok(reservation)) => {
                self.put_reservation(&reservation).await?;
                Ok(TakeOutcome::Granted(reservation))
            }
        }
    }

    pub(super) async fn account(mut self, user: &UserId) -> Result<(Account, Vec<Entry>), StoreError> {
        let account = self.at_desk(user, |desk| desk.account().clone()).await?.ok_or(StoreError::NotFound)?;
        Ok((account, self.entries))
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
        Ok((posted, self.entries))
    }

    pub(super) async fn lease(mut self, call: &LeaseCall) -> Result<LeaseReceipt, StoreError> {
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
        receipt.entries = self.entries;
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
        let mut receipt = BatchReceipt::default();
        for count in &batch.counts {
            if !self.count(count).await? {
                receipt.unknown_users.push(count.user.as_str().to_owned());
            }
        }
        for used in &batch.leases {
            match self.used(used, |desk, one| desk.report(one, used.used)).await? {
                UseOutcome::Open(_) => {}
                UseOutcome::Ended => receipt.ended_leases.push(used.id.as_str().to_owned()),
                UseOutcome::Unknown => receipt.unknown_leases.push(used.id.as_str().to_owned()),
            }
        }
        let document = doc! { "_id": id, "answer": receipt.to_text(), "at": date(self.stamp.at) };
        bounded(batches.insert_one(document).session(&mut *self.session)).await?;
        receipt.entries = self.entries;
        Ok(receipt)
    }

    /// Counts requests; false where there is no such user.
    async fn count(&mut self, count: &Count) -> Result<bool, StoreError> {
        let filter = doc! { "_id": any_id(count.user.as_str()) };
        if self.store.find_user_in(self.session, filter).await?.is_none() {
            return Ok(false);
        }
        // What an Envoy's clock says is not believed beyond ours.
        let seen = count.last_used_at.min(self.stamp.at);
        let (day, key) = (month::day(seen), count.key.as_ref().map_or("", KeyId::as_str));
        let id = doc! { "user_id": count.user.as_str(), "day": &day, "key_id": key };
        let change = doc! {
            "$inc": { "requests": count.requests, "tokens": count.tokens },
            "$setOnInsert": { "user_id": count.user.as_str(), "day": &day, "key_id": key },
        };
        let daily = self.collection(schema::USAGE_DAILY);
        let counted = daily.update_one(doc! { "_id": id }, change).upsert(true);
        bounded(counted.session(&mut *self.session)).await?;
        if !key.is_empty() {
            let filter = doc! { "_id": any_id(key), "user_id": any_id(count.user.as_str()) };
            let later = doc! { "$max": { "last_used_at": date(seen) } };
            let keys = self.store.api_keys();
            let update = keys.update_one(filter, later).session(&mut *self.session);
            bounded(update).await?;
        }
        Ok(true)
    }

    /// Settles those of these reservations whose time is over still.
    pub(super) async fn settle(mut self, ids: &[LeaseId]) -> Result<Vec<Entry>, StoreError> {
        for id in ids {
            let Some(one) = self.reservation(id).await? else { continue };
            if one.is_open && one.expires_at <= self.stamp.at {
                self.on_reservation(one, |desk, one| desk.settle(one)).await?;
            }
        }
        Ok(self.entries)
    }
}

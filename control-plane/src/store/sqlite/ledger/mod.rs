//! The ledger's tables: brings account and reservation to the desk, and writes what it made of them, in one transaction.

mod rows;

use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, Transaction, params};

use self::rows::number;
use super::{SqliteStore, audit, fault, feed};
use crate::{
    domain::{
        self, Happening, KeyId, Stamp, Timestamp, UserId,
        ledger::{
            Account, Allowances, Batch, BatchReceipt, Count, DailyUsage, Entry, LeaseCall, LeaseReceipt, Posted,
            Posting, Purpose, Reservation, Take, TakeOutcome, UseOutcome, Used, desk::Desk, month,
        },
    },
    store::{Conflict, LedgerStore, StoreError},
};

/// One transaction at work: what every operation needs, and the entries that it has made so far.
struct Work<'t> {
    transaction: &'t Transaction<'t>,
    allowances: &'t Allowances,
    stamp: &'t Stamp,
    entries: Vec<Entry>,
    recalled: Vec<UserId>,
}

impl<'t> Work<'t> {
    fn new(transaction: &'t Transaction<'t>, allowances: &'t Allowances, stamp: &'t Stamp) -> Self {
        Self { transaction, allowances, stamp, entries: Vec::new(), recalled: Vec::new() }
    }

    /// Lets the desk work on a user's account, and writes what has changed. `None` where there is no such user.
    fn at_desk<T>(&mut self, user: &UserId, work: impl FnOnce(&mut Desk<'_>) -> T) -> Result<Option<T>, StoreError> {
        let Some(account) = rows::account(self.transaction, user)? else { return Ok(None) };
        let mut desk = Desk::open(account, self.allowances, self.stamp);
        let done = work(&mut desk);
        if let Some((account, entries)) = desk.close() {
            rows::save(self.transaction, &account, &entries, self.stamp)?;
            self.entries.extend(entries);
        }
        Ok(Some(done))
    }

    /// The same for a reservation and its user's account.
    fn on_reservation(
        &mut self,
        mut one: Reservation,
        work: impl FnOnce(&mut Desk<'_>, &mut Reservation),
    ) -> Result<UseOutcome, StoreError> {
        let before = one.revision;
        if self.at_desk(&one.user.clone(), |desk| work(desk, &mut one))?.is_none() {
            // Its user is gone, and nobody's tokens are held any more.
            one.is_open = false;
            rows::put_reservation(self.transaction, &one)?;
            return Ok(UseOutcome::Unknown);
        }
        if one.revision != before {
            rows::put_reservation(self.transaction, &one)?;
        }
        Ok(if one.is_open { UseOutcome::Open(one) } else { UseOutcome::Ended })
    }

    fn used(
        &mut self,
        used: &Used,
        work: impl FnOnce(&mut Desk<'_>, &mut Reservation),
    ) -> Result<UseOutcome, StoreError> {
        match rows::reservation(self.transaction, &used.id)? {
            Some(one) => self.on_reservation(one, work),
            None => Ok(UseOutcome::Unknown),
        }
    }

    fn take(&mut self, take: &Take, node: &str) -> Result<TakeOutcome, StoreError> {
        if let Some(known) = rows::reservation(self.transaction, &take.id)? {
            return Ok(if known.is_open { TakeOutcome::Granted(known) } else { TakeOutcome::Ended });
        }
        let made = self.at_desk(&take.user, |desk| {
            desk.reserve(take, node).ok_or_else(|| TakeOutcome::Exhausted { reserved: desk.account().reserved })
        })?;
        match made {
            None => Ok(TakeOutcome::Unknown),
            Some(Err(outcome)) => {
                if take.recall && matches!(outcome, TakeOutcome::Exhausted { reserved } if reserved > 0) {
                    feed::write(self.transaction, &Happening::Recall(take.user.clone()), self.stamp.at)?;
                    self.recalled.push(take.user.clone());
                }
                Ok(outcome)
            }
            Some(Ok(reservation)) => {
                rows::put_reservation(self.transaction, &reservation)?;
                Ok(TakeOutcome::Granted(reservation))
            }
        }
    }

    fn post(&mut self, posting: &Posting) -> Result<Posted, StoreError> {
        if let Some(entry) = rows::entry_by_key(self.transaction, &posting.key)? {
            return if posting.made(&entry) {
                Ok(Posted::Done { entry, replayed: true })
            } else {
                Err(StoreError::Conflict(Conflict::LedgerKey))
            };
        }
        let posted = self.at_desk(&posting.user, |desk| desk.post(posting))?.ok_or(StoreError::NotFound)?;
        let action = match posting.purpose {
            Purpose::Grant => "tokens.granted",
            Purpose::Adjust => "tokens.adjusted",
            Purpose::Consume => return Ok(posted),
        };
        if let Posted::Done { entry, .. } = &posted {
            let (before, after) = domain::audit::posting(entry);
            let entry = self.stamp.entry(action, posting.user.as_str(), Some(before), Some(after));
            audit::write(self.transaction, &entry)?;
        }
        Ok(posted)
    }

    fn lease(&mut self, call: &LeaseCall) -> Result<LeaseReceipt, StoreError> {
        let mut receipt = LeaseReceipt::default();
        for used in &call.settle {
            receipt.settled.push(self.used(used, |desk, one| {
                desk.report(one, used.used);
                desk.settle(one);
            })?);
        }
        for (used, until) in &call.renew {
            receipt.renewed.push(self.used(used, |desk, one| desk.renew(one, used.used, *until))?);
        }
        for take in &call.take {
            receipt.taken.push(self.take(take, &call.node)?);
        }
        receipt.recalled = std::mem::take(&mut self.recalled);
        receipt.entries = std::mem::take(&mut self.entries);
        Ok(receipt)
    }

    fn book(&mut self, batch: &Batch) -> Result<BatchReceipt, StoreError> {
        let answer: Option<String> = self
            .transaction
            .prepare_cached("SELECT answer FROM usage_batches WHERE node = ?1 AND number = ?2")
            .and_then(|mut statement| {
                statement.query_row(params![batch.node, number(batch.number)], |row| row.get(0)).optional()
            })
            .map_err(fault)?;
        if let Some(text) = answer {
            return BatchReceipt::from_text(&text)
                .ok_or_else(|| StoreError::Corrupt("usage_batches.answer".to_owned()));
        }
        let mut receipt = BatchReceipt::default();
        for count in &batch.counts {
            if !self.count(count)? {
                receipt.unknown_users.push(count.user.as_str().to_owned());
            }
        }
        for used in &batch.leases {
            match self.used(used, |desk, one| desk.report(one, used.used))? {
                UseOutcome::Open(_) => {}
                UseOutcome::Ended => receipt.ended_leases.push(used.id.as_str().to_owned()),
                UseOutcome::Unknown => receipt.unknown_leases.push(used.id.as_str().to_owned()),
            }
        }
        receipt.entries = std::mem::take(&mut self.entries);
        self.transaction
            .execute(
                "INSERT INTO usage_batches VALUES (?1, ?2, ?3, ?4)",
                params![batch.node, number(batch.number), receipt.to_text(), self.stamp.at.millis()],
            )
            .map_err(fault)?;
        Ok(receipt)
    }

    /// Counts requests; false where there is no such user.
    fn count(&mut self, count: &Count) -> Result<bool, StoreError> {
        // What an Envoy's clock says is not believed beyond ours.
        let at = count.last_used_at.min(self.stamp.at);
        let key = count.key.as_ref().map_or("", KeyId::as_str);
        let mut statement = self
            .transaction
            .prepare_cached(
                "INSERT INTO usage_daily SELECT id, ?2, ?3, ?4, ?5 FROM users WHERE id = ?1
                 ON CONFLICT (user_id, day, key_id)
                 DO UPDATE SET requests = requests + excluded.requests, tokens = tokens + excluded.tokens",
            )
            .map_err(fault)?;
        let counted = statement
            .execute(params![count.user.as_str(), month::day(at), key, count.requests, count.tokens])
            .map_err(fault)?;
        if counted == 0 {
            return Ok(false);
        }
        if count.key.is_some() {
            let mut statement = self
                .transaction
                .prepare_cached(
                    "UPDATE api_keys SET last_used_at = ?3 WHERE id = ?1 AND user_id = ?2
                     AND (last_used_at IS NULL OR last_used_at < ?3)",
                )
                .map_err(fault)?;
            statement.execute(params![key, count.user.as_str(), at.millis()]).map_err(fault)?;
        }
        Ok(true)
    }
}

impl SqliteStore {
    /// Runs `work` in one transaction.
    async fn ledger<T, W>(&self, allowances: &Allowances, stamp: &Stamp, work: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Work<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (allowances, stamp) = (*allowances, stamp.clone());
        self.write(move |transaction| work(&mut Work::new(transaction, &allowances, &stamp))).await
    }
}

#[async_trait]
impl LedgerStore for SqliteStore {
    async fn account(&self, user: &UserId, allowances: &Allowances, stamp: &Stamp) -> Result<Account, StoreError> {
        let id = user.clone();
        let account = self.read(move |connection| rows::account(connection, &id)).await?.ok_or(StoreError::NotFound)?;
        // Most of the time there is nothing to write: then nobody waits for the writer.
        if Desk::open(account.clone(), allowances, stamp).close().is_none() {
            return Ok(account);
        }
        let user = user.clone();
        self.ledger(allowances, stamp, move |work| {
            work.at_desk(&user, |desk| desk.account().clone())?.ok_or(StoreError::NotFound)
        })
        .await
    }

    async fn post(&self, posting: &Posting, allowances: &Allowances, stamp: &Stamp) -> Result<Posted, StoreError> {
        let posting = posting.clone();
        self.ledger(allowances, stamp, move |work| work.post(&posting)).await
    }

    async fn lease(
        &self,
        call: &LeaseCall,
        allowances: &Allowances,
        stamp: &Stamp,
    ) -> Result<LeaseReceipt, StoreError> {
        let call = call.clone();
        self.ledger(allowances, stamp, move |work| work.lease(&call)).await
    }

    async fn book(&self, batch: &Batch, allowances: &Allowances, stamp: &Stamp) -> Result<BatchReceipt, StoreError> {
        let batch = batch.clone();
        self.ledger(allowances, stamp, move |work| work.book(&batch)).await
    }

    async fn settle_expired(
        &self,
        limit: usize,
        allowances: &Allowances,
        stamp: &Stamp,
    ) -> Result<Vec<Entry>, StoreError> {
        let (limit, now) = (i64::try_from(limit).unwrap_or(i64::MAX), stamp.at);
        if self.read(move |connection| rows::expired(connection, now, 1)).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.ledger(allowances, stamp, move |work| {
            for one in rows::expired(work.transaction, now, limit)? {
                work.on_reservation(one, |desk, one| desk.settle(one))?;
            }
            Ok(std::mem::take(&mut work.entries))
        })
        .await
    }

    async fn entries(&self, user: &UserId, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (user, before) = (user.clone(), before.map_or(i64::MAX, number));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(move |connection| rows::entries(connection, &user, before, limit)).await
    }

    async fn open_reservations(&self, user: &UserId) -> Result<Vec<Reservation>, StoreError> {
        let user = user.clone();
        self.read(move |connection| rows::open_reservations(connection, &user)).await
    }

    async fn count_open_reservations(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let count: i64 = connection
                .query_row("SELECT count(*) FROM reservations WHERE is_open = 1", [], |row| row.get(0))
                .map_err(fault)?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    async fn daily_usage(&self, user: &UserId, from: &str, to: &str) -> Result<Vec<DailyUsage>, StoreError> {
        let (user, from, to) = (user.clone(), from.to_owned(), to.to_owned());
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached(
                    "SELECT day, key_id, requests, tokens FROM usage_daily
                     WHERE user_id = ?1 AND day >= ?2 AND day <= ?3 ORDER BY day, key_id",
                )
                .map_err(fault)?;
            let rows = statement
                .query_map([user.as_str(), &from, &to], |row| {
                    let key: String = row.get(1)?;
                    let key = (!key.is_empty()).then(|| KeyId::new(key));
                    Ok(DailyUsage { day: row.get(0)?, key, requests: row.get(2)?, tokens: row.get(3)? })
                })
                .map_err(fault)?;
            rows.collect::<Result<_, _>>().map_err(fault)
        })
        .await
    }

    async fn forget_batches(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.write(move |transaction| {
            let gone =
                transaction.execute("DELETE FROM usage_batches WHERE at < ?1", [before.millis()]).map_err(fault)?;
            Ok(u64::try_from(gone).unwrap_or(0))
        })
        .await
    }
}

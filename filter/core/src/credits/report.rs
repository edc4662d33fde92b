//! What is reported: requests by user and key, and what was used of leases, in numbered batches. A batch is sent again as
//! it was until it is answered; the next one comes after it. It must not know what a lease is worth.

use core::cell::Cell;
use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use ahash::RandomState;
use tollgate_protocol::credits::{UsageCount, UsageReport};

/// Most counts, and most leases, of one batch: what is more comes with the next one. To write down so many takes a tenth of
/// a millisecond or two, for which requests wait.
pub(super) const MOST: usize = 128;
/// Most users and keys whose requests are counted between two batches. What is more is not counted, and paid for all the
/// same.
const MOST_ROWS: usize = 20_000;
/// How long a batch that was not answered waits until it is sent again, in milliseconds.
const RETRY_MS: u64 = 500;

/// Where somebody's requests were counted last. It lies beside what is known of them, so that whoever comes again is not
/// looked for by name.
#[derive(Debug, Default)]
pub struct Place(Cell<Option<u64>>);

#[derive(Debug)]
struct Row {
    user: Rc<str>,
    key: Option<Box<str>>,
    requests: u64,
    tokens: u64,
    /// Unix seconds.
    last: u64,
}

/// The counts since the last batch, oldest first. Each has a number that no other one ever has.
#[derive(Debug)]
struct Rows {
    rows: VecDeque<Row>,
    /// The number of the oldest.
    first: u64,
    /// The numbers by a hash of user and key. The rare one that another has taken is counted in a row of its own each time.
    numbers: HashMap<u64, u64, RandomState>,
}

impl Rows {
    fn row(&mut self, number: u64) -> Option<&mut Row> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.rows.get_mut(at)
    }

    fn add(&mut self, user: &str, key: Option<&str>, place: &Place, add: impl FnOnce(&mut Row)) {
        if let Some(number) = place.0.get()
            && let Some(row) = self.row(number)
        {
            return add(row);
        }
        let name = self.numbers.hasher().hash_one((user, key));
        let known = self.numbers.get(&name).copied();
        if let Some(number) = known
            && let Some(row) = self.row(number)
            && (&*row.user, row.key.as_deref()) == (user, key)
        {
            place.0.set(Some(number));
            return add(row);
        }
        if self.rows.len() >= MOST_ROWS {
            return;
        }
        let number = self.first.saturating_add(u64::try_from(self.rows.len()).unwrap_or(u64::MAX));
        let mut row = Row { user: user.into(), key: key.map(Into::into), requests: 0, tokens: 0, last: 0 };
        add(&mut row);
        self.rows.push_back(row);
        self.numbers.insert(name, number);
        place.0.set(Some(number));
    }

    fn take(&mut self) -> Vec<UsageCount> {
        let taken: Vec<Row> = self.rows.drain(..self.rows.len().min(MOST)).collect();
        self.first = self.first.saturating_add(u64::try_from(taken.len()).unwrap_or(u64::MAX));
        for row in &taken {
            let name = self.numbers.hasher().hash_one((&*row.user, row.key.as_deref()));
            if self.numbers.get(&name).is_some_and(|number| *number < self.first) {
                self.numbers.remove(&name);
            }
        }
        let count = |row: Row| UsageCount {
            user_id: row.user.as_ref().to_owned(),
            key_id: row.key.map(Into::into),
            requests: row.requests,
            tokens: row.tokens,
            last_used_at: row.last,
        };
        taken.into_iter().map(count).collect()
    }
}

/// A batch, and which leases of whom it tells of, and how much.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) report: UsageReport,
    pub(super) owners: Vec<Rc<str>>,
    is_under_way: bool,
}

/// What is to be reported by one node.
#[derive(Debug)]
pub(super) struct Reports {
    node: String,
    every_ms: u64,
    rows: Rows,
    number: u64,
    batch: Option<Batch>,
    next_at: u64,
}

impl Reports {
    pub(super) fn new(node: String, every_ms: u64, hasher: RandomState) -> Self {
        let rows = Rows { rows: VecDeque::new(), first: 0, numbers: HashMap::with_hasher(hasher) };
        Self { node, every_ms, rows, number: 0, batch: None, next_at: 0 }
    }

    /// Counts a request that was let through.
    pub(super) fn count(&mut self, user: &str, key: Option<&str>, place: &Place, seconds: u64) {
        self.rows.add(user, key, place, |row| {
            row.requests = row.requests.saturating_add(1);
            row.last = row.last.max(seconds);
        });
    }

    /// Counts tokens that a request has cost.
    pub(super) fn spent(&mut self, user: &str, key: Option<&str>, tokens: u64, seconds: u64) {
        self.rows.add(user, key, &Place::default(), |row| {
            row.tokens = row.tokens.saturating_add(tokens);
            row.last = row.last.max(seconds);
        });
    }

    /// The batch that is to be sent now: a new one, or the last one again. `leases` are the totals that the control plane
    /// is not known to have, with whose they are.
    pub(super) fn due(
        &mut self,
        leases: impl Iterator<Item = (Rc<str>, tollgate_protocol::credits::LeaseUse)>,
        now: u64,
    ) -> Option<UsageReport> {
        if now < self.next_at {
            return None;
        }
        if self.batch.is_none() {
            let (owners, leases): (Vec<_>, Vec<_>) = leases.take(MOST).unzip();
            let requests = self.rows.take();
            if requests.is_empty() && leases.is_empty() {
                return None;
            }
            self.number = self.number.saturating_add(1);
            let report = UsageReport { node: self.node.clone(), batch: self.number, requests, leases };
            self.batch = Some(Batch { report, owners, is_under_way: false });
        }
        let batch = self.batch.as_mut().filter(|batch| !batch.is_under_way)?;
        batch.is_under_way = true;
        Some(batch.report.clone())
    }

    /// The batch that was sent is with the control plane. Gives it, so that its leases can be marked.
    pub(super) fn arrived(&mut self, now: u64) -> Option<Batch> {
        // What did not fit goes at once.
        let is_full = self
            .batch
            .as_ref()
            .is_some_and(|batch| batch.report.requests.len() >= MOST || batch.report.leases.len() >= MOST);
        self.next_at = if is_full { now } else { now.saturating_add(self.every_ms) };
        self.batch.take()
    }

    /// The batch that was sent was not answered.
    pub(super) fn failed(&mut self, now: u64) {
        self.next_at = now.saturating_add(RETRY_MS);
        if let Some(batch) = &mut self.batch {
            batch.is_under_way = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reports() -> Reports {
        Reports::new("node".into(), 1_000, RandomState::with_seeds(1, 2, 3, 4))
    }

    fn take(reports: &mut Reports) -> Vec<(String, Option<String>, u64, u64)> {
        let Some(report) = reports.due(core::iter::empty(), reports.next_at) else { return Vec::new() };
        reports.arrived(reports.next_at);
        report.requests.into_iter().map(|one| (one.user_id, one.key_id, one.requests, one.tokens)).collect()
    }

    #[test]
    fn each_user_and_key_has_a_row_wherever_it_was_counted_last() {
        let mut reports = reports();
        let (own, key, other) = (Place::default(), Place::default(), Place::default());
        for round in 0..3 {
            reports.count("ada", None, &own, 1);
            reports.count("ada", Some("k"), &key, 2);
            reports.count("ada", None, &own, 3);
            // Somebody is known anew, as after a change.
            reports.count("ada", None, &Place::default(), 4);
            reports.spent("ada", Some("k"), 7, 5);
            if round == 1 {
                reports.count("bob", None, &other, 6);
            }
            let mut expected = vec![("ada".into(), None, 3, 0), ("ada".into(), Some("k".into()), 1, 7)];
            expected.extend((round == 1).then(|| ("bob".into(), None, 1, 0)));
            assert_eq!(take(&mut reports), expected, "round {round}");
        }
        assert_eq!(take(&mut reports), []);
    }

    #[test]
    fn nobody_is_lost_or_counted_for_another_while_batches_go() {
        let mut reports = reports();
        let places: Vec<Place> = (0..3_000).map(|_| Place::default()).collect();
        let (mut counted, mut told) = (0, 0);
        for round in 0..40 {
            for (number, place) in places.iter().enumerate().skip(round * 37 % 500).step_by(1 + round % 3) {
                reports.count(&format!("user{number}"), None, place, 1);
                counted += 1;
            }
            let batch = take(&mut reports);
            assert!(batch.len() <= MOST);
            told += batch.iter().map(|(.., requests, _)| requests).sum::<u64>();
        }
        while let batch = take(&mut reports)
            && !batch.is_empty()
        {
            told += batch.iter().map(|(.., requests, _)| requests).sum::<u64>();
        }
        assert_eq!((told, reports.rows.numbers.len()), (counted, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut reports = reports();
        (0..MOST_ROWS + 5_000).for_each(|user| reports.count(&user.to_string(), None, &Place::default(), 1));
        assert_eq!((reports.rows.rows.len(), reports.rows.numbers.len()), (MOST_ROWS, MOST_ROWS));
    }
}

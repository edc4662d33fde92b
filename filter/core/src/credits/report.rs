//! What is reported: requests by user and key, and what was used of leases, in numbered batches. A batch is sent again as
//! it was until it is answered; the next one comes after it. It must not know what a lease is worth.

use std::{collections::HashMap, rc::Rc};

use ahash::RandomState;
use tollgate_protocol::credits::{UsageCount, UsageReport};

/// Most counts, and most leases, of one batch: what is more comes with the next one.
pub(super) const MOST: usize = 400;
/// Most users whose requests are counted between two batches. What is more is not counted, and paid for all the same.
const MOST_USERS: usize = 20_000;
/// How long a batch that was not answered waits until it is sent again, in milliseconds.
const RETRY_MS: u64 = 500;

#[derive(Debug)]
struct Count {
    requests: u64,
    tokens: u64,
    /// Unix seconds.
    last: u64,
}

impl Count {
    fn add(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.tokens = self.tokens.saturating_add(more.tokens);
        self.last = self.last.max(more.last);
    }
}

/// The counts of one user: without a key, and by key. There may be many keys, and every request looks for one.
#[derive(Debug)]
struct Counts {
    own: Option<Count>,
    keys: HashMap<Box<str>, Count, RandomState>,
}

impl Counts {
    fn new(hasher: RandomState) -> Self {
        Self { own: None, keys: HashMap::with_hasher(hasher) }
    }

    fn add(&mut self, key: Option<&str>, more: Count) {
        let known = match key {
            Some(key) => self.keys.get_mut(key),
            None => self.own.as_mut(),
        };
        match (known, key) {
            (Some(known), _) => known.add(more),
            (None, Some(key)) => drop(self.keys.insert(key.into(), more)),
            (None, None) => self.own = Some(more),
        }
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
    counts: HashMap<Rc<str>, Counts, RandomState>,
    hasher: RandomState,
    number: u64,
    batch: Option<Batch>,
    next_at: u64,
}

impl Reports {
    pub(super) fn new(node: String, every_ms: u64, hasher: RandomState) -> Self {
        let counts = HashMap::with_hasher(hasher.clone());
        Self { node, every_ms, counts, hasher, number: 0, batch: None, next_at: 0 }
    }

    /// Counts requests, and tokens that they have cost.
    pub(super) fn count(&mut self, user: &str, key: Option<&str>, requests: u64, tokens: u64, seconds: u64) {
        let more = Count { requests, tokens, last: seconds };
        if let Some(counts) = self.counts.get_mut(user) {
            counts.add(key, more);
        } else if self.counts.len() < MOST_USERS {
            let mut counts = Counts::new(self.hasher.clone());
            counts.add(key, more);
            self.counts.insert(user.into(), counts);
        }
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
            let requests = self.take_counts();
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

    fn take_counts(&mut self) -> Vec<UsageCount> {
        let mut taken = Vec::new();
        let users: Vec<Rc<str>> = self.counts.keys().take(MOST).cloned().collect();
        for user in users {
            let Some(counts) = self.counts.remove(&user) else { continue };
            let own = counts.own.map(|count| (None, count));
            let mut counts = own.into_iter().chain(counts.keys.into_iter().map(|(key, count)| (Some(key), count)));
            for (key, count) in counts.by_ref().take(MOST.saturating_sub(taken.len())) {
                taken.push(UsageCount {
                    user_id: user.as_ref().to_owned(),
                    key_id: key.map(Into::into),
                    requests: count.requests,
                    tokens: count.tokens,
                    last_used_at: count.last,
                });
            }
            let mut rest = Counts::new(self.hasher.clone());
            counts.for_each(|(key, count)| rest.add(key.as_deref(), count));
            if rest.own.is_some() || !rest.keys.is_empty() {
                self.counts.insert(user, rest);
                break;
            }
        }
        taken
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

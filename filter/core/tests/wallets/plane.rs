//! A control plane as far as workers can tell: one balance per user, leases, batches. It must not know a worker's purse.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_protocol::credits::{
    LeaseAnswer, LeaseOutcome, LeaseRequest, LeaseState, LeaseTaken, TakeOutcome, UsageAnswer, UsageReport,
};

#[derive(Debug)]
struct Lease {
    user: String,
    amount: u64,
    used: u64,
    expires_at: u64,
    is_open: bool,
}

impl Lease {
    fn held(&self) -> u64 {
        if self.is_open { self.amount.saturating_sub(self.used) } else { 0 }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Plane {
    pub(crate) balances: BTreeMap<String, u64>,
    pub(crate) used: BTreeMap<String, u64>,
    /// Used, and nothing was there for it.
    pub(crate) uncovered: u64,
    leases: BTreeMap<String, Lease>,
    batches: BTreeSet<(String, u64)>,
    /// Requests that were counted.
    pub(crate) counted: u64,
    /// Whose tokens are to be given back.
    pub(crate) recalls: Vec<String>,
    pub(crate) messages: u64,
}

impl Plane {
    pub(crate) fn of(balances: BTreeMap<String, u64>) -> Self {
        Self { balances, ..Self::default() }
    }

    /// Books a total; what is beyond the lease comes from the balance.
    fn report(&mut self, id: &str, used: u64) {
        let Some(lease) = self.leases.get_mut(id) else { panic!("no lease {id}") };
        let more = used.saturating_sub(lease.used);
        let beyond = more.saturating_sub(lease.held());
        let balance = self.balances.get_mut(&lease.user).unwrap();
        let covered = beyond.min(*balance);
        *balance -= covered;
        self.uncovered += beyond - covered;
        *self.used.entry(lease.user.clone()).or_default() += more;
        lease.used = lease.used.max(used);
    }

    fn settle(&mut self, id: &str) {
        let lease = self.leases.get_mut(id).unwrap();
        *self.balances.get_mut(&lease.user).unwrap() += lease.held();
        lease.is_open = false;
    }

    /// Settles what is over.
    pub(crate) fn expire(&mut self, now: u64) {
        let over: Vec<String> = self
            .leases
            .iter()
            .filter(|(_, one)| one.is_open && one.expires_at <= now)
            .map(|(id, _)| id.clone())
            .collect();
        over.iter().for_each(|id| self.settle(id));
    }

    pub(crate) fn open(&self) -> usize {
        self.leases.values().filter(|lease| lease.is_open).count()
    }

    pub(crate) fn lease(&mut self, request: &LeaseRequest, now: u64) -> LeaseAnswer {
        self.messages += 1;
        assert!(request.settle.len() + request.renew.len() + request.take.len() <= 200);
        let mut answer = LeaseAnswer::default();
        for one in &request.settle {
            self.report(&one.id, one.used);
            self.settle(&one.id);
            answer.settled.push(LeaseState { id: one.id.clone(), outcome: LeaseOutcome::Ended });
        }
        for one in &request.renew {
            self.report(&one.id, one.used);
            let lease = self.leases.get_mut(&one.id).unwrap();
            let outcome = if lease.is_open {
                lease.expires_at = lease.expires_at.max(now + u64::from(one.extend_seconds) * 1000);
                LeaseOutcome::Open { amount: lease.amount, expires_at: lease.expires_at / 1000 }
            } else {
                LeaseOutcome::Ended
            };
            answer.renewed.push(LeaseState { id: one.id.clone(), outcome });
        }
        for one in &request.take {
            assert!(one.least <= one.wanted && one.least > 0 && one.share > 0, "{one:?}");
            let id = format!("{}/{}", request.node, one.request);
            let reserved = self.leases.values().filter(|lease| lease.user == one.user_id).map(Lease::held).sum();
            let balance = self.balances.get_mut(&one.user_id).unwrap();
            let share = (*balance / u64::from(one.share)).max(one.least);
            let amount = one.wanted.min(share).min(*balance);
            let outcome = match self.leases.get(&id) {
                Some(lease) if lease.is_open => TakeOutcome::Granted { id, amount: lease.amount, expires_at: 0 },
                Some(_) => TakeOutcome::Ended,
                None if amount < one.least => {
                    if one.recall && reserved > 0 {
                        self.recalls.push(one.user_id.clone());
                    }
                    TakeOutcome::Exhausted { reserved }
                }
                None => {
                    *balance -= amount;
                    let expires_at = now + u64::from(one.seconds) * 1000;
                    let lease = Lease { user: one.user_id.clone(), amount, used: 0, expires_at, is_open: true };
                    self.leases.insert(id.clone(), lease);
                    TakeOutcome::Granted { id, amount, expires_at: expires_at / 1000 }
                }
            };
            answer.taken.push(LeaseTaken { request: one.request.clone(), outcome });
        }
        answer
    }

    pub(crate) fn book(&mut self, report: &UsageReport) -> UsageAnswer {
        self.messages += 1;
        let mut answer = UsageAnswer::default();
        let is_new = self.batches.insert((report.node.clone(), report.batch));
        for one in &report.leases {
            self.report(&one.id, one.used);
            if !self.leases[&one.id].is_open {
                answer.ended_leases.push(one.id.clone());
            }
        }
        if is_new {
            self.counted += report.requests.iter().map(|count| count.requests).sum::<u64>();
        }
        answer
    }
}

//! Limits over all Envoys. Each Envoy holds a lease of every bucket: the part of it that is its own if all Envoys share
//! alike. It counts that part like a bucket of its own (`limits/limiter.rs`), reports beside requests what it has used,
//! and the answer renews the lease, smaller where little is left for all, and shuts it where nothing is. So no request
//! waits for the control plane; all Envoys together let through the limit and one lease each at most; and where no answer
//! comes, what remains is the Envoy's own part of the rate. This module must not know what a limit is named for.

use ahash::RandomState;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use tollgate_protocol::limits::{BucketState, BucketUse, LimitsAnswer, LimitsReport, MAX_BUCKETS, REPORT_SECONDS};

use super::{
    Subject,
    pace::{Moment, Pace},
};
use crate::cache::Bounded;

/// How many buckets one worker remembers. What it has used of one that it forgets is not reported.
const MAX_TALLIES: usize = 16_384;
/// So many Envoys share until the control plane has said how many there are.
const ENVOYS_AT_FIRST: u32 = 4;
/// Shortest time between two reports, in nanoseconds.
const EVERY: u64 = 20_000_000;
/// How long nothing is reported after a report has failed, in nanoseconds.
const PAUSE: u64 = 1_000_000_000;
/// Longest time between two reports, in nanoseconds.
const AT_LEAST_EVERY: u64 = REPORT_SECONDS * 1_000_000_000;

/// What one worker has used of one bucket.
#[derive(Debug, Clone, Copy)]
struct Tally {
    bucket: [u8; 16],
    pace: Pace,
    unreported: u32,
    /// Whether its name is in the list of what has to be reported.
    is_listed: bool,
    /// What was left for all when the control plane said so, without what this worker has used since.
    left: Option<u64>,
}

/// What an answer says about one bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewal {
    /// Name of the bucket.
    pub name: u64,
    /// This Envoy's part of it.
    pub share: Pace,
    /// How much of what was used is counted now.
    pub used: u64,
    /// How it stands.
    pub state: BucketState,
}

impl Renewal {
    /// When the Envoy's part of the bucket, that would be full at this moment, will be full once the lease is renewed.
    pub(super) fn full_at(&self, full_at: Moment, envoys: u32, now: Moment) -> Moment {
        let restored = self.share.before(self.share.after(full_at, 0, now), self.used).max(now);
        let limit = if self.state.left > 0 {
            self.share.holding(self.state.left.div_ceil(u64::from(envoys.max(1))), now)
        } else {
            self.share.opening_in(self.state.wait_us.saturating_mul(1_000), now)
        };
        restored.max(limit)
    }
}

/// What one worker knows of limits over all Envoys.
#[derive(Debug)]
pub(super) struct Shares {
    envoys: u32,
    tallies: Bounded<u64, Tally>,
    /// Names of tallies with something to report.
    unreported: Vec<u64>,
    /// What is on its way.
    sent: Option<Vec<(u64, u32)>>,
    sent_at: Moment,
    not_before: Moment,
}

impl Shares {
    pub(super) fn new(hasher: RandomState) -> Self {
        Self {
            envoys: ENVOYS_AT_FIRST,
            tallies: Bounded::new(MAX_TALLIES, usize::MAX, hasher),
            unreported: Vec::new(),
            sent: None,
            sent_at: Moment(0),
            not_before: Moment(0),
        }
    }

    /// How many Envoys share.
    pub(super) fn envoys(&self) -> u32 {
        self.envoys
    }

    /// A request was let through.
    pub(super) fn use_one(&mut self, name: u64, limit: &str, subject: Subject<'_>, pace: Pace) {
        let known = self.tallies.get(&name).copied();
        let mut tally = known.unwrap_or_else(|| Tally {
            bucket: bucket(limit, subject),
            pace,
            unreported: 0,
            is_listed: false,
            left: None,
        });
        self.list(name, &mut tally);
        tally.pace = pace;
        tally.unreported = tally.unreported.saturating_add(1);
        tally.left = tally.left.map(|left| left.saturating_sub(1));
        self.tallies.put(name, tally, 0);
    }

    /// The list has a bound, too: while no answer comes, names of buckets that were forgotten lie in it.
    fn list(&mut self, name: u64, tally: &mut Tally) {
        if !tally.is_listed && self.unreported.len() < MAX_TALLIES {
            self.unreported.push(name);
            tally.is_listed = true;
        }
    }

    /// What is left for all, as far as this worker knows.
    pub(super) fn left(&mut self, name: u64) -> Option<u64> {
        self.tallies.get(&name).and_then(|tally| tally.left)
    }

    /// The next report, if it is time. `counts`: there are such limits, so the control plane has to know of this Envoy
    /// even where nothing was used.
    pub(super) fn report(&mut self, node: &str, counts: bool, now: Moment) -> Option<LimitsReport> {
        let since = now.0.saturating_sub(self.sent_at.0);
        let is_due = if self.unreported.is_empty() { counts && since >= AT_LEAST_EVERY } else { since >= EVERY };
        if self.sent.is_some() || now < self.not_before || !is_due {
            return None;
        }
        let (mut used, mut sent) = (Vec::new(), Vec::new());
        let rest = self.unreported.split_off(self.unreported.len().min(MAX_BUCKETS));
        for name in core::mem::replace(&mut self.unreported, rest) {
            let Some(mut tally) = self.tallies.get(&name).copied().filter(|tally| tally.unreported > 0) else {
                continue;
            };
            let bucket = BASE64_URL_SAFE_NO_PAD.encode(tally.bucket);
            used.push(BucketUse { bucket, rate: tally.pace.rate(), used: tally.unreported });
            sent.push((name, tally.unreported));
            (tally.unreported, tally.is_listed) = (0, false);
            self.tallies.put(name, tally, 0);
        }
        (self.sent, self.sent_at) = (Some(sent), now);
        Some(LimitsReport { node: node.to_owned(), used })
    }

    /// Takes in the answer to the report; `None`: there is none. What may not have been counted is reported again: it is
    /// better counted twice than never.
    pub(super) fn answered(&mut self, answer: Option<LimitsAnswer>, now: Moment) -> Vec<Renewal> {
        let Some(sent) = self.sent.take() else { return Vec::new() };
        let Some(answer) = answer.filter(|answer| answer.buckets.len() == sent.len() && answer.envoys > 0) else {
            self.not_before = Moment(now.0.saturating_add(PAUSE));
            for (name, used) in sent {
                self.report_again(name, used);
            }
            return Vec::new();
        };
        self.envoys = answer.envoys;
        let mut renewals = Vec::with_capacity(sent.len());
        for ((name, used), state) in sent.into_iter().zip(answer.buckets) {
            let Some(mut tally) = self.tallies.get(&name).copied() else { continue };
            tally.left = Some(state.left.saturating_sub(tally.unreported.into()));
            self.tallies.put(name, tally, 0);
            renewals.push(Renewal { name, share: tally.pace.share(self.envoys), used: used.into(), state });
        }
        renewals
    }

    fn report_again(&mut self, name: u64, used: u32) {
        let Some(mut tally) = self.tallies.get(&name).copied() else { return };
        self.list(name, &mut tally);
        tally.unreported = tally.unreported.saturating_add(used);
        // Nobody knows any more.
        tally.left = None;
        self.tallies.put(name, tally, 0);
    }
}

/// The name of a bucket for all Envoys: who is counted is not told, and every part has its length before it.
fn bucket(limit: &str, subject: Subject<'_>) -> [u8; 16] {
    let (kind, who): (&[u8], &[u8]) = match &subject {
        Subject::User(id) => (b"user", id.as_bytes()),
        Subject::Key(id) => (b"key", id.as_bytes()),
        Subject::Address(client) => (b"address", client),
        Subject::Endpoint(route) => (b"endpoint", route.as_bytes()),
    };
    let mut hash = Sha256::new();
    for part in [limit.as_bytes(), kind, who] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hash.update(part);
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = <[u8; 32]>::from(hash.finalize());
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

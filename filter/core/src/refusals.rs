//! What is told of refusals: counts by route and reason where nothing is enforced, and single requests that somebody may
//! ask about. In numbered batches: one is sent again as it was until it is answered. It must not decide anything.

use std::collections::BTreeMap;

use tollgate_protocol::{
    Code,
    refusals::{MAX_REFUSALS, MAX_SAMPLES, RefusalReport, Refused, WatchedCount},
};

/// How often single refusals are told, in milliseconds.
const EVERY_MS: u64 = 1_000;
/// How often counts are told, in milliseconds: the control plane writes them down.
const COUNTS_EVERY_MS: u64 = 3_000;
/// How long a batch that was not answered waits until it is sent again, in milliseconds: longer each time.
const RETRY_MS: u64 = 500;
/// The longest such time: what answers may be an older control plane, which knows no reports.
const LONGEST_RETRY_MS: u64 = 16_000;
/// Most pairs of route and reason that are counted between two batches. All others are counted under one name.
const MOST_COUNTS: usize = 4_096;
/// The route of what is counted together.
const OTHERS: &str = "(others)";
/// Longest id, method and route that are told, in bytes.
const LONGEST: usize = 256;

#[derive(Debug)]
struct Batch {
    report: RefusalReport,
    is_under_way: bool,
}

/// What one worker has to tell.
#[derive(Debug)]
pub struct Refusals {
    node: String,
    watched: BTreeMap<(String, Code), WatchedCount>,
    refused: Vec<Refused>,
    number: u64,
    batch: Option<Batch>,
    next_at: u64,
    counts_at: u64,
    retry_ms: u64,
}

impl Refusals {
    /// Nothing so far. `node` names the worker among all.
    pub fn new(node: String) -> Self {
        let (watched, refused) = (BTreeMap::new(), Vec::new());
        Self { node, watched, refused, number: 0, batch: None, next_at: 0, counts_at: 0, retry_ms: RETRY_MS }
    }

    /// Whether there is anything to note of a refusal.
    pub fn wants(&self, request_id: &[u8], watched: bool) -> bool {
        watched || (!request_id.is_empty() && self.refused.len() < MAX_REFUSALS)
    }

    /// Notes a refusal.
    pub fn note(&mut self, mut refused: Refused) {
        cut(&mut refused.request_id);
        cut(&mut refused.method);
        cut(&mut refused.route);
        refused.user_id.iter_mut().for_each(cut);
        if refused.watched {
            self.count(&refused);
        }
        // Of a flood the first ones stand for all: what a report holds is bounded.
        if self.refused.len() < MAX_REFUSALS && !refused.request_id.is_empty() {
            self.refused.push(refused);
        }
    }

    fn count(&mut self, refused: &Refused) {
        let mut name = (refused.route.clone(), refused.code);
        if self.watched.len() >= MOST_COUNTS && !self.watched.contains_key(&name) {
            OTHERS.clone_into(&mut name.0);
        }
        let count = self.watched.entry(name).or_insert_with_key(|(route, code)| WatchedCount {
            route: route.clone(),
            code: *code,
            count: 0,
            first: refused.at,
            last: refused.at,
            samples: Vec::new(),
        });
        count.count = count.count.saturating_add(1);
        count.last = refused.at.max(count.last);
        if count.samples.len() < MAX_SAMPLES && !refused.request_id.is_empty() {
            count.samples.push(refused.request_id.clone());
        }
    }

    /// The batch that is to be sent now: a new one, or the last one again.
    pub fn due(&mut self, now_ms: u64) -> Option<RefusalReport> {
        if now_ms < self.next_at {
            return None;
        }
        if self.batch.is_none() {
            let watched = if now_ms >= self.counts_at { self.take_counts(now_ms) } else { Vec::new() };
            let refused = core::mem::take(&mut self.refused);
            if watched.is_empty() && refused.is_empty() {
                return None;
            }
            self.number = self.number.saturating_add(1);
            let report = RefusalReport { node: self.node.clone(), batch: self.number, watched, refused };
            self.batch = Some(Batch { report, is_under_way: false });
        }
        let batch = self.batch.as_mut().filter(|batch| !batch.is_under_way)?;
        batch.is_under_way = true;
        Some(batch.report.clone())
    }

    fn take_counts(&mut self, now_ms: u64) -> Vec<WatchedCount> {
        let mut taken = Vec::new();
        while taken.len() < MAX_REFUSALS
            && let Some((_, count)) = self.watched.pop_first()
        {
            taken.push(count);
        }
        // What did not fit goes with the next batch.
        if !taken.is_empty() && self.watched.is_empty() {
            self.counts_at = now_ms.saturating_add(COUNTS_EVERY_MS);
        }
        taken
    }

    /// The batch that was sent is with the control plane.
    pub fn arrived(&mut self, now_ms: u64) {
        self.batch = None;
        self.retry_ms = RETRY_MS;
        self.next_at = now_ms.saturating_add(EVERY_MS);
    }

    /// The batch that was sent was not answered.
    pub fn failed(&mut self, now_ms: u64) {
        self.next_at = now_ms.saturating_add(self.retry_ms);
        self.retry_ms = self.retry_ms.saturating_mul(2).min(LONGEST_RETRY_MS);
        if let Some(batch) = &mut self.batch {
            batch.is_under_way = false;
        }
    }
}

fn cut(text: &mut String) {
    let mut end = LONGEST.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use tollgate_protocol::refusals::Carrier;

    use super::*;

    fn refused(id: &str, route: &str, watched: bool) -> Refused {
        Refused {
            request_id: id.to_owned(),
            at: 7,
            code: Code::RoleRequired,
            method: "GET".to_owned(),
            route: route.to_owned(),
            carrier: Carrier::Token,
            user_id: None,
            watched,
        }
    }

    #[test]
    fn a_batch_is_sent_again_as_it_was_until_it_is_answered() {
        let mut refusals = Refusals::new("n".into());
        assert_eq!(refusals.due(0), None);
        refusals.note(refused("a", "/r", true));
        let first = refusals.due(10).unwrap();
        assert_eq!((first.batch, first.watched[0].count, first.refused.len()), (1, 1, 1));
        assert_eq!(refusals.due(11), None, "it is under way");
        refusals.note(refused("b", "/r", true));
        refusals.failed(20);
        assert_eq!(refusals.due(20), None, "a pause after a failure");
        assert_eq!(refusals.due(520), Some(first), "the same again, without what came later");
        refusals.arrived(600);
        assert_eq!(refusals.due(600), None);
        let second = refusals.due(1_600).unwrap();
        assert_eq!((second.batch, second.watched.len(), second.refused.len()), (2, 0, 1), "counts come later");
        refusals.arrived(1_700);
        let third = refusals.due(3_100).unwrap();
        assert_eq!((third.batch, third.watched[0].count, &third.watched[0].samples[..]), (3, 1, &["b".to_owned()][..]));
    }

    #[test]
    fn counts_are_never_lost_and_memory_is_bounded() {
        let mut refusals = Refusals::new("n".into());
        for n in 0..20_000 {
            refusals.note(refused(&n.to_string(), &format!("/{}", n % 5_000), true));
        }
        assert_eq!(refusals.watched.len(), MOST_COUNTS + 1);
        let (mut told, mut now, mut batches) = (0, 0, 0);
        while let Some(report) = refusals.due(now) {
            assert!(report.watched.len() <= MAX_REFUSALS && report.refused.len() <= MAX_REFUSALS);
            told += report.watched.iter().map(|count| count.count).sum::<u64>();
            // Every other one is not answered at first.
            if batches % 2 == 0 {
                refusals.failed(now);
                now += RETRY_MS;
                assert_eq!(refusals.due(now), Some(report));
            }
            refusals.arrived(now);
            now += EVERY_MS;
            batches += 1;
        }
        assert_eq!(told, 20_000);
        let mut long = refused(&"\u{e9}".repeat(300), "/r", false);
        long.method = "M".repeat(300);
        refusals.note(long);
        let told = refusals.due(now).unwrap();
        assert!(told.refused[0].request_id.len() <= LONGEST && told.refused[0].method.len() <= LONGEST);
    }
}

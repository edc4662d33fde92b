//! Limits over all Envoys: takes what each reports from buckets, and says what is left for all. The buckets lie in the Redis
//! that replicas share, or in this process where there is none; no store is asked. It must not know a policy: rates come
//! with the reports.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tollgate_protocol::limits::{GONE_SECONDS, LimitsAnswer, LimitsReport};

use crate::{
    cache::{Away, SharedCache, Take},
    domain::{BucketPace, Timestamp},
};

/// Most buckets in this process, about 60 bytes each.
const MOST: usize = 500_000;
/// Most Envoys that are counted.
const MOST_ENVOYS: usize = 10_000;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// The buckets of limits over all Envoys.
#[derive(Debug, Clone)]
pub struct SharedLimits {
    cache: Option<SharedCache>,
    here: Arc<Mutex<Here>>,
}

/// Buckets in this process. Times are nanoseconds of unix time.
#[derive(Debug, Default)]
struct Here {
    full_at: HashMap<String, u64>,
    /// Where whoever is not found begins: buckets that were thrown out were full at this time at the latest.
    floor: u64,
    envoys: HashMap<String, u64>,
}

impl SharedLimits {
    /// Counts over all replicas where they share a Redis, else in this process.
    pub fn new(cache: Option<SharedCache>) -> Self {
        Self { cache, here: Arc::default() }
    }

    /// Takes in a report.
    ///
    /// # Errors
    /// [`Away`]: Redis is. The Envoy goes on with its own part.
    pub async fn count(&self, report: LimitsReport, now: Timestamp) -> Result<LimitsAnswer, Away> {
        let lately = Duration::from_secs(GONE_SECONDS);
        let takes: Vec<Take> = report
            .used
            .into_iter()
            .map(|one| Take { name: one.bucket, pace: one.rate.into(), used: one.used })
            .collect();
        if let Some(cache) = &self.cache {
            let (envoys, buckets) = cache.take_from(&report.node, lately, &takes).await?;
            return Ok(LimitsAnswer { envoys, buckets });
        }
        let now = u64::try_from(now.millis()).unwrap_or(0).saturating_mul(NANOS_PER_MILLI);
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let envoys = here.seen(report.node, lately, now);
        let buckets = takes.into_iter().map(|take| here.take(take, envoys, now)).collect();
        Ok(LimitsAnswer { envoys, buckets })
    }
}

impl Here {
    /// Notes an Envoy. Says how many there are.
    fn seen(&mut self, node: String, lately: Duration, now: u64) -> u32 {
        let since = now.saturating_sub(u64::try_from(lately.as_nanos()).unwrap_or(u64::MAX));
        self.envoys.retain(|_, at| *at >= since);
        if self.envoys.len() < MOST_ENVOYS || self.envoys.contains_key(&node) {
            self.envoys.insert(node, now);
        }
        u32::try_from(self.envoys.len()).unwrap_or(u32::MAX)
    }

    fn take(&mut self, take: Take, envoys: u32, now: u64) -> tollgate_protocol::limits::BucketState {
        let BucketPace { span, .. } = take.pace;
        let known = self.full_at.get(&take.name).copied();
        // Nobody waits longer for others' sake than their own bucket takes to fill.
        let before = known.unwrap_or(self.floor.min(now.saturating_add(span)));
        let (full_at, state) = take.pace.take(before, take.used, envoys, now);
        if full_at > now {
            if known.is_none() && self.full_at.len() >= MOST {
                self.make_room(now);
            }
            self.full_at.insert(take.name, full_at);
        }
        state
    }

    /// What is full says nothing. Where all that does not make room, an eighth that are nearest to it go and leave a floor,
    /// so that nobody gets a full bucket by it.
    fn make_room(&mut self, now: u64) {
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() < MOST {
            return;
        }
        let mut times: Vec<u64> = self.full_at.values().copied().collect();
        let (_, floor, _) = times.select_nth_unstable(MOST / 8);
        let floor = *floor;
        self.full_at.retain(|_, full_at| *full_at > floor);
        self.floor = self.floor.max(floor);
    }
}

#[cfg(test)]
mod tests {
    use tollgate_protocol::{
        Rate,
        limits::{BucketState, BucketUse},
    };

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const RATE: Rate = Rate { requests: 10, seconds: 3_600, burst: None };

    fn used(bucket: &str, used: u32) -> BucketUse {
        BucketUse { bucket: bucket.to_owned(), rate: RATE, used }
    }

    async fn left(limits: &SharedLimits, node: &str, all: Vec<BucketUse>, now: Timestamp) -> (u32, Vec<u64>) {
        let answer = limits.count(LimitsReport { node: node.to_owned(), used: all }, now).await.unwrap();
        (answer.envoys, answer.buckets.iter().map(|state| state.left).collect())
    }

    #[tokio::test]
    async fn envoys_take_from_one_bucket() {
        let limits = SharedLimits::new(None);
        assert_eq!(left(&limits, "a", vec![used("x", 4), used("y", 0)], NOW).await, (1, vec![6, 10]));
        assert_eq!(left(&limits, "b", vec![used("x", 5)], NOW).await, (2, vec![1]));
        assert_eq!(left(&limits, "a", vec![used("x", 3)], NOW).await, (2, vec![0]));
        let report = LimitsReport { node: "a".into(), used: vec![used("x", 0)] };
        let answer = limits.count(report, NOW).await.unwrap();
        assert_eq!(answer.buckets, [BucketState { left: 0, wait_us: 3 * 360_000_000 }]);
        // Whoever does not report any more does not share.
        assert_eq!(left(&limits, "b", vec![], NOW.plus_seconds(16)).await, (1, vec![]));
        assert_eq!(left(&limits, "b", vec![used("x", 0)], NOW.plus_seconds(3 * 360)).await, (1, vec![1]));
    }

    #[tokio::test]
    async fn whoever_fills_the_memory_refills_no_bucket() {
        let limits = SharedLimits::new(None);
        assert_eq!(left(&limits, "a", vec![used("victim", 10)], NOW).await.1, [0]);
        for number in 0..MOST + 10 {
            left(&limits, "a", vec![used(&number.to_string(), 20)], NOW).await;
        }
        assert!(limits.here.lock().expect("buckets").full_at.len() <= MOST);
        assert_eq!(left(&limits, "a", vec![used("victim", 0)], NOW).await.1, [0]);
        assert_eq!(left(&limits, "a", vec![used("victim", 0)], NOW.plus_seconds(7_200)).await.1, [10]);
    }
}

//! How often somebody has tried in vain. In memory here, behind a trait, so that a store that replicas share can take it
//! over. It must not know what is tried.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{config::AttemptLimit, domain::Timestamp};

/// Most subjects that are counted by name.
const MOST: usize = 65_536;
/// How often a full memory is swept, in seconds.
const SWEEP_SECONDS: i64 = 5;
/// So many times the limit is let through for all subjects together that find no place.
const SHARED_FACTOR: u32 = 20;

/// Counts by name. Each count begins with its first attempt and ends when the limit's time is over.
#[async_trait]
pub trait Counters: Send + Sync + std::fmt::Debug {
    /// Counts an attempt of `name`. `Err`: there were too many, and so many seconds have to pass.
    async fn take(&self, name: &str, limit: AttemptLimit, now: Timestamp) -> Result<(), u32>;

    /// Takes an attempt back: it was not in vain.
    async fn give_back(&self, name: &str);
}

/// Counts in this process.
#[derive(Debug, Default)]
pub struct InMemory {
    counts: Mutex<Counts>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Counts {
    by_name: HashMap<u64, Count>,
    /// When what is over may be looked for again, which takes a while where there is much.
    next_sweep: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    taken: u32,
    until: Timestamp,
}

/// The one name of all who find no place. It is no hash of a name, but should one have it, both only count together.
const SHARED: u64 = 0;

#[async_trait]
impl Counters for InMemory {
    async fn take(&self, name: &str, limit: AttemptLimit, now: Timestamp) -> Result<(), u32> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut name = self.hasher.hash_one(name);
        let mut most = limit.most;
        if !counts.by_name.contains_key(&name) && counts.by_name.len() >= MOST {
            if counts.next_sweep.is_none_or(|next| next <= now) {
                counts.by_name.retain(|_, count| now < count.until);
                counts.next_sweep = Some(now.plus_seconds(SWEEP_SECONDS));
            }
            if counts.by_name.len() >= MOST {
                // Whoever fills the memory must not free anybody's count by it: those who come count together.
                (name, most) = (SHARED, limit.most.saturating_mul(SHARED_FACTOR));
            }
        }
        let fresh = Count { taken: 0, until: now.plus_seconds(i64::from(limit.seconds)) };
        let count = counts.by_name.entry(name).or_insert(fresh);
        if count.until <= now {
            *count = fresh;
        }
        if count.taken >= most {
            let left = count.until.millis().saturating_sub(now.millis()).max(0);
            return Err(u32::try_from(left / 1000).unwrap_or(u32::MAX).saturating_add(1));
        }
        count.taken = count.taken.saturating_add(1);
        Ok(())
    }

    async fn give_back(&self, name: &str) {
        let name = self.hasher.hash_one(name);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.by_name.get_mut(&name) {
            count.taken = count.taken.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const LIMIT: AttemptLimit = AttemptLimit { most: 2, seconds: 60 };

    #[tokio::test]
    async fn so_many_in_so_long() {
        let counters = InMemory::default();
        let take = async |name: &str, seconds| counters.take(name, LIMIT, NOW.plus_seconds(seconds)).await;
        assert_eq!(take("a", 0).await, Ok(()));
        assert_eq!(take("a", 30).await, Ok(()));
        assert_eq!(take("a", 30).await, Err(31));
        assert_eq!(take("b", 30).await, Ok(()), "others are not concerned");
        counters.give_back("a").await;
        assert_eq!(take("a", 59).await, Ok(()));
        assert_eq!(take("a", 59).await, Err(2));
        assert_eq!(take("a", 60).await, Ok(()), "a new time");
    }

    #[tokio::test]
    async fn whoever_fills_the_memory_frees_nobody() {
        let counters = InMemory::default();
        for _ in 0..2 {
            assert_eq!(counters.take("victim", LIMIT, NOW).await, Ok(()));
        }
        let mut refused = 0;
        for number in 0..MOST * 2 {
            refused += usize::from(counters.take(&number.to_string(), LIMIT, NOW).await.is_err());
        }
        assert!(refused > MOST / 2, "{refused}");
        assert!(counters.counts.lock().expect("counts").by_name.len() <= MOST + 1);
        assert!(counters.take("victim", LIMIT, NOW).await.is_err());
        assert_eq!(counters.take("new", LIMIT, NOW.plus_seconds(60)).await, Ok(()), "what is over makes room");
    }
}

//! Buckets from which all Envoys take, by the generic cell rate algorithm (ITU-T I.371 annex A): what is remembered is when
//! a bucket would be full again. It must not know whose a bucket is, nor where the time is kept.

use tollgate_protocol::{Rate, limits::BucketState};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MICRO: u64 = 1_000;

/// A rate, ready to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketPace {
    /// Nanoseconds in which a bucket gains one request; at least 1.
    pub interval: u64,
    /// Nanoseconds in which an empty bucket is full.
    pub span: u64,
}

impl From<Rate> for BucketPace {
    /// A rate with a 0 in it is taken as one with a 1.
    fn from(rate: Rate) -> Self {
        let requests = u64::from(rate.requests.max(1));
        // Rounded up: never more requests than are written.
        let interval = u64::from(rate.seconds.max(1)).saturating_mul(NANOS_PER_SECOND).div_ceil(requests);
        let burst = rate.burst.map_or(requests, u64::from).max(1);
        Self { interval, span: interval.saturating_mul(burst) }
    }
}

impl BucketPace {
    /// Takes what was used already, also what the bucket did not hold: it owes that, up to as much as it can hold and one for
    /// each of so many Envoys. Times are nanoseconds since any one moment. Returns when the bucket will be full, and how
    /// it stands.
    pub fn take(self, full_at: u64, used: u32, envoys: u32, now: u64) -> (u64, BucketState) {
        let debts = self.span.saturating_add(self.interval.saturating_mul(envoys.into()));
        let most = now.saturating_add(self.span).saturating_add(debts);
        let full_at = full_at.max(now).saturating_add(self.interval.saturating_mul(used.into())).min(most);
        let room = now.saturating_add(self.span).saturating_sub(full_at);
        let left = room.checked_div(self.interval).unwrap_or(0);
        let wait = full_at.saturating_add(self.interval).saturating_sub(now.saturating_add(self.span));
        (full_at, BucketState { left, wait_us: if left > 0 { 0 } else { wait.div_ceil(NANOS_PER_MICRO) } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_what_it_has_and_owes_what_it_gave_too_much() {
        let pace = BucketPace::from(Rate { requests: 10, seconds: 1, burst: Some(5) });
        let second = NANOS_PER_SECOND;
        let mut full_at = 0;
        for (at, used, left, wait_us) in [
            (second, 0, 5, 0),
            (second, 2, 3, 0),
            (second, 3, 0, 100_000),
            (second, 2, 0, 300_000),
            // It owes as much as it can hold, and two more.
            (second, 100, 0, 800_000),
            (second * 2, 0, 3, 0),
            (second * 3, 0, 5, 0),
        ] {
            let state;
            (full_at, state) = pace.take(full_at, used, 2, at);
            assert_eq!(state, BucketState { left, wait_us }, "{used} at {at}");
        }
        let strict = BucketPace::from(Rate { requests: 0, seconds: 0, burst: Some(0) });
        assert_eq!(strict.take(0, 1, 1, second).1.left, 0);
    }
}

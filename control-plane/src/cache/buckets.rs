//! Buckets that replicas take from together, and who takes from them. One script counts a whole report, by the clock of
//! the server, so that clocks of replicas do not matter. It must not know what a bucket is for.

use std::time::Duration;

use redis::{Script, aio::MultiplexedConnection};
use tollgate_protocol::limits::BucketState;

use super::{Away, PREFIX, SharedCache, millis};
use crate::domain::BucketPace;

/// What `BucketPace::take` does, in microseconds; and who has reported lately. Keys: the reporters, then each bucket.
/// Arguments: the reporter, how long one counts, then of each bucket the interval, the span and what was used.
const TAKE: &str = "
local clock = redis.call('TIME')
local now = (tonumber(clock[1]) - 1700000000) * 1000000 + tonumber(clock[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2]) / 1000))
local answer = { redis.call('ZCARD', KEYS[1]) }
for i = 2, #KEYS do
  local interval, span, used = tonumber(ARGV[i * 3 - 3]), tonumber(ARGV[i * 3 - 2]), tonumber(ARGV[i * 3 - 1])
  local full = tonumber(redis.call('GET', KEYS[i]) or '0')
  full = math.min(math.max(full, now) + used * interval, now + 2 * span + answer[1] * interval)
  if full > now then
    redis.call('SET', KEYS[i], string.format('%.17g', full), 'PX', math.ceil((full - now) / 1000))
  end
  local left = math.max(math.floor((now + span - full) / interval), 0)
  answer[#answer + 1] = left
  answer[#answer + 1] = left > 0 and 0 or math.max(math.ceil(full + interval - now - span), 0)
end
return answer";

/// What is taken from one bucket.
#[derive(Debug, Clone)]
pub struct Take {
    /// Its name.
    pub name: String,
    /// Its rate.
    pub pace: BucketPace,
    /// How much.
    pub used: u32,
}

pub(super) fn script() -> Script {
    Script::new(TAKE)
}

impl SharedCache {
    /// Takes from buckets, in one step for all replicas. Says how many reporters there were within `lately`, and how the
    /// buckets stand.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn take_from(
        &self,
        reporter: &str,
        lately: Duration,
        takes: &[Take],
    ) -> Result<(u32, Vec<BucketState>), Away> {
        let script = self.inner.buckets.clone();
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let work = async move |mut redis: MultiplexedConnection| {
            let mut call = script.key(format!("{PREFIX}limits:reporters"));
            call.arg(reporter).arg(millis(lately).saturating_mul(1000));
            for take in takes {
                call.key(format!("{PREFIX}limits:{}", take.name));
                call.arg(micros(take.pace.interval)).arg(micros(take.pace.span)).arg(take.used);
            }
            call.invoke_async::<Vec<u64>>(&mut redis).await
        };
        let answer = self.call("take_from", work).await?;
        let (reporters, states) = answer.split_first().ok_or(Away)?;
        let (states, _) = states.as_chunks::<2>();
        let states = states.iter().map(|[left, wait_us]| BucketState { left: *left, wait_us: *wait_us }).collect();
        Ok((u32::try_from(*reporters).unwrap_or(u32::MAX), states))
    }
}

//! The generic cell rate algorithm (ITU-T I.371 annex A, as a virtual schedule). What is remembered of a subject is one
//! time: when its bucket would be full again if nobody came any more. It must not know who is counted, nor read a clock.

use tollgate_protocol::Rate;

use crate::engine::Now;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MILLI: u64 = 1_000_000;
/// Longest time that a bucket may need to fill, in seconds.
pub const MAX_SPAN_SECONDS: u64 = 366 * 24 * 3_600;

/// Most Envoys among which a rate is shared out; more have as much as so many.
const MOST_ENVOYS: u32 = 256;

/// A moment of unix time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub u64);

impl From<Now> for Moment {
    fn from(now: Now) -> Self {
        Self(now.0.saturating_mul(NANOS_PER_MILLI))
    }
}

/// A rate, ready to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Nanoseconds in which a bucket gains one request; at least 1.
    interval: u64,
    /// Nanoseconds in which an empty bucket is full.
    span: u64,
    rate: Rate,
}

impl Pace {
    /// `None` for a rate of which a number is 0, or whose bucket takes more than [`MAX_SPAN_SECONDS`] to fill.
    pub fn of(rate: Rate) -> Option<Self> {
        let burst = u64::from(rate.burst.unwrap_or(rate.requests));
        let period = u64::from(rate.seconds).checked_mul(NANOS_PER_SECOND)?;
        // Rounded up: never more requests than are written.
        let interval =
            period.checked_add(u64::from(rate.requests).checked_sub(1)?)?.checked_div(rate.requests.into())?;
        let span = interval.checked_mul(burst)?;
        let fits = burst > 0 && interval > 0 && span <= MAX_SPAN_SECONDS.saturating_mul(NANOS_PER_SECOND);
        fits.then_some(Self { interval, span, rate })
    }

    /// A pace for any rate: one that cannot be kept as it is written is kept more strictly.
    pub fn at_most(rate: Rate) -> Self {
        let (interval, slow) = (86_400_u64.saturating_mul(NANOS_PER_SECOND), Rate { burst: Some(1), ..rate });
        let slowest = Self { interval, span: interval, rate: Rate { requests: 1, seconds: 86_400, burst: Some(1) } };
        Self::of(rate).or_else(|| Self::of(slow)).unwrap_or(slowest)
    }

    /// The part of one of so many Envoys: at least one request at a time.
    pub fn share(&self, envoys: u32) -> Self {
        let envoys = u64::from(envoys.clamp(1, MOST_ENVOYS));
        let interval = self.interval.saturating_mul(envoys);
        let burst = self.burst().div_ceil(envoys).max(1);
        Self { interval, span: interval.saturating_mul(burst), rate: self.rate }
    }

    /// How many requests a full bucket holds.
    pub fn burst(&self) -> u64 {
        self.span.checked_div(self.interval).unwrap_or(0)
    }

    /// How many requests a bucket gains in so many nanoseconds.
    pub(super) fn gains_in(&self, nanos: u64) -> u64 {
        nanos.checked_div(self.interval).unwrap_or(0)
    }

    /// The time of a bucket that holds so many now.
    pub fn holding(&self, number: u64, now: Moment) -> Moment {
        Moment(now.0.saturating_add(self.span.saturating_sub(self.interval.saturating_mul(number))))
    }

    /// The time of a bucket that will hold one request after so many nanoseconds, or after the time in which it gains one.
    pub fn opening_in(&self, wait: u64, now: Moment) -> Moment {
        let empty = now.0.saturating_add(self.span);
        Moment(empty.saturating_sub(self.interval.saturating_sub(wait)))
    }

    /// The rate as it was written.
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Nanoseconds in which an empty bucket is full.
    pub const fn span(&self) -> u64 {
        self.span
    }

    /// How many requests a bucket holds that will be full at this time.
    pub fn left(&self, full_at: Moment, now: Moment) -> u64 {
        let room = now.0.saturating_add(self.span).saturating_sub(full_at.0.max(now.0));
        room.checked_div(self.interval).unwrap_or(0)
    }

    /// When the bucket will be full once so many requests are taken from it.
    pub fn after(&self, full_at: Moment, number: u64, now: Moment) -> Moment {
        // What a bucket cannot owe, under a rate that has changed meanwhile, is forgiven.
        let owed = full_at.0.clamp(now.0, now.0.saturating_add(self.span));
        Moment(owed.saturating_add(self.interval.saturating_mul(number)))
    }

    /// The time of a bucket that gets back so many.
    pub fn before(&self, full_at: Moment, number: u64) -> Moment {
        Moment(full_at.0.saturating_sub(self.interval.saturating_mul(number)))
    }

    /// How many nanoseconds until the bucket holds a request; 0: it does.
    pub fn wait(&self, full_at: Moment, now: Moment) -> u64 {
        self.after(full_at, 1, now).0.saturating_sub(now.0.saturating_add(self.span))
    }

    /// How many of the requests that were taken up to `full_at` are still to be had: the bucket fills as time passes,
    /// and what was taken and not used falls back into it, so that nobody has it twice.
    pub fn still(&self, full_at: Moment, now: Moment) -> u64 {
        full_at.0.saturating_sub(now.0).checked_div(self.interval).unwrap_or(0)
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds(nanos: u64) -> u64 {
    nanos.div_ceil(NANOS_PER_SECOND)
}

/// Whole seconds up to this moment, rounded up.
pub(super) fn seconds_until(moment: Moment, now: Moment) -> u64 {
    seconds(moment.0.saturating_sub(now.0))
}

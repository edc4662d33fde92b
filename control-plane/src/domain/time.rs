//! A moment, and how it is written. It must not read a clock.

/// Numbers from here on are milliseconds: as seconds they would be after the year 5000.
const MILLIS_FROM: f64 = 100_000_000_000.0;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A moment by its milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// A moment by its seconds.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970; 0 before.
    pub fn unix_seconds(self) -> u64 {
        u64::try_from(self.0.div_euclid(1000)).unwrap_or(0)
    }

    /// Later by so many seconds.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// A moment in the text of RFC 3339, also with a space for the T and without an offset, as Python writes dates that
    /// know no zone: UTC.
    pub fn from_text(text: &str) -> Option<Self> {
        let read = |text: &str| text.parse::<jiff::Timestamp>().ok();
        let moment = read(text).or_else(|| read(&format!("{text}Z")))?;
        Some(Self(moment.as_millisecond()))
    }

    /// A moment by a number of seconds or of milliseconds, whichever makes sense.
    pub fn from_number(number: f64) -> Option<Self> {
        let millis = if number.abs() < MILLIS_FROM { number * 1000.0 } else { number };
        // Far outside any calendar: somebody's mistake, not a moment.
        (millis.is_finite() && millis.abs() < 1e15).then_some(Self(millis as i64))
    }

    /// The text of RFC 3339, in UTC; of a moment that no calendar has, its milliseconds.
    pub fn to_text(self) -> String {
        jiff::Timestamp::from_millisecond(self.0).map_or_else(|_| self.0.to_string(), |at| at.to_string())
    }
}

//! Billing months: each begins at midnight UTC on the day of the month on which the account was made, or on the last day
//! of a month that is shorter. It must not read a clock.

use jiff::{
    ToSpan as _,
    civil::{Date, Time},
    tz::Offset,
};

use crate::domain::Timestamp;

/// One billing month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    first: Date,
    next: Date,
}

impl Month {
    /// The month of an account made at `anchor` in which `now` is.
    pub fn of(anchor: Timestamp, now: Timestamp) -> Self {
        let (day, today) = (date(anchor).day(), date(now));
        let this = begin(today, day);
        let shifted = |months: i32| today.first_of_month().saturating_add(months.months());
        if today >= this {
            Self { first: this, next: begin(shifted(1), day) }
        } else {
            Self { first: begin(shifted(-1), day), next: this }
        }
    }

    /// Its first moment.
    pub fn starts_at(&self) -> Timestamp {
        midnight(self.first)
    }

    /// The first moment of the month after it.
    pub fn ends_at(&self) -> Timestamp {
        midnight(self.next)
    }

    /// Its first day, as `2026-11-23`.
    pub fn name(&self) -> String {
        self.first.to_string()
    }
}

/// The day of a moment in UTC, as `2026-11-23`.
pub fn day(at: Timestamp) -> String {
    date(at).to_string()
}

/// The day on which the billing month begins in the month of `any`.
fn begin(any: Date, day: i8) -> Date {
    let day = day.min(any.days_in_month());
    any.with().day(day).build().unwrap_or(any)
}

/// Moments that no calendar has are taken for its last one.
fn date(at: Timestamp) -> Date {
    let at = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or(jiff::Timestamp::MAX);
    Offset::UTC.to_datetime(at).date()
}

fn midnight(date: Date) -> Timestamp {
    let at = Offset::UTC.to_timestamp(date.to_datetime(Time::midnight())).unwrap_or(jiff::Timestamp::MAX);
    Timestamp::from_millis(at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    #[test]
    fn months_begin_on_the_day_of_the_account_or_the_last_one() {
        for (anchor, now, first, next) in [
            ("2026-01-15T10:00:00Z", "2026-01-15T10:00:00Z", "2026-01-15", "2026-02-15"),
            ("2026-01-15T10:00:00Z", "2026-02-14T23:59:59.999Z", "2026-01-15", "2026-02-15"),
            ("2026-01-15T10:00:00Z", "2026-02-15T00:00:00Z", "2026-02-15", "2026-03-15"),
            ("2026-01-31T23:00:00Z", "2026-02-27T12:00:00Z", "2026-01-31", "2026-02-28"),
            ("2026-01-31T23:00:00Z", "2026-02-28T00:00:00Z", "2026-02-28", "2026-03-31"),
            ("2026-01-31T23:00:00Z", "2026-03-30T00:00:00Z", "2026-02-28", "2026-03-31"),
            ("2026-01-31T23:00:00Z", "2026-04-30T00:00:00Z", "2026-04-30", "2026-05-31"),
            ("2026-01-30T00:00:00Z", "2026-02-28T00:00:00Z", "2026-02-28", "2026-03-30"),
            ("2026-01-29T00:00:00Z", "2026-02-28T00:00:00Z", "2026-02-28", "2026-03-29"),
            ("2027-12-29T00:00:00Z", "2028-02-28T12:00:00Z", "2028-01-29", "2028-02-29"),
            ("2027-12-31T00:00:00Z", "2028-02-29T00:00:00Z", "2028-02-29", "2028-03-31"),
            ("2028-02-29T00:00:00Z", "2029-02-28T00:00:00Z", "2029-02-28", "2029-03-29"),
            ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", "2026-12-31", "2027-01-31"),
            ("2026-11-01T00:00:00Z", "2026-12-31T23:59:59Z", "2026-12-01", "2027-01-01"),
            ("2100-01-31T00:00:00Z", "2100-03-01T00:00:00Z", "2100-02-28", "2100-03-31"),
            // The clock of the machine went back to before the account.
            ("2026-05-31T00:00:00Z", "2026-02-10T00:00:00Z", "2026-01-31", "2026-02-28"),
        ] {
            let month = Month::of(at(anchor), at(now));
            let wanted = (at(&format!("{first}T00:00:00Z")), at(&format!("{next}T00:00:00Z")));
            assert_eq!((month.starts_at(), month.ends_at()), wanted, "{anchor} {now}");
            assert_eq!(month.name(), first);
        }
    }

    #[test]
    fn months_follow_each_other_without_a_gap() {
        for anchor in ["2024-02-29T12:00:00Z", "2025-08-31T01:02:03Z", "2026-01-01T00:00:00Z", "2026-06-30T23:00:00Z"] {
            let mut month = Month::of(at(anchor), at(anchor));
            for _ in 0..60 {
                let last = Timestamp::from_millis(month.ends_at().millis() - 1);
                assert_eq!(Month::of(at(anchor), last), month, "{anchor}");
                let next = Month::of(at(anchor), month.ends_at());
                assert_eq!(next.starts_at(), month.ends_at(), "{anchor}");
                month = next;
            }
        }
    }

    #[test]
    fn moments_that_no_calendar_has_do_no_harm() {
        for far in [i64::MIN, i64::MAX, 0] {
            let month = Month::of(Timestamp::from_millis(far), Timestamp::from_millis(far));
            assert!(month.starts_at() <= month.ends_at());
            assert!(!day(Timestamp::from_millis(far)).is_empty());
        }
    }
}

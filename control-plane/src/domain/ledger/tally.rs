//! The sum that must come out, whatever happened: left + set aside + used = first balance + given + uncovered. It must
//! not repair anything.

use super::{Account, Entry, EntryKind, Reservation};

/// Adds up the entries of one account, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// The balance before the first entry.
    pub first_balance: Option<i64>,
    /// Number of entries.
    pub entries: u64,
    /// Tokens granted, refilled and adjusted.
    pub given: i64,
    /// Tokens used.
    pub used: i64,
    /// Tokens used for which nothing was left.
    pub uncovered: i64,
    /// Tokens that went into reservations, less those that came back.
    pub set_aside: i64,
    balance: i64,
    faults: Vec<String>,
}

impl Tally {
    /// Adds the next entry.
    pub fn add(&mut self, entry: &Entry) {
        let before = entry.balance.saturating_sub(entry.amount);
        self.first_balance.get_or_insert(before);
        if self.entries > 0 && before != self.balance {
            self.faults
                .push(format!("entry {} begins at {before}, the one before it ended at {}", entry.seq, self.balance));
        }
        self.entries = self.entries.saturating_add(1);
        if entry.seq != self.entries {
            self.faults.push(format!("entry {} stands at place {}", entry.seq, self.entries));
        }
        if entry.balance < 0 && entry.amount < 0 {
            self.faults.push(format!("entry {} leaves {}", entry.seq, entry.balance));
        }
        self.balance = entry.balance;
        self.used = self.used.saturating_add(entry.used);
        self.uncovered = self.uncovered.saturating_add(entry.uncovered);
        match entry.kind {
            EntryKind::Grant | EntryKind::Refill | EntryKind::Adjust => {
                self.given = self.given.saturating_add(entry.amount);
            }
            EntryKind::Reserve | EntryKind::Settle => self.set_aside = self.set_aside.saturating_sub(entry.amount),
            EntryKind::Usage => {}
        }
    }

    /// Everything that does not add up; empty where all does. `used_before` is what the account had used before its
    /// first entry.
    pub fn faults(&self, account: &Account, used_before: i64, open: &[Reservation]) -> Vec<String> {
        let mut faults = self.faults.clone();
        let mut same = |what: &str, one: i64, other: i64| {
            if one != other {
                faults.push(format!("{what}: {one} is not {other}"));
            }
        };
        let held = open.iter().fold(0_i64, |sum, one| sum.saturating_add(one.held()));
        let first = self.first_balance.unwrap_or(account.remaining);
        same("number of entries", i64::try_from(self.entries).unwrap_or(-1), i64::try_from(account.seq).unwrap_or(-2));
        if self.entries > 0 {
            same("newest balance", self.balance, account.remaining);
        }
        same("used", self.used.saturating_add(used_before), account.used);
        same("set aside", account.reserved, held);
        let left = account.remaining.saturating_add(held).saturating_add(self.used);
        let right = first.saturating_add(self.given).saturating_add(self.uncovered);
        same("left + set aside + used = first + given + uncovered", left, right);
        faults
    }
}

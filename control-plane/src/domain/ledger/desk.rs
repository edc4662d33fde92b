//! The rules of the ledger: what an operation does to an account and to a reservation, and which entries it leaves. A
//! store reads both, lets the desk work, and writes what the desk holds then, in one transaction. It must not know how.

use super::{
    Account, Allowances, Entry, EntryKind, LeaseId, MAX_BALANCE, Posted, Posting, Purpose, Reservation, Take,
    Timestamp, month::Month,
};
use crate::domain::{Actor, Stamp};

/// One account, being worked on.
#[derive(Debug)]
pub struct Desk<'s> {
    account: Account,
    stamp: &'s Stamp,
    entries: Vec<Entry>,
    is_changed: bool,
}

/// What an entry changes.
struct Draft {
    kind: EntryKind,
    key: String,
    amount: i64,
    used: i64,
    uncovered: i64,
    lease: Option<LeaseId>,
    note: Option<String>,
}

impl Draft {
    fn new(kind: EntryKind, key: String, amount: i64) -> Self {
        Self { kind, key, amount, used: 0, uncovered: 0, lease: None, note: None }
    }
}

impl<'s> Desk<'s> {
    /// Takes an account, and enters the billing month of the stamp's time: in each month after the first one the
    /// balance is topped up to the allowance, once.
    pub fn open(account: Account, allowances: &Allowances, stamp: &'s Stamp) -> Self {
        let mut desk = Self { account, stamp, entries: Vec::new(), is_changed: false };
        desk.enter_month(allowances);
        desk
    }

    /// The account as it stands now.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The account and its new entries; `None` where nothing has changed.
    pub fn close(self) -> Option<(Account, Vec<Entry>)> {
        self.is_changed.then_some((self.account, self.entries))
    }

    fn enter_month(&mut self, allowances: &Allowances) {
        let month = Month::of(self.account.created_at, self.stamp.at);
        let first = Month::of(self.account.created_at, self.account.created_at).starts_at();
        // A clock that went back does not open a month again.
        if self.account.month_start.is_some_and(|seen| seen >= month.starts_at()) {
            return;
        }
        self.account.month_start = Some(month.starts_at());
        self.account.month_used = 0;
        self.is_changed = true;
        if month.starts_at() <= first {
            return;
        }
        let amount = refill(&self.account, allowances);
        if amount > 0 {
            let key = format!("refill:{}:{}", self.account.user, month.name());
            self.write(Draft::new(EntryKind::Refill, key, amount), &Actor::System);
        }
    }

    /// Posts a grant, an adjustment, or use. Whether the key is there already is the store's question.
    pub fn post(&mut self, posting: &Posting) -> Posted {
        let change = posting.change();
        let Some(after) = self.account.remaining.checked_add(change) else { return Posted::TooMuch };
        let is_short = change < 0 && after < 0;
        let used = if posting.purpose == Purpose::Consume { posting.amount } else { 0 };
        if is_short || used > self.available() {
            return Posted::Exhausted;
        }
        if after > MAX_BALANCE {
            return Posted::TooMuch;
        }
        let draft = Draft {
            used,
            note: posting.note.clone(),
            ..Draft::new(posting.purpose.kind(), posting.key.clone(), change)
        };
        let actor = self.stamp.actor.clone();
        Posted::Done { entry: self.write(draft, &actor), replayed: false }
    }

    /// Sets tokens aside: as many as are wanted or there, within the share of what is there, but not less than the least.
    /// `None` where that is not there.
    pub fn reserve(&mut self, take: &Take, node: &str) -> Option<Reservation> {
        let available = self.available();
        let share = available.checked_div(take.share).unwrap_or(available).max(take.least);
        let amount = take.wanted.min(share).min(available);
        if amount < take.least.max(1) {
            return None;
        }
        let key = format!("lease:{}:reserve", take.id.as_str());
        let draft = Draft::new(EntryKind::Reserve, key, amount.saturating_neg());
        self.account.reserved = self.account.reserved.saturating_add(amount);
        self.write_leased(draft, &take.id);
        Some(Reservation {
            id: take.id.clone(),
            user: take.user.clone(),
            node: node.to_owned(),
            amount,
            used: 0,
            expires_at: take.expires_at,
            is_open: true,
            revision: 1,
        })
    }

    /// Books that `used` tokens in all have been used of a reservation. A total that is not larger than the one that is
    /// known changes nothing. What goes beyond the reservation, or comes after it was settled, is taken from the
    /// balance, as far as there is something: it has been used already.
    pub fn report(&mut self, reservation: &mut Reservation, used: i64) {
        let more = used.saturating_sub(reservation.used);
        if more <= 0 {
            return;
        }
        let from_held = more.min(reservation.held());
        let beyond = more.saturating_sub(from_held);
        let covered = beyond.min(self.account.remaining.max(0));
        let draft = Draft {
            used: more,
            uncovered: beyond.saturating_sub(covered),
            ..Draft::new(
                EntryKind::Usage,
                format!("lease:{}:used:{used}", reservation.id.as_str()),
                covered.saturating_neg(),
            )
        };
        reservation.used = used;
        reservation.revision = reservation.revision.saturating_add(1);
        self.account.reserved = self.account.reserved.saturating_sub(from_held);
        self.write_leased(draft, &reservation.id.clone());
    }

    /// Books what was used, then lets the reservation live until `until`, if its time is not over yet.
    pub fn renew(&mut self, reservation: &mut Reservation, used: i64, until: Timestamp) {
        self.report(reservation, used);
        if !reservation.is_open {
            return;
        }
        if reservation.expires_at <= self.stamp.at {
            self.settle(reservation);
        } else if until > reservation.expires_at {
            reservation.expires_at = until;
            reservation.revision = reservation.revision.saturating_add(1);
        }
    }

    /// Gives back what a reservation still holds. Settling again changes nothing.
    pub fn settle(&mut self, reservation: &mut Reservation) {
        if !reservation.is_open {
            return;
        }
        let rest = reservation.held();
        reservation.is_open = false;
        reservation.revision = reservation.revision.saturating_add(1);
        self.account.reserved = self.account.reserved.saturating_sub(rest);
        let key = format!("lease:{}:settle", reservation.id.as_str());
        self.write_leased(Draft::new(EntryKind::Settle, key, rest), &reservation.id.clone());
    }

    /// Tokens that may be taken: what is left, within what the month allows beside what is set aside already.
    fn available(&self) -> i64 {
        let account = &self.account;
        let this_month = account
            .monthly_limit
            .map_or(i64::MAX, |limit| limit.saturating_sub(account.month_used).saturating_sub(account.reserved));
        account.remaining.min(this_month).max(0)
    }

    fn write_leased(&mut self, draft: Draft, lease: &LeaseId) {
        let actor = self.stamp.actor.clone();
        self.write(Draft { lease: Some(lease.clone()), ..draft }, &actor);
    }

    /// The one place where a balance changes. Amounts are bounded by their callers far below what the sums can hold.
    fn write(&mut self, draft: Draft, actor: &Actor) -> Entry {
        let account = &mut self.account;
        account.remaining = account.remaining.saturating_add(draft.amount);
        account.used = account.used.saturating_add(draft.used);
        account.month_used = account.month_used.saturating_add(draft.used);
        account.seq = account.seq.saturating_add(1);
        self.is_changed = true;
        let entry = Entry {
            user: account.user.clone(),
            seq: account.seq,
            kind: draft.kind,
            key: draft.key,
            amount: draft.amount,
            used: draft.used,
            uncovered: draft.uncovered,
            balance: account.remaining,
            lease: draft.lease,
            note: draft.note,
            at: self.stamp.at,
            actor: actor.to_text(),
        };
        self.entries.push(entry.clone());
        entry
    }
}

/// What is missing to the allowance of an account's subscription, beside what is set aside.
pub fn refill(account: &Account, allowances: &Allowances) -> i64 {
    let there = account.remaining.max(0).saturating_add(account.reserved);
    allowances.of(account.subscription).saturating_sub(there).max(0)
}

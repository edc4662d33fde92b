//! Credits: the entries of the ledger, pieces of a balance that are reserved for one Envoy, and counted use. The rules
//! are in [`desk`], the calendar in [`month`], the sum that must come out in [`tally`]. Nothing here knows a store.

pub mod desk;
pub mod month;
pub mod tally;
#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::{KeyId, Subscription, Timestamp, UserId};

/// Largest amount of one posting, reservation or report, in tokens.
pub const MAX_AMOUNT: i64 = 1_000_000_000_000;
/// Largest balance and largest sum of used tokens: what a JSON number holds exactly.
pub const MAX_BALANCE: i64 = 9_007_199_254_740_991;
/// Longest note in characters.
pub const MAX_NOTE_CHARS: usize = 200;
/// Longest life of a reservation in seconds, from when it is made or renewed.
pub const MAX_LEASE_SECONDS: i64 = 600;

/// Why a balance changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// Given by somebody.
    Grant,
    /// Used.
    Usage,
    /// Set aside for one Envoy.
    Reserve,
    /// What was set aside and not used came back.
    Settle,
    /// The subscription's allowance at the start of a month.
    Refill,
    /// Corrected by somebody.
    Adjust,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: &'static [Self] =
        &[Self::Grant, Self::Usage, Self::Reserve, Self::Settle, Self::Refill, Self::Adjust];

    /// The word that stands for it everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Usage => "usage",
            Self::Reserve => "reserve",
            Self::Settle => "settle",
            Self::Refill => "refill",
            Self::Adjust => "adjust",
        }
    }

    /// The one of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == word)
    }

    /// Whether edges and other programs hear of it. The others come with every request and are not told.
    pub const fn is_told(self) -> bool {
        matches!(self, Self::Grant | Self::Refill | Self::Adjust)
    }
}

/// One change of a balance. Entries are only ever added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub user: UserId,
    /// Number among the entries of this user, from 1, without a gap.
    pub seq: u64,
    /// Why.
    pub kind: EntryKind,
    /// Idempotency key: no two entries of the ledger have the same.
    pub key: String,
    /// Change of the tokens that are left.
    pub amount: i64,
    /// Change of the tokens that were used.
    pub used: i64,
    /// The part of `used` for which nothing was left.
    pub uncovered: i64,
    /// Tokens that are left after it.
    pub balance: i64,
    /// The reservation it belongs to.
    pub lease: Option<LeaseId>,
    /// What somebody wrote about it.
    pub note: Option<String>,
    /// When.
    pub at: Timestamp,
    /// By whom: see [`Actor::to_text`](super::Actor::to_text).
    pub actor: String,
}

/// What the ledger keeps about a user, in the user's own document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose.
    pub user: UserId,
    /// Tokens that are left and not set aside (`tokens_remaining`).
    pub remaining: i64,
    /// Tokens used so far (`tokens_used`).
    pub used: i64,
    /// Tokens that open reservations still hold.
    pub reserved: i64,
    /// Most tokens in a billing month (`monthly_limit`).
    pub monthly_limit: Option<i64>,
    /// The billing month that was last seen, by its first moment.
    pub month_start: Option<Timestamp>,
    /// Tokens used in that month.
    pub month_used: i64,
    /// Number of the newest entry; 0 where there is none.
    pub seq: u64,
    /// What the user pays for.
    pub subscription: Subscription,
    /// Since when there is the user: its day is the first day of each billing month.
    pub created_at: Timestamp,
}

/// Name of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(String);

impl LeaseId {
    /// Longest id that is looked up.
    pub const MAX_LENGTH: usize = 64;

    /// Takes an id over.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A piece of a balance, set aside for one Envoy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its name.
    pub id: LeaseId,
    /// Whose tokens.
    pub user: UserId,
    /// For which Envoy.
    pub node: String,
    /// How many were set aside.
    pub amount: i64,
    /// How many of them, and beyond them, have been reported as used. It only grows.
    pub used: i64,
    /// From when on it is settled at what was reported.
    pub expires_at: Timestamp,
    /// Whether it still holds tokens; settled for ever otherwise.
    pub is_open: bool,
    /// Counts its changes, from 1.
    pub revision: u64,
}

impl Reservation {
    /// Tokens that it still holds.
    pub fn held(&self) -> i64 {
        if self.is_open { self.amount.saturating_sub(self.used).max(0) } else { 0 }
    }
}

/// Tokens that a balance is topped up to at the start of each billing month, by subscription; 0: never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowances {
    /// For `free`.
    pub free: i64,
    /// For `pro`.
    pub pro: i64,
    /// For `enterprise`.
    pub enterprise: i64,
}

impl Allowances {
    /// That of a subscription.
    pub const fn of(&self, subscription: Subscription) -> i64 {
        match subscription {
            Subscription::Free => self.free,
            Subscription::Pro => self.pro,
            Subscription::Enterprise => self.enterprise,
        }
    }
}

/// What is to be posted: a grant, an adjustment, or use that a backend has counted itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    /// To whose account.
    pub user: UserId,
    /// Idempotency key.
    pub key: String,
    /// [`EntryKind::Grant`], [`EntryKind::Adjust`] or [`EntryKind::Usage`].
    pub purpose: Purpose,
    /// How many tokens: more than 0, but for adjustments, which may take away.
    pub amount: i64,
    /// What somebody writes about it.
    pub note: Option<String>,
}

/// What a posting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Tokens are given.
    Grant,
    /// A balance is corrected, up or down.
    Adjust,
    /// Tokens are used: all of them, or none.
    Consume,
}

impl Purpose {
    /// The kind of its entry.
    pub const fn kind(self) -> EntryKind {
        match self {
            Self::Grant => EntryKind::Grant,
            Self::Adjust => EntryKind::Adjust,
            Self::Consume => EntryKind::Usage,
        }
    }
}

impl Posting {
    /// Change of the tokens that are left.
    pub const fn change(&self) -> i64 {
        match self.purpose {
            Purpose::Grant | Purpose::Adjust => self.amount,
            Purpose::Consume => self.amount.saturating_neg(),
        }
    }

    /// Whether `entry` is what this posting made before: all but time and actor.
    pub fn made(&self, entry: &Entry) -> bool {
        entry.user == self.user
            && entry.kind == self.purpose.kind()
            && entry.amount == self.change()
            && entry.lease.is_none()
            && entry.note == self.note
    }
}

/// What became of a posting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Posted {
    /// It stands, by this entry.
    Done {
        /// The entry.
        entry: Entry,
        /// It stood there before: the same posting was sent again.
        replayed: bool,
    },
    /// Not enough is left, or the month's limit would be passed: nothing was taken.
    Exhausted,
    /// The balance would become larger than [`MAX_BALANCE`]: nothing was given.
    TooMuch,
}

/// A piece of a balance that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// The name it gets. The same name again is the same reservation.
    pub id: LeaseId,
    /// Whose tokens.
    pub user: UserId,
    /// How many, at most.
    pub wanted: i64,
    /// How many, at least; otherwise none.
    pub least: i64,
    /// From when on it is settled, if it is not renewed.
    pub expires_at: Timestamp,
    /// No more than this part of what is there, 1 or more: 8 means an eighth. But never less than `least`.
    pub share: i64,
    /// Whether Envoys are asked to give back what they hold, where it is not there.
    pub recall: bool,
}

/// The total that an Envoy has used of a reservation so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Which reservation.
    pub id: LeaseId,
    /// How many in all.
    pub used: i64,
}

/// One message of an Envoy about its reservations: what comes back first, then what goes on, then what is new.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseCall {
    /// Which Envoy.
    pub node: String,
    /// To be settled.
    pub settle: Vec<Used>,
    /// To be renewed, until then.
    pub renew: Vec<(Used, Timestamp)>,
    /// To be made.
    pub take: Vec<Take>,
}

/// What became of a wish for a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TakeOutcome {
    /// It is there, as it stands.
    Granted(Reservation),
    /// It was there and has been settled: the wish was sent again much later.
    Ended,
    /// Too little is left, or the month's limit is reached. So many tokens are held by other reservations.
    Exhausted {
        /// Tokens that open reservations of this user hold.
        reserved: i64,
    },
    /// There is no such user.
    Unknown,
}

/// What became of a renewal, a settlement or a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UseOutcome {
    /// The reservation is open, as it stands.
    Open(Reservation),
    /// It is settled; what was reported is booked all the same.
    Ended,
    /// There is no such reservation.
    Unknown,
}

/// What became of a [`LeaseCall`], in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseReceipt {
    /// Of the settlements.
    pub settled: Vec<UseOutcome>,
    /// Of the renewals.
    pub renewed: Vec<UseOutcome>,
    /// Of the wishes.
    pub taken: Vec<TakeOutcome>,
    /// Users whose tokens Envoys were asked to give back.
    pub recalled: Vec<UserId>,
    /// Every entry that was made.
    pub entries: Vec<Entry>,
}

/// Requests and tokens of one user (and key) that an Envoy has counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Whose.
    pub user: UserId,
    /// By which key, where it was one.
    pub key: Option<KeyId>,
    /// How many requests.
    pub requests: i64,
    /// How many tokens they cost. They are charged by reservations; here they are counted only.
    pub tokens: i64,
    /// When the last of them was.
    pub last_used_at: Timestamp,
}

/// A numbered batch of what one Envoy has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Which Envoy; a name of one life of it.
    pub node: String,
    /// Number among the batches of that life.
    pub number: u64,
    /// Counted requests.
    pub counts: Vec<Count>,
    /// What was used of reservations.
    pub leases: Vec<Used>,
}

/// What became of a [`Batch`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchReceipt {
    /// Users that do not exist: their counts were left out.
    pub unknown_users: Vec<String>,
    /// Reservations that do not exist: their reports were left out.
    pub unknown_leases: Vec<String>,
    /// Reservations that are settled: what was reported is booked, nothing more may be drawn.
    pub ended_leases: Vec<String>,
    /// The batch was applied before; nothing has changed now.
    pub replayed: bool,
    /// Every entry that was made.
    pub entries: Vec<Entry>,
}

/// What was counted for one user and key on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyUsage {
    /// The day in UTC, as `2026-11-23`.
    pub day: String,
    /// By which key, where it was one.
    pub key: Option<KeyId>,
    /// How many requests.
    pub requests: i64,
    /// How many tokens they cost.
    pub tokens: i64,
}

impl BatchReceipt {
    /// What is kept of it, so that the same batch is answered the same again: `{"users":[…],"leases":[…],"ended":[…]}`.
    pub fn to_text(&self) -> String {
        json!({ "users": self.unknown_users, "leases": self.unknown_leases, "ended": self.ended_leases }).to_string()
    }

    /// The receipt of a batch that was applied before.
    pub fn from_text(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let list = |name: &str| -> Option<Vec<String>> {
            value.get(name)?.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect()
        };
        Some(Self {
            unknown_users: list("users")?,
            unknown_leases: list("leases")?,
            ended_leases: list("ended")?,
            replayed: true,
            entries: Vec::new(),
        })
    }
}

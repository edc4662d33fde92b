//! Between the ledger's documents and its records. It must not know a rule.

use mongodb::bson::{Bson, DateTime, Document, doc};

use super::super::{
    documents::USERS,
    schema,
    values::{Members, date},
};
use crate::{
    domain::{
        FIRST_TOKENS, KeyId, Subscription, Timestamp, UserId,
        ledger::{Account, DailyUsage, Entry, EntryKind, LeaseId, Reservation},
    },
    store::StoreError,
};

/// Members of a user's document that only the ledger knows.
pub(in super::super) const MEMBERS: &[&str] =
    &["tokens_reserved", "tokens_month_start", "tokens_month_used", "tokens_seq", GIVEN_AT, RECALLED_AT];

/// When tokens were last given: edges hear that the user has changed.
pub(in super::super) const GIVEN_AT: &str = "tokens_given_at";

/// When somebody last waited for tokens that Envoys hold: edges hear of that, and that nothing else has changed.
pub(in super::super) const RECALLED_AT: &str = "tokens_recalled_at";

/// Numbers of ours stay far below what the member holds.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn whole(from: &mut Members<'_>, member: &str) -> Result<i64, StoreError> {
    from.number(member)?.ok_or_else(|| from.corrupt(member))
}

fn count(from: &mut Members<'_>, member: &str) -> Result<u64, StoreError> {
    u64::try_from(whole(from, member)?).map_err(|_| from.corrupt(member))
}

fn text(from: &mut Members<'_>, member: &str) -> Result<String, StoreError> {
    from.text(member)?.ok_or_else(|| from.corrupt(member))
}

fn moment(from: &mut Members<'_>, member: &str) -> Result<Timestamp, StoreError> {
    from.moment(member)?.ok_or_else(|| from.corrupt(member))
}

/// The account in a user's document, as anybody may have written it.
pub(super) fn account(document: Document) -> Result<Account, StoreError> {
    let made = document.get_object_id("_id").map_or(0, |id| id.timestamp().timestamp_millis());
    let mut from = Members::new(USERS, document);
    let subscription = from.some_text("subscription")?;
    let subscription = subscription.map_or(Some(Subscription::Free), |word| Subscription::from_word(&word));
    Ok(Account {
        user: UserId::new(from.id("_id")?),
        remaining: from.number("tokens_remaining")?.unwrap_or(FIRST_TOKENS),
        used: from.number("tokens_used")?.unwrap_or(0),
        reserved: from.number("tokens_reserved")?.unwrap_or(0),
        monthly_limit: from.number("monthly_limit")?,
        month_start: from.moment("tokens_month_start")?,
        month_used: from.number("tokens_month_used")?.unwrap_or(0),
        seq: u64::try_from(from.number("tokens_seq")?.unwrap_or(0)).map_err(|_| from.corrupt("tokens_seq"))?,
        subscription: subscription.ok_or_else(|| from.corrupt("subscription"))?,
        created_at: from.moment("created_at")?.unwrap_or(Timestamp::from_millis(made)),
    })
}

/// What a changed account sets in its user's document.
pub(super) fn account_members(account: &Account, given_at: Option<Timestamp>) -> Document {
    let mut set = doc! {
        "tokens_remaining": account.remaining,
        "tokens_used": account.used,
        "tokens_reserved": account.reserved,
        "tokens_month_used": account.month_used,
        "tokens_seq": number(account.seq),
    };
    if let Some(start) = account.month_start {
        set.insert("tokens_month_start", date(start));
    }
    if let Some(at) = given_at {
        set.insert("updated_at", date(at));
        set.insert(GIVEN_AT, date(at));
    }
    set
}

pub(super) fn from_entry(entry: &Entry) -> Document {
    let mut document = doc! {
        "_id": &entry.key,
        "user_id": entry.user.as_str(),
        "seq": number(entry.seq),
        "kind": entry.kind.as_str(),
        "amount": entry.amount,
        "used": entry.used,
        "uncovered": entry.uncovered,
        "balance": entry.balance,
        "at": date(entry.at),
        "actor": &entry.actor,
    };
    if let Some(lease) = &entry.lease {
        document.insert("lease", lease.as_str());
    }
    if let Some(note) = &entry.note {
        document.insert("note", note);
    }
    document
}

pub(super) fn entry(document: Document) -> Result<Entry, StoreError> {
    let mut from = Members::new(schema::LEDGER, document);
    let kind = EntryKind::from_word(&text(&mut from, "kind")?).ok_or_else(|| from.corrupt("kind"))?;
    Ok(Entry {
        user: UserId::new(text(&mut from, "user_id")?),
        seq: count(&mut from, "seq")?,
        kind,
        key: text(&mut from, "_id")?,
        amount: whole(&mut from, "amount")?,
        used: whole(&mut from, "used")?,
        uncovered: whole(&mut from, "uncovered")?,
        balance: whole(&mut from, "balance")?,
        lease: from.text("lease")?.map(LeaseId::new),
        note: from.text("note")?,
        at: moment(&mut from, "at")?,
        actor: text(&mut from, "actor")?,
    })
}

pub(super) fn from_reservation(one: &Reservation) -> Document {
    doc! {
        "_id": one.id.as_str(),
        "user_id": one.user.as_str(),
        "node": &one.node,
        "amount": one.amount,
        "used": one.used,
        "expires_at": date(one.expires_at),
        "is_open": one.is_open,
        "revision": number(one.revision),
    }
}

pub(super) fn reservation(document: Document) -> Result<Reservation, StoreError> {
    let mut from = Members::new(schema::RESERVATIONS, document);
    Ok(Reservation {
        id: LeaseId::new(text(&mut from, "_id")?),
        user: UserId::new(text(&mut from, "user_id")?),
        node: text(&mut from, "node")?,
        amount: whole(&mut from, "amount")?,
        used: whole(&mut from, "used")?,
        expires_at: moment(&mut from, "expires_at")?,
        is_open: from.truth("is_open")?.ok_or_else(|| from.corrupt("is_open"))?,
        revision: count(&mut from, "revision")?,
    })
}

pub(super) fn daily(document: Document) -> Result<DailyUsage, StoreError> {
    let mut from = Members::new(schema::USAGE_DAILY, document);
    Ok(DailyUsage {
        day: text(&mut from, "day")?,
        key: from.some_text("key_id")?.map(KeyId::new),
        requests: whole(&mut from, "requests")?,
        tokens: whole(&mut from, "tokens")?,
    })
}

/// Name of the document that remembers a batch. Names of nodes hold no space.
pub(super) fn batch_id(node: &str, batch: u64) -> String {
    format!("{node} {batch}")
}

/// A moment for a comparison.
pub(super) fn at(moment: Timestamp) -> Bson {
    Bson::DateTime(DateTime::from_millis(moment.millis()))
}

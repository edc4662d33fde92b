//! Between the ledger's rows and its records. It must not know a rule.

use rusqlite::{Connection, Error, OptionalExtension as _, Row, Transaction, params, types::Type};

use super::super::{fault, feed, rows};
use crate::{
    domain::{
        Happening, Stamp, Subscription, Timestamp, UserId,
        ledger::{Account, Entry, EntryKind, LeaseId, Reservation},
    },
    store::{Conflict, StoreError},
};

const ENTRY: &str = "user_id, seq, key, kind, amount, used, uncovered, balance, lease, note, at, actor";
const RESERVATION: &str = "id, user_id, node, amount, used, expires_at, is_open, revision";

/// A word or number that none of ours wrote.
#[derive(Debug, thiserror::Error)]
#[error("the ledger holds an unknown value")]
struct UnknownValue;

fn unknown(place: usize) -> Error {
    Error::FromSqlConversionFailure(place, Type::Text, Box::new(UnknownValue))
}

fn count(row: &Row<'_>, place: usize) -> Result<u64, Error> {
    u64::try_from(row.get::<_, i64>(place)?).map_err(|_| unknown(place))
}

/// Numbers of ours stay far below what the column holds.
pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn account(connection: &Connection, user: &UserId) -> Result<Option<Account>, StoreError> {
    let mut statement = connection
        .prepare_cached(
            "SELECT tokens_remaining, tokens_used, tokens_reserved, monthly_limit, tokens_month_start,
                tokens_month_used, tokens_seq, subscription, created_at FROM users WHERE id = ?1",
        )
        .map_err(fault)?;
    let read = |row: &Row<'_>| {
        let subscription: String = row.get(7)?;
        Ok(Account {
            user: user.clone(),
            remaining: row.get(0)?,
            used: row.get(1)?,
            reserved: row.get(2)?,
            monthly_limit: row.get(3)?,
            month_start: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
            month_used: row.get(5)?,
            seq: count(row, 6)?,
            subscription: Subscription::from_word(&subscription).ok_or_else(|| unknown(7))?,
            created_at: Timestamp::from_millis(row.get(8)?),
        })
    };
    statement.query_row([user.as_str()], read).optional().map_err(fault)
}

/// Writes what a desk has made of an account. Edges hear of what is [told](EntryKind::is_told) only.
pub(super) fn save(
    transaction: &Transaction<'_>,
    account: &Account,
    entries: &[Entry],
    stamp: &Stamp,
) -> Result<(), StoreError> {
    let is_told = entries.iter().any(|entry| entry.kind.is_told());
    let mut statement = transaction
        .prepare_cached(
            "UPDATE users SET tokens_remaining = ?2, tokens_used = ?3, tokens_reserved = ?4, tokens_month_start = ?5,
                tokens_month_used = ?6, tokens_seq = ?7, updated_at = coalesce(?8, updated_at) WHERE id = ?1",
        )
        .map_err(fault)?;
    let values = params![
        account.user.as_str(),
        account.remaining,
        account.used,
        account.reserved,
        account.month_start.map(Timestamp::millis),
        account.month_used,
        number(account.seq),
        is_told.then_some(stamp.at.millis()),
    ];
    statement.execute(values).map_err(fault)?;
    for entry in entries {
        insert_entry(transaction, entry)?;
    }
    if is_told {
        feed::write(transaction, &Happening::User(account.user.clone()), stamp.at)?;
    }
    Ok(())
}

fn insert_entry(transaction: &Transaction<'_>, entry: &Entry) -> Result<(), StoreError> {
    let sql = format!("INSERT INTO ledger ({ENTRY}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)");
    let mut statement = transaction.prepare_cached(&sql).map_err(fault)?;
    let inserted = statement.execute(params![
        entry.user.as_str(),
        number(entry.seq),
        entry.key,
        entry.kind.as_str(),
        entry.amount,
        entry.used,
        entry.uncovered,
        entry.balance,
        entry.lease.as_ref().map(LeaseId::as_str),
        entry.note,
        entry.at.millis(),
        entry.actor,
    ]);
    inserted.map(drop).map_err(|error| match rows::violated(&error) {
        Some("ledger.key") => StoreError::Conflict(Conflict::LedgerKey),
        _ => fault(error),
    })
}

fn read_entry(row: &Row<'_>) -> Result<Entry, Error> {
    let kind: String = row.get(3)?;
    Ok(Entry {
        user: UserId::new(row.get::<_, String>(0)?),
        seq: count(row, 1)?,
        key: row.get(2)?,
        kind: EntryKind::from_word(&kind).ok_or_else(|| unknown(3))?,
        amount: row.get(4)?,
        used: row.get(5)?,
        uncovered: row.get(6)?,
        balance: row.get(7)?,
        lease: row.get::<_, Option<String>>(8)?.map(LeaseId::new),
        note: row.get(9)?,
        at: Timestamp::from_millis(row.get(10)?),
        actor: row.get(11)?,
    })
}

pub(super) fn entry_by_key(connection: &Connection, key: &str) -> Result<Option<Entry>, StoreError> {
    let sql = format!("SELECT {ENTRY} FROM ledger WHERE key = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    statement.query_row([key], read_entry).optional().map_err(fault)
}

pub(super) fn entries(
    connection: &Connection,
    user: &UserId,
    before: i64,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let sql = format!("SELECT {ENTRY} FROM ledger WHERE user_id = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3");
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    let rows = statement.query_map(params![user.as_str(), before, limit], read_entry).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

fn read_reservation(row: &Row<'_>) -> Result<Reservation, Error> {
    Ok(Reservation {
        id: LeaseId::new(row.get::<_, String>(0)?),
        user: UserId::new(row.get::<_, String>(1)?),
        node: row.get(2)?,
        amount: row.get(3)?,
        used: row.get(4)?,
        expires_at: Timestamp::from_millis(row.get(5)?),
        is_open: row.get(6)?,
        revision: count(row, 7)?,
    })
}

pub(super) fn reservation(connection: &Connection, id: &LeaseId) -> Result<Option<Reservation>, StoreError> {
    let sql = format!("SELECT {RESERVATION} FROM reservations WHERE id = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    statement.query_row([id.as_str()], read_reservation).optional().map_err(fault)
}

pub(super) fn open_reservations(connection: &Connection, user: &UserId) -> Result<Vec<Reservation>, StoreError> {
    let sql = format!("SELECT {RESERVATION} FROM reservations WHERE user_id = ?1 AND is_open = 1 ORDER BY id");
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    let rows = statement.query_map([user.as_str()], read_reservation).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

/// Open reservations whose time is over, those that ended first before the others.
pub(super) fn expired(connection: &Connection, now: Timestamp, limit: i64) -> Result<Vec<Reservation>, StoreError> {
    let sql = format!(
        "SELECT {RESERVATION} FROM reservations WHERE is_open = 1 AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql).map_err(fault)?;
    let rows = statement.query_map([now.millis(), limit], read_reservation).map_err(fault)?;
    rows.collect::<Result<_, _>>().map_err(fault)
}

/// Writes a reservation, new or changed.
pub(super) fn put_reservation(transaction: &Transaction<'_>, one: &Reservation) -> Result<(), StoreError> {
    let sql = format!("REPLACE INTO reservations ({RESERVATION}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    let mut statement = transaction.prepare_cached(&sql).map_err(fault)?;
    let values = params![
        one.id.as_str(),
        one.user.as_str(),
        one.node,
        one.amount,
        one.used,
        one.expires_at.millis(),
        one.is_open,
        number(one.revision),
    ];
    statement.execute(values).map(drop).map_err(fault)
}

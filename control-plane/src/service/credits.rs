//! Credits, as edges, the API and commands use them: grants, use, reservations, and what a balance is. The rules are in
//! [`crate::domain::ledger`]; nothing here knows how a caller was checked.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{InputFault, ServiceError};
use crate::{
    app::App,
    domain::{
        Timestamp, UserId,
        ledger::{
            Account, Batch, BatchReceipt, DailyUsage, Entry, LeaseCall, LeaseId, LeaseReceipt, MAX_AMOUNT,
            MAX_NOTE_CHARS, Posted, Posting, Purpose, Reservation, desk::refill, month::Month, tally::Tally,
        },
    },
    metrics::Metrics,
    store::{AuditFilter, Conflict, StoreError},
};

/// Longest idempotency key that somebody may choose, in characters.
pub const MAX_KEY_CHARS: usize = 255;
/// How often reservations whose time is over are looked for.
const SETTLE_INTERVAL: Duration = Duration::from_secs(1);
/// Most reservations that are settled in one transaction.
const SETTLE_AT_ONCE: usize = 100;
/// How long the numbers of batches are remembered.
const KEEP_BATCHES_SECONDS: i64 = 7 * 24 * 3600;
/// How often older ones are forgotten, in rounds of [`SETTLE_INTERVAL`].
const FORGET_ROUNDS: u32 = 600;
/// Entries read at once when a ledger is added up.
const PAGE: usize = 1_000;

/// A user's balance, as the user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// The account, in its present billing month.
    pub account: Account,
    /// When the next billing month begins.
    pub month_ends_at: Timestamp,
    /// What the allowance would add if it began now; `None` where the subscription has no allowance.
    pub next_refill: Option<i64>,
}

/// Use that a backend has counted itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consumption {
    /// How many tokens.
    pub amount: i64,
    /// The backend's own idempotency key.
    pub key: String,
    /// What the backend writes about it.
    pub note: Option<String>,
}

/// The balance of a user.
///
/// # Errors
/// [`ServiceError::NotFound`], or the store fails.
pub async fn balance(app: &App, user: &UserId) -> Result<Balance, ServiceError> {
    let stamp = app.stamp();
    let account = found(app.store.account(user, &app.allowances, &stamp).await)?;
    let month_ends_at = Month::of(account.created_at, stamp.at).ends_at();
    let has_allowance = app.allowances.of(account.subscription) > 0;
    let next_refill = has_allowance.then(|| refill(&account, &app.allowances));
    Ok(Balance { account, month_ends_at, next_refill })
}

/// Entries of a user, newest first, from below number `before`.
///
/// # Errors
/// The store fails.
pub async fn history(app: &App, user: &UserId, before: Option<u64>, limit: usize) -> Result<Vec<Entry>, ServiceError> {
    Ok(app.store.entries(user, before, limit).await?)
}

/// Uses tokens: all that are asked for, or none. The same key again is the same use, whatever has happened since.
///
/// # Errors
/// [`ServiceError::Invalid`], [`ServiceError::NotFound`]; [`ServiceError::Conflict`] where the key stands for other use.
pub async fn consume(app: &App, user: &UserId, use_: &Consumption) -> Result<Posted, ServiceError> {
    let mut faults = check(use_.note.as_deref(), &use_.key);
    positive(use_.amount, &mut faults);
    refuse(faults)?;
    let key = format!("consume:{user}:{}", use_.key);
    post(
        app,
        Posting { user: user.clone(), key, purpose: Purpose::Consume, amount: use_.amount, note: use_.note.clone() },
    )
    .await
}

/// Gives tokens to a user. `key` makes it safe to try again.
///
/// # Errors
/// As [`consume`]; [`Posted::TooMuch`] where the balance would become too large.
pub async fn grant(
    app: &App,
    user: &UserId,
    amount: i64,
    key: &str,
    note: Option<&str>,
) -> Result<Posted, ServiceError> {
    let mut faults = check(note, key);
    positive(amount, &mut faults);
    refuse(faults)?;
    let (key, note) = (format!("grant:{key}"), note.map(str::to_owned));
    post(app, Posting { user: user.clone(), key, purpose: Purpose::Grant, amount, note }).await
}

/// Corrects a balance by `amount`, up or down. `key` makes it safe to try again.
///
/// # Errors
/// As [`grant`]; [`Posted::Exhausted`] where less is left than is to be taken away.
pub async fn adjust(
    app: &App,
    user: &UserId,
    amount: i64,
    key: &str,
    note: Option<&str>,
) -> Result<Posted, ServiceError> {
    let mut faults = check(note, key);
    if amount == 0 || !(-MAX_AMOUNT..=MAX_AMOUNT).contains(&amount) {
        faults.push(InputFault { field: "amount", problem: "must not be 0, and have 1000000000000 tokens at most" });
    }
    refuse(faults)?;
    let (key, note) = (format!("adjust:{key}"), note.map(str::to_owned));
    post(app, Posting { user: user.clone(), key, purpose: Purpose::Adjust, amount, note }).await
}

/// The name of the reservation that a wish of an Envoy becomes. The same wish always has the same one.
pub fn lease_id(node: &str, request: &str) -> LeaseId {
    let mut hash = Sha256::new();
    hash.update(node.as_bytes());
    // Names hold no such byte: `a` + `bc` and `ab` + `c` stay apart.
    hash.update([0]);
    hash.update(request.as_bytes());
    let name: String = hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    LeaseId::new(format!("lse_{name}"))
}

/// Settles, renews and makes reservations for an Envoy.
///
/// # Errors
/// The store fails.
pub async fn lease(app: &App, call: &LeaseCall) -> Result<LeaseReceipt, ServiceError> {
    Ok(app.store.lease(call, &app.allowances, &app.stamp()).await?)
}

/// Books what an Envoy has counted.
///
/// # Errors
/// The store fails.
pub async fn book(app: &App, batch: &Batch) -> Result<BatchReceipt, ServiceError> {
    Ok(app.store.book(batch, &app.allowances, &app.stamp()).await?)
}

/// What was counted for a user from one day to another (`2026-11-23`), both included.
///
/// # Errors
/// The store fails.
pub async fn daily_usage(app: &App, user: &UserId, from: &str, to: &str) -> Result<Vec<DailyUsage>, ServiceError> {
    Ok(app.store.daily_usage(user, from, to).await?)
}

/// Adds up the whole ledger of a user. [`Tally::faults`] says whether it comes out. Only sums of a moment in which
/// nothing is posted belong together.
///
/// # Errors
/// [`ServiceError::NotFound`], or the store fails.
pub async fn tally(app: &App, user: &UserId) -> Result<(Tally, Account, Vec<Reservation>), ServiceError> {
    let account = found(app.store.account(user, &app.allowances, &app.stamp()).await)?;
    let open = app.store.open_reservations(user).await?;
    let mut entries = Vec::new();
    loop {
        let before = entries.last().map(|entry: &Entry| entry.seq);
        let page = app.store.entries(user, before, PAGE).await?;
        let is_last = page.len() < PAGE;
        entries.extend(page);
        if is_last {
            break;
        }
    }
    let mut tally = Tally::default();
    entries.iter().rev().for_each(|entry| tally.add(entry));
    Ok((tally, account, open))
}

/// With what an account began, as the log of changes has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Tokens left, where the log says.
    pub balance: Option<i64>,
    /// Tokens used before.
    pub used: i64,
}

/// With what the account of a user began; `None` where another program made it.
///
/// # Errors
/// The store fails.
pub async fn opening(app: &App, user: &UserId) -> Result<Option<Opening>, ServiceError> {
    let filter = AuditFilter { subject: Some(user.as_str().to_owned()), actor: None };
    let (mut after, mut opening): (Option<String>, _) = (None, None);
    loop {
        let page = app.store.audit(&filter, after.as_deref(), PAGE).await?;
        for (_, entry) in &page {
            let number = |name: &str| entry.after.as_ref().and_then(|after| after.get(name)?.as_i64());
            match entry.action.as_str() {
                "user.created" => opening = Some(Opening { balance: None, used: 0 }),
                "user.imported" => {
                    let used = number("tokens_used").unwrap_or(0);
                    opening = Some(Opening { balance: number("tokens_remaining"), used });
                }
                _ => {}
            }
        }
        if page.len() < PAGE {
            return Ok(opening);
        }
        after = page.last().map(|(name, _)| name.clone());
    }
}

/// How long a process that has just begun waits for the words of Envoys before it settles anything: they try again at
/// least each second.
const FIRST_WORD: Duration = Duration::from_secs(3);

/// Settles reservations whose time is over, and forgets old batches, for as long as it is not stopped.
pub async fn keep_settled(app: App, metrics: Metrics) {
    let mut round: u32 = 0;
    // Envoys that had nobody to tell what they used do so first: what is settled before they have is given away twice.
    tokio::time::sleep(FIRST_WORD).await;
    loop {
        match settle_expired(&app).await {
            Ok(entries) => metrics.count_expired(&entries),
            Err(error) => tracing::warn!(%error, "expired reservations could not be settled"),
        }
        if round == 0 {
            let before = app.clock.now().plus_seconds(-KEEP_BATCHES_SECONDS);
            if let Err(error) = app.store.forget_batches(before).await {
                tracing::warn!(%error, "old usage batches could not be forgotten");
            }
        }
        round = round.checked_add(1).filter(|round| *round < FORGET_ROUNDS).unwrap_or(0);
        tokio::time::sleep(SETTLE_INTERVAL.mul_f64(crate::random::jitter())).await;
    }
}

/// Settles every reservation whose time is over.
///
/// # Errors
/// The store fails.
pub async fn settle_expired(app: &App) -> Result<Vec<Entry>, ServiceError> {
    let mut all = Vec::new();
    loop {
        let entries = app.store.settle_expired(SETTLE_AT_ONCE, &app.allowances, &app.stamp()).await?;
        let is_last = entries.len() < SETTLE_AT_ONCE;
        all.extend(entries);
        if is_last {
            return Ok(all);
        }
    }
}

async fn post(app: &App, posting: Posting) -> Result<Posted, ServiceError> {
    found(app.store.post(&posting, &app.allowances, &app.stamp()).await)
}

fn found<T>(result: Result<T, StoreError>) -> Result<T, ServiceError> {
    result.map_err(|error| match error {
        StoreError::NotFound => ServiceError::NotFound,
        StoreError::Conflict(Conflict::LedgerKey) => {
            ServiceError::Conflict("the idempotency key stands for something else")
        }
        error => error.into(),
    })
}

fn check(note: Option<&str>, key: &str) -> Vec<InputFault> {
    let mut faults = Vec::new();
    if !is_key(key) {
        faults.push(InputFault { field: "idempotency-key", problem: "must have 1 to 255 printable ASCII characters" });
    }
    if note.is_some_and(|note| note.chars().count() > MAX_NOTE_CHARS || note.chars().any(char::is_control)) {
        faults.push(InputFault { field: "note", problem: "may have 200 characters, no control characters" });
    }
    faults
}

/// Whether a text may be an idempotency key.
pub fn is_key(text: &str) -> bool {
    (1..=MAX_KEY_CHARS).contains(&text.len()) && text.bytes().all(|b| (0x20..=0x7E).contains(&b))
}

fn positive(amount: i64, faults: &mut Vec<InputFault>) {
    if !(1..=MAX_AMOUNT).contains(&amount) {
        faults.push(InputFault { field: "amount", problem: "must be a whole number from 1 to 1000000000000" });
    }
}

fn refuse(faults: Vec<InputFault>) -> Result<(), ServiceError> {
    if faults.is_empty() { Ok(()) } else { Err(ServiceError::Invalid(faults)) }
}

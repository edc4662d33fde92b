//! Bodies about credits, and the edge's messages as the ledger understands them: every fault is listed. It must not call
//! a service.

use serde::Serialize;
use tollgate_protocol::credits::{
    LeaseOutcome, LeaseRequest, MAX_LEASES, MAX_REPORTED, TakeOutcome as WireTake, UsageReport,
};
use utoipa::ToSchema;

use super::super::{
    dto::rfc3339,
    error::Refusal,
    members::{FromMembers, Members},
    params::{FromQuery, Parameters},
};
use crate::{
    domain::{
        KeyId, Timestamp, UserId,
        ledger::{
            Batch, Count, Entry, LeaseCall, LeaseId, MAX_AMOUNT, MAX_BALANCE, MAX_LEASE_SECONDS, MAX_NOTE_CHARS,
            Reservation, Take, TakeOutcome, UseOutcome, Used,
        },
    },
    service::credits::{self, Balance},
};

/// Longest name of an Envoy's life or of a wish.
const MAX_NODE: usize = 64;

/// A balance.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct BalanceBody {
    /// Tokens that may be used now.
    remaining: i64,
    /// Tokens that are set aside for Envoys and not used yet.
    reserved: i64,
    /// Tokens used, ever.
    used: i64,
    monthly_limit: Option<i64>,
    /// Tokens used in this billing month.
    month_used: i64,
    month_ends_at: Option<String>,
    /// Absent where the subscription has no allowance.
    next_refill_at: Option<String>,
    /// What would be added if it were now.
    next_refill_amount: Option<i64>,
}

impl From<Balance> for BalanceBody {
    fn from(balance: Balance) -> Self {
        let month_ends_at = rfc3339(balance.month_ends_at);
        Self {
            remaining: balance.account.remaining,
            reserved: balance.account.reserved,
            used: balance.account.used,
            monthly_limit: balance.account.monthly_limit,
            month_used: balance.account.month_used,
            next_refill_at: balance.next_refill.and_then(|_| month_ends_at.clone()),
            next_refill_amount: balance.next_refill,
            month_ends_at,
        }
    }
}

/// An entry of the ledger, as its user sees it.
#[derive(Debug, Serialize, ToSchema)]
struct EntryBody {
    number: u64,
    kind: &'static str,
    amount: i64,
    used: i64,
    uncovered: i64,
    balance: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    at: Option<String>,
}

impl From<Entry> for EntryBody {
    fn from(entry: Entry) -> Self {
        Self {
            number: entry.seq,
            kind: entry.kind.as_str(),
            amount: entry.amount,
            used: entry.used,
            uncovered: entry.uncovered,
            balance: entry.balance,
            lease: entry.lease.map(|lease| lease.as_str().to_owned()),
            note: entry.note,
            at: rfc3339(entry.at),
        }
    }
}

/// A page of the ledger, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct HistoryBody {
    entries: Vec<EntryBody>,
    /// What to ask for the next page with; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

impl HistoryBody {
    pub(super) fn new(entries: Vec<Entry>, limit: usize) -> Self {
        let oldest = entries.last().map(|entry| entry.seq).filter(|seq| *seq > 1 && entries.len() == limit);
        Self { cursor: oldest.map(|seq| seq.to_string()), entries: entries.into_iter().map(Into::into).collect() }
    }
}

/// Answer to an administrator's grant or correction: the same for the same key.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PostedBody {
    /// Number of the entry.
    entry: u64,
    kind: &'static str,
    amount: i64,
    /// Tokens that were left right after it.
    remaining: i64,
}

impl From<Entry> for PostedBody {
    fn from(entry: Entry) -> Self {
        Self { entry: entry.seq, kind: entry.kind.as_str(), amount: entry.amount, remaining: entry.balance }
    }
}

/// Answer to `POST /api/tokens/consume`: the same for the same key.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ConsumedBody {
    /// Number of the entry.
    entry: u64,
    amount: i64,
    /// Tokens that were left right after it.
    remaining: i64,
}

impl From<Entry> for ConsumedBody {
    fn from(entry: Entry) -> Self {
        Self { entry: entry.seq, amount: entry.used, remaining: entry.balance }
    }
}

/// What `GET /api/tokens/history` asks for.
#[derive(Debug)]
pub(in crate::http) struct HistoryPage {
    /// Only entries below this number.
    pub(super) before: Option<u64>,
    pub(super) limit: usize,
}

impl FromQuery for HistoryPage {
    fn read(query: &mut Parameters) -> Self {
        Self { before: query.cursor(|text| text.parse().ok()), limit: query.limit() }
    }
}

/// The body of a grant and of `POST /api/tokens/consume`: how many tokens, and why.
#[derive(Debug)]
pub(in crate::http) struct Amount {
    pub(super) amount: i64,
    pub(super) note: Option<String>,
}

impl FromMembers for Amount {
    fn read(members: &mut Members) -> Self {
        let problem = "must be a whole number from 1 to 1000000000000";
        let amount = members.needed_number("amount", 1..=MAX_AMOUNT, problem).unwrap_or_default();
        Self { amount, note: note(members) }
    }
}

/// The body of a correction: as a grant, up or down.
#[derive(Debug)]
pub(in crate::http) struct Correction {
    pub(super) amount: i64,
    pub(super) note: Option<String>,
}

impl FromMembers for Correction {
    fn read(members: &mut Members) -> Self {
        let problem = "must be a whole number from -1000000000000 to 1000000000000, and not 0";
        let amount = members.needed_number("amount", -MAX_AMOUNT..=MAX_AMOUNT, problem);
        if amount == Some(0) {
            members.fault("amount", problem);
        }
        Self { amount: amount.unwrap_or_default(), note: note(members) }
    }
}

fn note(members: &mut Members) -> Option<String> {
    let note = members.clearable_text("note").flatten();
    members.meaning("What it is for; no control characters.", Some(0..=MAX_NOTE_CHARS));
    note
}

/// Reads the body of `usage`.
pub(super) fn batch(report: UsageReport) -> Result<Batch, Refusal> {
    let mut faults = Faults::default();
    faults.name("node", &report.node);
    let is_number = i64::try_from(report.batch).is_ok_and(|number| number <= MAX_BALANCE);
    faults.unless(is_number, "batch", "must be below 2^53");
    faults.unless(report.requests.len() <= MAX_REPORTED, "requests", "may be 500 at most");
    faults.unless(report.leases.len() <= MAX_REPORTED, "leases", "may be 500 at most");
    faults.none()?;
    let mut batch = Batch { node: report.node, number: report.batch, ..Batch::default() };
    for (at, one) in report.requests.into_iter().enumerate() {
        let place = |member: &str| format!("requests[{at}].{member}");
        let user = faults.user(place("user_id"), one.user_id);
        if let Some(key) = &one.key_id {
            let is_id = (1..=UserId::MAX_LENGTH).contains(&key.len());
            faults.unless(is_id, place("key_id"), "must be the id of a key");
        }
        let requests = faults.amount(place("requests"), one.requests, 0);
        let tokens = faults.amount(place("tokens"), one.tokens, 0);
        let seconds = faults.amount(place("last_used_at"), one.last_used_at, 0);
        let last_used_at = Timestamp::from_seconds(seconds);
        batch.counts.push(Count { user, key: one.key_id.map(KeyId::new), requests, tokens, last_used_at });
    }
    for (at, one) in report.leases.into_iter().enumerate() {
        batch.leases.push(faults.used(&format!("leases[{at}]"), one.id, one.used));
    }
    faults.none()?;
    Ok(batch)
}

/// Reads the body of `leases` at `now`.
pub(super) fn lease_call(request: &LeaseRequest, now: Timestamp) -> Result<LeaseCall, Refusal> {
    let mut faults = Faults::default();
    faults.name("node", &request.node);
    let number = request.take.len().saturating_add(request.renew.len()).saturating_add(request.settle.len());
    faults.unless(number <= MAX_LEASES, "body", "may take, renew and settle 200 leases in all");
    faults.none()?;
    let mut call = LeaseCall { node: request.node.clone(), ..LeaseCall::default() };
    for (at, one) in request.settle.iter().enumerate() {
        call.settle.push(faults.used(&format!("settle[{at}]"), one.id.clone(), one.used));
    }
    for (at, one) in request.renew.iter().enumerate() {
        let used = faults.used(&format!("renew[{at}]"), one.id.clone(), one.used);
        call.renew.push((used, faults.until(format!("renew[{at}].extend_seconds"), one.extend_seconds, now)));
    }
    for (at, one) in request.take.iter().enumerate() {
        let place = |member: &str| format!("take[{at}].{member}");
        faults.name(place("request"), &one.request);
        faults.unless(one.least <= one.wanted, place("least"), "must not be more than wanted");
        call.take.push(Take {
            id: credits::lease_id(&request.node, &one.request),
            user: faults.user(place("user_id"), one.user_id.clone()),
            wanted: faults.amount(place("wanted"), one.wanted, 1),
            least: faults.amount(place("least"), one.least, 1),
            expires_at: faults.until(place("seconds"), one.seconds, now),
            share: i64::from(one.share.max(1)),
            recall: one.recall,
        });
    }
    faults.none()?;
    Ok(call)
}

/// What the edge is told of a wish.
pub(super) fn take_outcome(outcome: TakeOutcome) -> WireTake {
    match outcome {
        TakeOutcome::Granted(one) => WireTake::Granted {
            amount: amount(&one),
            expires_at: one.expires_at.unix_seconds(),
            id: one.id.as_str().to_owned(),
        },
        TakeOutcome::Exhausted { reserved } => WireTake::Exhausted { reserved: u64::try_from(reserved).unwrap_or(0) },
        TakeOutcome::Ended => WireTake::Ended,
        TakeOutcome::Unknown => WireTake::Unknown,
    }
}

/// What the edge is told of a renewal or a settlement.
pub(super) fn lease_outcome(outcome: UseOutcome) -> LeaseOutcome {
    match outcome {
        UseOutcome::Open(one) => LeaseOutcome::Open { amount: amount(&one), expires_at: one.expires_at.unix_seconds() },
        UseOutcome::Ended => LeaseOutcome::Ended,
        UseOutcome::Unknown => LeaseOutcome::Unknown,
    }
}

fn amount(one: &Reservation) -> u64 {
    u64::try_from(one.amount).unwrap_or(0)
}

/// Faults on the way through a body. What has one is given a value that is not used then.
#[derive(Default)]
struct Faults(Vec<(String, String)>);

impl Faults {
    /// Most faults that are told.
    const MOST: usize = 50;

    fn add(&mut self, field: impl Into<String>, problem: &str) {
        if self.0.len() < Self::MOST {
            self.0.push((field.into(), problem.to_owned()));
        }
    }

    fn unless(&mut self, is_good: bool, field: impl Into<String>, problem: &str) {
        if !is_good {
            self.add(field, problem);
        }
    }

    fn none(&mut self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::invalid(std::mem::take(&mut self.0))) }
    }

    fn name(&mut self, field: impl Into<String>, text: &str) {
        let is_name = (1..=MAX_NODE).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        self.unless(is_name, field, "must have 1 to 64 printable ASCII characters without spaces");
    }

    fn user(&mut self, field: String, id: String) -> UserId {
        self.unless((1..=UserId::MAX_LENGTH).contains(&id.len()), field, "must be the id of a user");
        UserId::new(id)
    }

    fn amount(&mut self, field: String, amount: u64, least: i64) -> i64 {
        let amount = i64::try_from(amount).ok().filter(|amount| (least..=MAX_AMOUNT).contains(amount));
        self.unless(amount.is_some(), field, "must be a whole number, 1000000000000 at most");
        amount.unwrap_or_default()
    }

    fn used(&mut self, place: &str, id: String, used: u64) -> Used {
        let is_id = (1..=LeaseId::MAX_LENGTH).contains(&id.len());
        self.unless(is_id, format!("{place}.id"), "must be the id of a lease");
        Used { id: LeaseId::new(id), used: self.amount(format!("{place}.used"), used, 0) }
    }

    fn until(&mut self, field: String, seconds: u32, now: Timestamp) -> Timestamp {
        let seconds = i64::from(seconds);
        self.unless((1..=MAX_LEASE_SECONDS).contains(&seconds), field, "must be 1 to 600");
        now.plus_seconds(seconds)
    }
}

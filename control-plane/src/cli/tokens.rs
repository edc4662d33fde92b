//! `tollgate tokens`: balances, their history, grants and corrections. It must not hold a rule of the ledger.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Scene,
    fault::CliFault,
    output::note,
    store::{self, user},
    users::Who,
};
use crate::{
    app::App,
    domain::{
        UserId,
        ledger::{Account, Entry, Posted},
    },
    random,
    service::credits,
};

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// What a user has.
    Balance(Who),
    /// Every change of a balance, newest first.
    History {
        #[command(flatten)]
        who: Who,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// All of them
        #[arg(long, conflicts_with = "limit")]
        all: bool,
    },
    /// Give tokens.
    Grant(Posting),
    /// Correct a balance, up or down.
    Adjust(Posting),
    /// Add the whole ledger of a user up, and say whether it comes out.
    Tally(Who),
}

/// What is to be posted.
#[derive(Debug, Args)]
pub(super) struct Posting {
    #[command(flatten)]
    who: Who,
    /// How many tokens
    #[arg(allow_negative_numbers = true)]
    amount: i64,
    /// What it is for
    #[arg(long)]
    note: Option<String>,
    /// Idempotency key: the same one again is the same change, made once [default: a random one, which is printed]
    #[arg(long)]
    key: Option<String>,
}

/// Entries that are read at once.
const PAGE: usize = 500;

/// Runs it.
///
/// # Errors
/// [`CliFault`].
pub(super) async fn run(scene: &Scene, command: Command) -> Result<(), CliFault> {
    let (app, _) = store::open(scene).await?;
    match command {
        Command::Balance(who) => {
            let user = user(&app, &who.user).await?;
            balance(scene, &app, &user.id).await
        }
        Command::History { who, limit, all } => {
            let user = user(&app, &who.user).await?;
            history(scene, &app, &user.id, if all { usize::MAX } else { limit }).await
        }
        Command::Grant(posting) => post(scene, &app, posting, true).await,
        Command::Adjust(posting) => post(scene, &app, posting, false).await,
        Command::Tally(who) => {
            let user = user(&app, &who.user).await?;
            tally(scene, &app, &user.id).await
        }
    }
}

async fn balance(scene: &Scene, app: &App, user: &UserId) -> Result<(), CliFault> {
    let balance = credits::balance(app, user).await?;
    let Account { remaining, reserved, used, month_used, monthly_limit, subscription, .. } = balance.account;
    let ends = balance.month_ends_at.to_text();
    let document = json!({
        "user_id": user.as_str(), "remaining": remaining, "reserved": reserved, "used": used,
        "month_used": month_used, "monthly_limit": monthly_limit, "subscription": subscription.as_str(),
        "month_ends_at": ends, "next_refill": balance.next_refill,
    });
    let facts = [
        ("user", user.as_str().to_owned()),
        ("left", remaining.to_string()),
        ("set aside", reserved.to_string()),
        ("used", used.to_string()),
        ("used this month", month_used.to_string()),
        ("monthly limit", monthly_limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())),
        ("subscription", subscription.as_str().to_owned()),
        ("month ends", ends),
        ("next refill", balance.next_refill.map(|amount| format!("up to {amount}")).unwrap_or_default()),
    ];
    scene.out.facts(&document, &facts)
}

async fn history(scene: &Scene, app: &App, user: &UserId, limit: usize) -> Result<(), CliFault> {
    let (mut left, mut before, mut rows) = (limit, None, Vec::new());
    loop {
        let wanted = left.min(PAGE);
        let page = credits::history(app, user, before, wanted).await?;
        left = left.saturating_sub(page.len());
        before = page.last().map(|entry| entry.seq);
        for entry in &page {
            if scene.out.is_json() {
                scene.out.json(&document(entry))?;
            } else {
                rows.push(row(entry));
            }
        }
        if page.len() < wanted || left == 0 {
            break;
        }
    }
    if !scene.out.is_json() {
        scene.out.table(&["no", "when", "what", "change", "used", "left", "by", "key", "note"], &rows)?;
        if left == 0 && before.is_some_and(|first| first > 1) {
            note(&format!("{} shown, there are more: --limit N or --all", rows.len()));
        }
    }
    Ok(())
}

fn row(entry: &Entry) -> Vec<String> {
    vec![
        entry.seq.to_string(),
        entry.at.to_text(),
        entry.kind.as_str().to_owned(),
        entry.amount.to_string(),
        entry.used.to_string(),
        entry.balance.to_string(),
        entry.actor.clone(),
        entry.key.clone(),
        entry.note.clone().unwrap_or_default(),
    ]
}

fn document(entry: &Entry) -> Value {
    json!({
        "user_id": entry.user.as_str(), "seq": entry.seq, "at": entry.at.to_text(), "kind": entry.kind.as_str(),
        "amount": entry.amount, "used": entry.used, "uncovered": entry.uncovered, "balance": entry.balance,
        "actor": entry.actor, "key": entry.key, "note": entry.note,
        "lease": entry.lease.as_ref().map(|lease| lease.as_str()),
    })
}

async fn post(scene: &Scene, app: &App, posting: Posting, is_grant: bool) -> Result<(), CliFault> {
    let user = user(app, &posting.who.user).await?;
    let key = match posting.key {
        Some(key) => key,
        None => random::id("cli_").map_err(|error| CliFault::Failed(error.to_string()))?,
    };
    let note = posting.note.as_deref();
    let posted = match is_grant {
        true => credits::grant(app, &user.id, posting.amount, &key, note).await?,
        false => credits::adjust(app, &user.id, posting.amount, &key, note).await?,
    };
    match posted {
        Posted::Done { entry, replayed } => {
            let mut shown = document(&entry);
            if let Value::Object(members) = &mut shown {
                members.insert("idempotency_key".to_owned(), json!(key));
                members.insert("replayed".to_owned(), json!(replayed));
            }
            let again = if replayed { " (this key stood for it already: nothing was changed now)" } else { "" };
            let sentence =
                format!("{:+} tokens for {}: {} left; --key {key}{again}", entry.amount, user.id, entry.balance);
            scene.out.said(&shown, &sentence)
        }
        Posted::Exhausted => Err(CliFault::Refused("less is left than is to be taken away".to_owned())),
        Posted::TooMuch => Err(CliFault::Refused("the balance would become too large".to_owned())),
    }
}

async fn tally(scene: &Scene, app: &App, user: &UserId) -> Result<(), CliFault> {
    let (tally, account, open) = credits::tally(app, user).await?;
    let opening = credits::opening(app, user).await?;
    // What a program that is not ours has counted before the first entry, nobody can add up.
    let used_before = opening.map_or_else(|| account.used.saturating_sub(tally.used), |opening| opening.used);
    let mut faults = tally.faults(&account, used_before, &open);
    let first = tally.first_balance.unwrap_or(account.remaining);
    if let Some(expected) = opening.and_then(|opening| opening.balance).filter(|expected| *expected != first) {
        faults.push(format!("first balance: {first} is not {expected}, with which the account began"));
    }
    let document = json!({
        "user_id": user.as_str(), "adds_up": faults.is_empty(), "faults": faults, "entries": tally.entries,
        "first_balance": first, "given": tally.given, "used": tally.used, "used_before": used_before,
        "uncovered": tally.uncovered, "remaining": account.remaining, "reserved": account.reserved,
    });
    let facts = [
        ("entries", tally.entries.to_string()),
        ("first balance", first.to_string()),
        ("given", tally.given.to_string()),
        ("used", tally.used.to_string()),
        ("used before", used_before.to_string()),
        ("uncovered", tally.uncovered.to_string()),
        ("left", account.remaining.to_string()),
        ("set aside", account.reserved.to_string()),
        ("adds up", super::users::yes_no(faults.is_empty())),
    ];
    scene.out.facts(&document, &facts)?;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(CliFault::Failed(format!("the ledger does not add up: {}", faults.join("; "))))
    }
}

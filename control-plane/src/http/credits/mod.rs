//! Credits over HTTP: what a user sees and a backend uses on the public API, what Envoys send on the edge listener. It
//! must not know a rule of the ledger.

pub(super) mod admin;
mod dto;
pub(super) mod edge;

pub(super) use dto::{Amount, Correction, HistoryPage};

use super::{
    Shared,
    answer::Fine,
    api::active,
    error::{ApiCode, Refusal},
    extract::Keyed,
    params::Query,
};
use crate::{
    assertion::Caller,
    domain::{Scope, ledger::Posted},
    service::credits::{self, Consumption},
};

/// The scope that a credential needs to use tokens by itself.
const CONSUME: &str = "tokens:consume";

/// `GET /api/tokens`
pub(super) async fn balance(shared: Shared, caller: Caller, (): ()) -> Result<Fine<dto::BalanceBody>, Refusal> {
    let user = active(&shared, &caller).await?;
    let balance = credits::balance(&shared.acting(&caller), &user.id).await?;
    Ok(Fine(balance.into()))
}

/// `GET /api/tokens/history`
pub(super) async fn history(
    shared: Shared,
    caller: Caller,
    Query(page): Query<dto::HistoryPage>,
) -> Result<Fine<dto::HistoryBody>, Refusal> {
    let user = active(&shared, &caller).await?;
    let entries = credits::history(&shared.acting(&caller), &user.id, page.before, page.limit).await?;
    Ok(Fine(dto::HistoryBody::new(entries, page.limit)))
}

/// `POST /api/tokens/consume`
pub(super) async fn consume(
    shared: Shared,
    caller: Caller,
    Keyed { key, body }: Keyed<dto::Amount>,
) -> Result<Fine<dto::ConsumedBody>, Refusal> {
    if !caller.scopes().iter().map(Scope::as_str).any(|scope| scope == CONSUME) {
        return Err(Refusal::new(ApiCode::ScopeRequired));
    }
    let user = active(&shared, &caller).await?;
    let consumption = Consumption { amount: body.amount, key, note: body.note };
    match credits::consume(&shared.acting(&caller), &user.id, &consumption).await? {
        Posted::Done { entry, replayed } => {
            if !replayed {
                shared.metrics.count_entries(std::slice::from_ref(&entry));
            }
            Ok(Fine(entry.into()))
        }
        Posted::Exhausted | Posted::TooMuch => Err(Refusal::new(ApiCode::TokensExhausted)),
    }
}

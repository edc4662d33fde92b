//! Credits over HTTP: what a user sees and a backend uses on the public API, what Envoys send on the edge listener. It
//! must not know a rule of the ledger.

pub(super) mod admin;
mod dto;
pub(super) mod edge;

use axum::{http::StatusCode, response::Response};

use super::{
    Shared,
    api::{active, private},
    error::{ApiCode, Refusal},
    extract::{Keyed, Page},
};
use crate::{
    assertion::Caller,
    domain::{Scope, ledger::Posted},
    service::credits,
};

/// The scope that a credential needs to use tokens by itself.
const CONSUME: &str = "tokens:consume";

/// `GET /api/tokens`
pub(super) async fn balance(shared: Shared, caller: Caller, (): ()) -> Result<Response, Refusal> {
    let user = active(&shared, &caller).await?;
    let balance = credits::balance(&shared.acting(&caller), &user.id).await?;
    Ok(private(StatusCode::OK, dto::BalanceBody::from(balance)))
}

/// `GET /api/tokens/history`
pub(super) async fn history(shared: Shared, caller: Caller, page: Page) -> Result<Response, Refusal> {
    let user = active(&shared, &caller).await?;
    let (before, limit) = dto::history(&page)?;
    let entries = credits::history(&shared.acting(&caller), &user.id, before, limit).await?;
    Ok(private(StatusCode::OK, dto::HistoryBody::new(entries, limit)))
}

/// `POST /api/tokens/consume`
pub(super) async fn consume(shared: Shared, caller: Caller, keyed: Keyed) -> Result<Response, Refusal> {
    if !caller.scopes().iter().map(Scope::as_str).any(|scope| scope == CONSUME) {
        return Err(Refusal::new(ApiCode::ScopeRequired));
    }
    let user = active(&shared, &caller).await?;
    let consumption = dto::consumption(keyed)?;
    match credits::consume(&shared.acting(&caller), &user.id, &consumption).await? {
        Posted::Done { entry, replayed } => {
            if !replayed {
                shared.metrics.count_entries(std::slice::from_ref(&entry));
            }
            Ok(private(StatusCode::OK, dto::ConsumedBody::from(entry)))
        }
        Posted::Exhausted | Posted::TooMuch => Err(Refusal::new(ApiCode::TokensExhausted)),
    }
}

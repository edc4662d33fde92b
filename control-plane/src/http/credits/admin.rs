//! Credits of any user, as administrators read and correct them. It must not know a rule of the ledger.

use axum::{http::StatusCode, response::Response};

use super::dto;
use crate::{
    assertion::Caller,
    domain::{UserId, ledger::Posted},
    http::{
        Shared,
        admin::admin,
        api::private,
        error::{ApiCode, Refusal},
        extract::{Keyed, Page},
        params::Id,
    },
    service::{ServiceError, credits},
};

/// `GET /api/admin/users/{id}/tokens`
pub(in crate::http) async fn balance(shared: Shared, caller: Caller, Id(id): Id) -> Result<Response, Refusal> {
    let app = admin(&shared, &caller).await?;
    Ok(private(StatusCode::OK, dto::BalanceBody::from(credits::balance(&app, &UserId::new(id)).await?)))
}

/// `GET /api/admin/users/{id}/tokens/history`
pub(in crate::http) async fn history(
    shared: Shared,
    caller: Caller,
    (Id(id), page): (Id, Page),
) -> Result<Response, Refusal> {
    let app = admin(&shared, &caller).await?;
    let (before, limit) = dto::history(&page)?;
    let user = crate::service::users::get(&app, &UserId::new(id)).await?;
    let entries = credits::history(&app, &user.id, before, limit).await?;
    Ok(private(StatusCode::OK, dto::HistoryBody::new(entries, limit)))
}

/// `POST /api/admin/users/{id}/grant`
pub(in crate::http) async fn grant(
    shared: Shared,
    caller: Caller,
    (Id(id), keyed): (Id, Keyed),
) -> Result<Response, Refusal> {
    let app = admin(&shared, &caller).await?;
    let wish = dto::consumption(keyed)?;
    let posted = credits::grant(&app, &UserId::new(id), wish.amount, &wish.key, wish.note.as_deref()).await;
    answer(&shared, posted)
}

/// `POST /api/admin/users/{id}/adjust`
pub(in crate::http) async fn adjust(
    shared: Shared,
    caller: Caller,
    (Id(id), keyed): (Id, Keyed),
) -> Result<Response, Refusal> {
    let app = admin(&shared, &caller).await?;
    let wish = dto::correction(keyed)?;
    let posted = credits::adjust(&app, &UserId::new(id), wish.amount, &wish.key, wish.note.as_deref()).await;
    answer(&shared, posted)
}

fn answer(shared: &Shared, posted: Result<Posted, ServiceError>) -> Result<Response, Refusal> {
    match posted? {
        Posted::Done { entry, replayed } => {
            if !replayed {
                shared.metrics.count_entries(std::slice::from_ref(&entry));
            }
            Ok(private(StatusCode::OK, dto::PostedBody::from(entry)))
        }
        Posted::Exhausted => Err(Refusal::new(ApiCode::TokensExhausted)),
        Posted::TooMuch => Err(Refusal::new(ApiCode::LimitReached)),
    }
}

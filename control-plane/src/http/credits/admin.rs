//! Credits of any user, as administrators read and correct them. It must not know a rule of the ledger.

use super::dto;
use crate::{
    assertion::Caller,
    domain::{UserId, ledger::Posted},
    http::{
        Shared,
        admin::admin,
        answer::Fine,
        error::{ApiCode, Refusal},
        extract::Keyed,
        params::{Id, Query},
    },
    service::{ServiceError, credits},
};

/// `GET /api/admin/users/{id}/tokens`
pub(in crate::http) async fn balance(
    shared: Shared,
    caller: Caller,
    Id(id): Id,
) -> Result<Fine<dto::BalanceBody>, Refusal> {
    let app = admin(&shared, &caller).await?;
    Ok(Fine(credits::balance(&app, &UserId::new(id)).await?.into()))
}

/// `GET /api/admin/users/{id}/tokens/history`
pub(in crate::http) async fn history(
    shared: Shared,
    caller: Caller,
    (Id(id), Query(page)): (Id, Query<dto::HistoryPage>),
) -> Result<Fine<dto::HistoryBody>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let user = crate::service::users::get(&app, &UserId::new(id)).await?;
    let entries = credits::history(&app, &user.id, page.before, page.limit).await?;
    Ok(Fine(dto::HistoryBody::new(entries, page.limit)))
}

/// `POST /api/admin/users/{id}/grant`
pub(in crate::http) async fn grant(
    shared: Shared,
    caller: Caller,
    (Id(id), Keyed { key, body }): (Id, Keyed<dto::Amount>),
) -> Result<Fine<dto::PostedBody>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let posted = credits::grant(&app, &UserId::new(id), body.amount, &key, body.note.as_deref()).await;
    answer(&shared, posted)
}

/// `POST /api/admin/users/{id}/adjust`
pub(in crate::http) async fn adjust(
    shared: Shared,
    caller: Caller,
    (Id(id), Keyed { key, body }): (Id, Keyed<dto::Correction>),
) -> Result<Fine<dto::PostedBody>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let posted = credits::adjust(&app, &UserId::new(id), body.amount, &key, body.note.as_deref()).await;
    answer(&shared, posted)
}

fn answer(shared: &Shared, posted: Result<Posted, ServiceError>) -> Result<Fine<dto::PostedBody>, Refusal> {
    match posted? {
        Posted::Done { entry, replayed } => {
            if !replayed {
                shared.metrics.count_entries(std::slice::from_ref(&entry));
            }
            Ok(Fine(entry.into()))
        }
        Posted::Exhausted => Err(Refusal::new(ApiCode::TokensExhausted)),
        Posted::TooMuch => Err(Refusal::new(ApiCode::LimitReached)),
    }
}

//! Credits on the edge listener: batches of counted use, and leases. It must not know a rule of the ledger.

use axum::{Json, extract::State};
use tollgate_protocol::credits::{
    LeaseAnswer, LeaseRequest, LeaseState, LeaseTaken, MAX_CREDITS_BODY, UsageAnswer, UsageReport,
};

use super::{
    super::{
        Shared,
        edge::Counted,
        error::Refusal,
        extract::{Edge, Message},
    },
    dto,
};
use crate::{
    domain::Actor,
    service::{ServiceError, credits},
};

/// `POST /edge/v1/usage`
pub(in super::super) async fn usage(
    _: Edge,
    State(shared): State<Shared>,
    Message(report): Message<UsageReport, MAX_CREDITS_BODY>,
) -> Result<Json<UsageAnswer>, Refusal> {
    let batch = dto::batch(report)?;
    let _pending = Counted::new(&shared.metrics.usage_pending);
    let receipt =
        credits::book(&shared.app.acting(Actor::Edge, None), &batch).await.inspect_err(|e| seen(&shared, e))?;
    let outcome = if receipt.replayed { "duplicate" } else { "applied" };
    shared.metrics.usage_batches.with_label_values(&[outcome]).inc();
    shared.metrics.count_entries(&receipt.entries);
    Ok(Json(UsageAnswer {
        unknown_users: receipt.unknown_users,
        unknown_leases: receipt.unknown_leases,
        ended_leases: receipt.ended_leases,
    }))
}

/// `POST /edge/v1/leases`
pub(in super::super) async fn leases(
    _: Edge,
    State(shared): State<Shared>,
    Message(request): Message<LeaseRequest, MAX_CREDITS_BODY>,
) -> Result<Json<LeaseAnswer>, Refusal> {
    let call = dto::lease_call(&request, shared.app.clock.now())?;
    let receipt =
        credits::lease(&shared.app.acting(Actor::Edge, None), &call).await.inspect_err(|e| seen(&shared, e))?;
    shared.metrics.count_entries(&receipt.entries);
    let state = |(id, outcome)| LeaseState { id, outcome: dto::lease_outcome(outcome) };
    let taken = request.take.into_iter().map(|take| take.request).zip(receipt.taken);
    let renewed = request.renew.into_iter().map(|renewal| renewal.id).zip(receipt.renewed);
    let settled = request.settle.into_iter().map(|used| used.id).zip(receipt.settled);
    Ok(Json(LeaseAnswer {
        taken: taken.map(|(request, outcome)| LeaseTaken { request, outcome: dto::take_outcome(outcome) }).collect(),
        renewed: renewed.map(state).collect(),
        settled: settled.map(state).collect(),
    }))
}

fn seen(shared: &Shared, error: &ServiceError) {
    if let ServiceError::Store(error) = error {
        shared.metrics.count_store_error(error);
    }
}

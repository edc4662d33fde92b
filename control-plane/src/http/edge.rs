//! The edge API, health and metrics, on the listener that is never public. Nothing here names a store.

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Query, State},
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use tollgate_protocol::{
    Cursor,
    credits::{LEASES_PATH, USAGE_PATH},
    edge::{Outcome, REFRESH_PATH, RESOLVE_PATH, RefreshRequest, ResolveAnswer, ResolveRequest, SYNC_PATH},
    limits::{LIMITS_PATH, LimitsAnswer, LimitsReport, MAX_BUCKETS, MAX_LIMITS_BODY},
    refusals::{REFUSAL_PATH, REFUSALS_PATH},
};

use super::{
    Shared,
    credits::edge::{leases, usage},
    error::{ApiCode, Refusal},
    extract::{Edge, Message},
    observe::{Observer, READY_PATH, note_user, observe},
    ready::ready,
    refusals,
    tls::certified,
};
use crate::{
    cache::Away,
    domain::{Actor, UserId},
    service::ServiceError,
};

/// The router of the edge listener.
pub fn router(shared: Shared) -> Router {
    let observer = Observer { listener: "edge", metrics: shared.metrics.clone() };
    Router::new()
        .route(SYNC_PATH, get(sync))
        .route(RESOLVE_PATH, post(resolve_credential))
        .route(REFRESH_PATH, post(refresh))
        .route(USAGE_PATH, post(usage))
        .route(LEASES_PATH, post(leases))
        .route(LIMITS_PATH, post(limits))
        .route(REFUSALS_PATH, post(refusals::report))
        .route(REFUSAL_PATH, get(refusals::one))
        // Those above; whoever watches over us needs no certificate for those below.
        .route_layer(middleware::from_fn_with_state(shared.clone(), certified))
        .route("/healthz", get(async || "ok\n"))
        .route(READY_PATH, get(ready))
        .route("/metrics", get(metrics))
        .method_not_allowed_fallback(async || Refusal::new(ApiCode::MethodNotAllowed))
        .fallback(async || Refusal::new(ApiCode::NotFound))
        .layer(middleware::from_fn_with_state(observer, observe))
        .with_state(shared)
}

#[derive(Debug, Deserialize)]
struct SyncQuery {
    /// A text that is no cursor is a cursor that is not known.
    cursor: Option<String>,
    node: Option<String>,
}

/// Counts a request for as long as it lives, also when the Envoy hangs up.
pub(super) struct Counted(prometheus::IntGauge);

impl Counted {
    pub(super) fn new(gauge: &prometheus::IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn sync(_: Edge, State(shared): State<Shared>, Query(query): Query<SyncQuery>) -> Result<Response, Refusal> {
    let cursor: Option<Cursor> = query.cursor.and_then(|text| text.parse().ok());
    let _counted = Counted::new(&shared.metrics.syncs);
    let told = shared.feed.sync(cursor).await.inspect_err(|error| shared.metrics.count_store_error(error))?;
    if let Some(cursor) = told.reset {
        let node: String = query.node.unwrap_or_default().chars().filter(char::is_ascii_graphic).take(64).collect();
        tracing::info!(node, %cursor, "an Envoy got all settings");
    }
    // One text for all who are told the same.
    let json = Bytes::from_owner(told.json);
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

async fn resolve_credential(
    _: Edge,
    State(shared): State<Shared>,
    Message(request): Message<ResolveRequest>,
) -> Result<Json<ResolveAnswer>, Refusal> {
    let credential = match &request {
        ResolveRequest::ApiKey { .. } => "api_key",
        ResolveRequest::Clerk { .. } => "clerk",
        ResolveRequest::Legacy { .. } => "legacy",
    };
    let answer = shared.identities.resolve(&shared.app.acting(Actor::Edge, None), &request).await;
    let outcome = match &answer {
        Ok(ResolveAnswer { outcome: Outcome::Identity(identity), .. }) => {
            note_user(&identity.user_id);
            shared.seen.note(UserId::new(&identity.user_id), shared.app.clock.now());
            "identity"
        }
        Ok(ResolveAnswer { outcome: Outcome::Refused(code), .. }) => code.as_str(),
        Err(_) => "error",
    };
    shared.metrics.resolves.with_label_values(&[credential, outcome]).inc();
    if let Err(ServiceError::Store(error)) = &answer {
        shared.metrics.count_store_error(error);
    }
    Ok(Json(answer?))
}

async fn refresh(_: Edge, State(shared): State<Shared>, Message(request): Message<RefreshRequest>) -> StatusCode {
    shared.key_sets.ask(&request.issuer);
    StatusCode::ACCEPTED
}

async fn limits(
    _: Edge,
    State(shared): State<Shared>,
    Message(report): Message<LimitsReport, MAX_LIMITS_BODY>,
) -> Result<Json<LimitsAnswer>, Refusal> {
    let is_name = |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let mut faults = Vec::new();
    if !is_name(&report.node) || !report.used.iter().all(|one| is_name(&one.bucket)) {
        faults.push(("node, used[].bucket".to_owned(), "must be 1 to 64 printable ASCII characters".to_owned()));
    }
    if report.used.len() > MAX_BUCKETS {
        faults.push(("used".to_owned(), format!("must have {MAX_BUCKETS} entries at most")));
    }
    if !faults.is_empty() {
        return Err(Refusal::invalid(faults));
    }
    let answer = shared.shared_limits.count(report, shared.app.clock.now()).await;
    // Redis is a store, too; the Envoy goes on with its own part.
    answer.map(Json).map_err(|Away| Refusal::new(ApiCode::StoreUnavailable))
}

async fn metrics(State(shared): State<Shared>) -> Result<Response, Refusal> {
    let now = shared.app.clock.now();
    for (issuer, standing) in shared.key_sets.standings() {
        if let Some(at) = standing.good_at {
            let seconds = |millis: i64| millis as f64 / 1000.0;
            shared.metrics.key_set_time.with_label_values(&[issuer]).set(seconds(at.millis()));
            shared.metrics.key_set_age.with_label_values(&[issuer]).set(seconds(now.millis() - at.millis()));
        }
    }
    shared.metrics.feed_age.set(shared.app.store.heard().ago().as_secs_f64());
    match shared.app.store.count_open_reservations().await {
        Ok(open) => shared.metrics.open_reservations.set(i64::try_from(open).unwrap_or(i64::MAX)),
        Err(error) => shared.metrics.count_store_error(&error),
    }
    match shared.metrics.render() {
        Ok(text) => Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be written");
            Err(Refusal::new(ApiCode::Internal))
        }
    }
}

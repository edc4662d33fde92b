//! Why requests were refused, or would have been: the reports of edges, and what administrators see of them. It must not
//! know a rule.

use axum::{
    Json,
    extract::{Path, State},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Value, json};
use tollgate_protocol::refusals::{MAX_REFUSALS_BODY, RefusalReport, Refused};
use utoipa::ToSchema;

use super::{
    Shared,
    admin::admin,
    answer::{Fine, Nothing},
    dto::rfc3339,
    error::{ApiCode, Refusal},
    extract::{Edge, Message},
    params::{FromQuery, Id, Parameters, Query},
};
use crate::{
    assertion::Caller,
    domain::{Actor, Timestamp},
    service::refusals,
    store::Watched,
};

/// One page of what rules that are only watched would have refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShadowPage {
    items: Vec<ShadowBody>,
    /// What to hand back as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// How often a route would have refused requests for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShadowBody {
    /// As it is written: `GET,PUT api.example.com/a/**`; `default` where no route decides, `none` where it came to no
    /// route.
    route: String,
    /// The code that the refusal would have had.
    code: String,
    count: u64,
    first_at: Option<String>,
    last_at: Option<String>,
    /// Some of the requests, the oldest first.
    request_ids: Vec<String>,
}

impl From<Watched> for ShadowBody {
    fn from(watched: Watched) -> Self {
        let Watched { route, code, count, first, last, samples } = watched;
        Self { route, code, count, first_at: rfc3339(first), last_at: rfc3339(last), request_ids: samples }
    }
}

/// Which page is asked for.
#[derive(Debug)]
pub(super) struct ShadowSearch {
    after: Option<(String, String)>,
    limit: usize,
}

impl FromQuery for ShadowSearch {
    fn read(query: &mut Parameters) -> Self {
        Self { after: query.cursor(place), limit: query.limit() }
    }
}

/// A place in the report as it is written in a cursor. A code has no space.
fn cursor((route, code): &(String, String)) -> String {
    URL_SAFE_NO_PAD.encode(format!("{code} {route}"))
}

fn place(text: &str) -> Option<(String, String)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (code, route) = text.split_once(' ')?;
    (!text.chars().any(char::is_control)).then(|| (route.to_owned(), code.to_owned()))
}

/// Why a request was refused.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DenialBody {
    request_id: String,
    at: Option<String>,
    /// The code in its answer.
    code: &'static str,
    status: u16,
    title: &'static str,
    detail: &'static str,
    /// Its HTTP method.
    method: String,
    /// The route that decided, as in the report of `GET /api/admin/shadow`.
    route: String,
    /// What carried its credential: `none`, `api_key`, `token`, `cookie` or `unreadable`.
    carrier: &'static str,
    /// Whose credential it was, where that was found out.
    user_id: Option<String>,
    /// It passed all the same: the route is only watched.
    shadow: bool,
}

impl From<Refused> for DenialBody {
    fn from(refused: Refused) -> Self {
        let Refused { request_id, at, code, method, route, carrier, user_id, watched } = refused;
        let at = i64::try_from(at.saturating_mul(1000)).ok().map(Timestamp::from_millis);
        Self {
            request_id,
            at: at.and_then(rfc3339),
            code: code.as_str(),
            status: code.status(),
            title: code.title(),
            detail: code.detail(),
            method,
            route,
            carrier: carrier.as_str(),
            user_id,
            shadow: watched,
        }
    }
}

/// `GET /api/admin/shadow`
pub(super) async fn shadow(
    shared: Shared,
    caller: Caller,
    Query(ShadowSearch { after, limit }): Query<ShadowSearch>,
) -> Result<Fine<ShadowPage>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let (found, next) = refusals::watched(&app, after.as_ref(), limit).await?;
    Ok(Fine(ShadowPage { items: found.into_iter().map(Into::into).collect(), next: next.as_ref().map(cursor) }))
}

/// `DELETE /api/admin/shadow`
pub(super) async fn clear_shadow(shared: Shared, caller: Caller, (): ()) -> Result<Nothing, Refusal> {
    let app = admin(&shared, &caller).await?;
    let counts = refusals::forget(&app).await?;
    tracing::info!(counts, by = %caller.user_id(), "the report of what is only watched begins anew");
    Ok(Nothing)
}

/// `GET /api/admin/denials/{id}`
pub(super) async fn denial(shared: Shared, caller: Caller, Id(id): Id) -> Result<Fine<DenialBody>, Refusal> {
    let app = admin(&shared, &caller).await?;
    found(&shared, &app, &id).map(|refused| Fine(refused.into()))
}

fn found(shared: &Shared, app: &crate::app::App, id: &str) -> Result<Refused, Refusal> {
    shared.refusals.find(app, id).ok_or_else(|| Refusal::new(ApiCode::NotFound))
}

/// `POST /edge/v1/refusals`
pub(super) async fn report(
    _: Edge,
    State(shared): State<Shared>,
    Message(report): Message<RefusalReport, MAX_REFUSALS_BODY>,
) -> Result<Json<Value>, Refusal> {
    shared.refusals.take(&shared.app.acting(Actor::Edge, None), report).await?;
    Ok(Json(json!({})))
}

/// `GET /edge/v1/refusals/{id}`: what `tollgate explain --request-id` asks.
pub(super) async fn one(
    _: Edge,
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Refused>, Refusal> {
    found(&shared, &shared.app, &id).map(Json)
}

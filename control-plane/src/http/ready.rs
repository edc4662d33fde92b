//! Whether this control plane is ready, and each part of it: what is wrong, since when it has been seen so. It must not
//! mend anything.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;

use super::{Shared, dto::rfc3339};
use crate::domain::Timestamp;

/// How long the feed may be silent about whether it is complete: it says so every second or so.
const FEED_SILENT: Duration = Duration::from_secs(15);

/// Since when each part has been seen as it is.
#[derive(Debug, Default)]
pub struct Readiness {
    seen: Mutex<BTreeMap<String, (Option<String>, Timestamp)>>,
}

/// One part.
#[derive(Debug, Serialize)]
struct Part {
    name: String,
    /// `ok`, `degraded` (it goes on without), or `failed` (not ready).
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// When it was first seen so, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

/// How a part is, before it is known since when.
struct Found {
    name: String,
    needed: bool,
    why: Option<String>,
}

#[derive(Debug, Serialize)]
struct Body {
    ready: bool,
    /// Why not.
    reasons: Vec<String>,
    parts: Vec<Part>,
}

/// `GET /readyz`: 200 where nothing that is needed has failed.
pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    let parts = find(&shared).await;
    let now = shared.app.clock.now();
    let reasons: Vec<String> = parts.iter().filter(|part| part.needed).filter_map(|part| part.why.clone()).collect();
    let ready = reasons.is_empty();
    let parts = parts.into_iter().map(|found| shared.readiness.note(found, now)).collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Body { ready, reasons, parts })).into_response()
}

async fn find(shared: &Shared) -> Vec<Found> {
    let found = |name: &str, needed, why| Found { name: name.to_owned(), needed, why };
    let answers = shared.app.store.ping().await;
    let store = answers.map_err(|error| {
        shared.metrics.count_store_error(&error);
        "the store does not answer".to_owned()
    });
    let silent = shared.app.store.heard().ago() > FEED_SILENT;
    let mut parts = vec![
        found("store", true, store.err()),
        found("feed", true, silent.then(|| "changes of the store are not heard of".to_owned())),
    ];
    for issuer in &shared.board.settings().issuers {
        let name = issuer.issuer.as_deref().unwrap_or("without a name");
        let why = issuer.keys.is_empty().then(|| format!("no key set of issuer {name} yet"));
        parts.push(found(&format!("keys of {name}"), true, why));
    }
    let refused = shared.metrics.policy_current.get() < 1.0;
    let why = refused.then(|| "the newest policy has faults and was refused; the last good one holds".to_owned());
    parts.push(found("policy", false, why));
    if let Some(cache) = &shared.cache {
        let why = cache.away().map(|why| format!("Redis is away ({why}); going on without it"));
        parts.push(found("redis", false, why));
    }
    parts
}

impl Readiness {
    fn note(&self, found: Found, now: Timestamp) -> Part {
        let Found { name, needed, why } = found;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, since) = seen.entry(name.clone()).or_insert_with(|| (why.clone(), now));
        if before.is_some() != why.is_some() {
            *since = now;
        }
        before.clone_from(&why);
        let status = match (&why, needed) {
            (None, _) => "ok",
            (Some(_), true) => "failed",
            (Some(_), false) => "degraded",
        };
        Part { name, status, why, since: rfc3339(*since) }
    }
}

//! Around every request: its id, its time limit, its line in the log, its place in the metrics, and the body of its
//! refusal. Paths are logged as route templates; headers and bodies never are.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use opentelemetry::trace::Status;
use tokio::time::Instant;
use tollgate_protocol::{edge::SYNC_HOLD_SECONDS, headers::REQUEST_ID};
use tracing::Instrument as _;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::error::{ApiCode, Refusal};
use crate::{metrics::Metrics, random, telemetry::continue_trace};

/// Which listener, and its metrics.
#[derive(Debug, Clone)]
pub(super) struct Observer {
    pub(super) listener: &'static str,
    pub(super) metrics: Metrics,
}

/// Where it is asked whether we are ready.
pub(super) const READY_PATH: &str = "/readyz";
/// Longest time for an answer: a long poll and some.
const TIME_LIMIT: Duration = Duration::from_secs(SYNC_HOLD_SECONDS + 10);

/// The id of a request, for whoever handles it.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// The middleware.
pub(super) async fn observe(State(observer): State<Observer>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = request_span(&observer, &request, &route, &id);
    let mut response = tokio::time::timeout(TIME_LIMIT, next.run(request).instrument(span.clone()))
        .await
        .unwrap_or_else(|_| Refusal::new(ApiCode::TimedOut).into_response());
    let refusal = response.extensions_mut().remove::<Arc<Refusal>>();
    let code = refusal.as_ref().map_or("", |refusal| refusal.code().as_str());
    if let Some(refusal) = refusal {
        let allow = response.headers_mut().remove(axum::http::header::ALLOW);
        response = refusal.to_response(&id);
        if let Some(allow) = allow {
            response.headers_mut().insert(axum::http::header::ALLOW, allow);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    let took = began.elapsed();
    let Observer { listener, metrics } = observer;
    metrics.requests.with_label_values(&[listener, &route, &status.to_string()]).inc();
    metrics.seconds.with_label_values(&[listener, &route]).observe(took.as_secs_f64());
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_attribute("error.type", code);
        span.set_status(Status::error(code));
    }
    let _line = span.enter();
    // Not being ready is an answer; its reasons are in the metrics and in the log of what is in the way.
    if status >= 500 && route != READY_PATH {
        tracing::error!(listener, %method, route, status, code, ms, request_id = id, "request");
    } else if listener == "api" {
        tracing::info!(listener, %method, route, status, code, ms, request_id = id, "request");
    } else {
        // Every first look-up and every long poll of every Envoy comes here.
        tracing::debug!(listener, %method, route, status, code, ms, request_id = id, "request");
    }
    response
}

/// The span of a request (OpenTelemetry's conventions for HTTP servers). Its fields stand in every line of the log that
/// is written meanwhile, whatever is logged; what only traces need is set on the side.
fn request_span(observer: &Observer, request: &Request, route: &str, id: &str) -> tracing::Span {
    let method = request.method();
    let span = tracing::error_span!(
        "request",
        request_id = id,
        user.id = tracing::field::Empty,
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
    );
    continue_trace(&span, request.headers());
    span.set_attribute("http.request.method", method.as_str().to_owned());
    span.set_attribute("http.route", route.to_owned());
    span.set_attribute("tollgate.listener", observer.listener);
    span
}

/// Notes in the request's span who it is for.
pub(super) fn note_user(id: &str) {
    tracing::Span::current().record("user.id", id);
}

/// Envoy's id where it is one, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let fine = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match given.filter(fine) {
        Some(id) => id.to_owned(),
        None => random::id("").unwrap_or_default(),
    }
}

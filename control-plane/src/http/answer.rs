//! What handlers answer with, as types: the description of the API is made from them, so it says what is really sent. It
//! must not know which handler answers what.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// 200 with a body that nobody else may see.
#[derive(Debug)]
pub(super) struct Fine<T>(pub(super) T);

/// 200 with a body and the revision of what it shows.
#[derive(Debug)]
pub(super) struct Tagged<T>(pub(super) Option<HeaderValue>, pub(super) T);

/// 201 with what was made.
#[derive(Debug)]
pub(super) struct Made<T>(pub(super) T);

/// 200 with a body that anybody may see, for some minutes.
#[derive(Debug)]
pub(super) struct Public<T>(pub(super) T);

/// 204: it is done.
#[derive(Debug)]
pub(super) struct Nothing;

fn private(status: StatusCode, body: impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

impl<T: Serialize> IntoResponse for Fine<T> {
    fn into_response(self) -> Response {
        private(StatusCode::OK, self.0)
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = private(StatusCode::OK, self.1);
        if let Some(tag) = self.0 {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

impl<T: Serialize> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        private(StatusCode::CREATED, self.0)
    }
}

impl<T: Serialize> IntoResponse for Public<T> {
    fn into_response(self) -> Response {
        ([(header::CACHE_CONTROL, "public, max-age=300")], Json(self.0)).into_response()
    }
}

impl IntoResponse for Nothing {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

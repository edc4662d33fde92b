//! Permissions and bodies as arguments: a handler gets a verified caller or is never run. It must not decide what a
//! caller may do.

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderMap, header, request::Parts},
};
use serde_json::{Map, Value};
use tollgate_protocol::headers::ASSERTION;
use utoipa::openapi::{ObjectBuilder, Type};

use super::{
    Shared,
    error::{ApiCode, Refusal},
    members::{FromMembers, Members},
    observe::{RequestId, note_user},
    openapi::{Draft, Input},
};
use crate::{
    assertion::{AssertionFault, Caller},
    service::credits,
};

/// Largest body where nothing else is said.
pub(super) const MAX_BODY: usize = 16 * 1024;

/// The caller of the public API, by `x-auth-assertion` alone: every other header is a client's word.
impl FromRequestParts<Shared> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let token = single(&parts.headers, ASSERTION).ok_or(Refusal::new(ApiCode::AssertionRequired))?;
        let token = token.to_str().map_err(|_| AssertionFault::Malformed)?;
        let caller = shared.assertions.verify(token, shared.app.clock.now())?;
        note_user(caller.user_id().as_str());
        Ok(caller.in_request(parts.extensions.get::<RequestId>().map(|id| id.0.clone())))
    }
}

/// Proof that the caller knows the edge secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge(());

impl FromRequestParts<Shared> for Edge {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let given = single(&parts.headers, header::AUTHORIZATION.as_str());
        let secret = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if secret.is_some_and(|secret| shared.edge_secret.is(secret)) {
            Ok(Self(()))
        } else {
            Err(Refusal::new(ApiCode::EdgeSecretRequired))
        }
    }
}

/// The header's one value; a repeated header has none.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h axum::http::HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { Some(first) }
}

/// A body of at most `MOST` bytes, read into `T`.
#[derive(Debug)]
pub(super) struct Body<T, const MOST: usize = MAX_BODY>(pub(super) T);

/// The members of a JSON object of at most `most` bytes.
async fn object(request: Request, most: usize) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(&body(request, most).await?) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(fault("must be a JSON object")),
        Err(error) => Err(fault(&format!("is not JSON: line {}, column {}", error.line(), error.column()))),
    }
}

impl<T: FromMembers, const MOST: usize> FromRequest<Shared> for Body<T, MOST> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Refusal> {
        let members = object(request, MOST).await?;
        let mut members = Members::of(members);
        let read = T::read(&mut members);
        members.end().map(|()| Self(read))
    }
}

impl<T: FromMembers, const MOST: usize> Input for Body<T, MOST> {
    fn describe(draft: &mut Draft) {
        draft.body(Members::described::<T>());
    }
}

/// A body with the header `Idempotency-Key`, which makes it safe to send it again.
#[derive(Debug)]
pub(super) struct Keyed<T> {
    /// The header.
    pub(super) key: String,
    /// The body.
    pub(super) body: T,
}

/// The header of [`Keyed`].
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

impl<T: FromMembers> FromRequest<Shared> for Keyed<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Refusal> {
        let key = single(request.headers(), IDEMPOTENCY_KEY).and_then(|value| value.to_str().ok().map(str::to_owned));
        let members = object(request, MAX_BODY).await?;
        let mut members = Members::of(members);
        let key = key.filter(|key| credits::is_key(key));
        if key.is_none() {
            members.fault("idempotency-key", "is a header of 1 to 255 printable ASCII characters");
        }
        let body = T::read(&mut members);
        members.end().map(|()| Self { key: key.unwrap_or_default(), body })
    }
}

impl<T: FromMembers> Input for Keyed<T> {
    fn describe(draft: &mut Draft) {
        let key = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
        let key = key.max_length(Some(credits::MAX_KEY_CHARS)).build();
        draft.header(IDEMPOTENCY_KEY, true, "The same key again is the same request: it counts once.", key.into());
        draft.body(Members::described::<T>());
        draft.codes(&[ApiCode::Conflict]);
    }
}

/// A message of the edge API of at most `MOST` bytes.
#[derive(Debug)]
pub(super) struct Message<T, const MOST: usize = MAX_BODY>(pub(super) T);

impl<T: serde::de::DeserializeOwned, const MOST: usize> FromRequest<Shared> for Message<T, MOST> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &Shared) -> Result<Self, Refusal> {
        serde_json::from_slice(&body(request, MOST).await?).map(Self).map_err(|error| {
            // What serde says may quote the body, so only the place is told.
            fault(&format!("is no message of this API: line {}, column {}", error.line(), error.column()))
        })
    }
}

async fn body(request: Request, most: usize) -> Result<axum::body::Bytes, Refusal> {
    let media_type = single(request.headers(), header::CONTENT_TYPE.as_str()).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next()).map(str::trim);
    if !essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Err(Refusal::new(ApiCode::MediaType));
    }
    to_bytes(request.into_body(), most).await.map_err(|_| Refusal::new(ApiCode::BodyTooLarge))
}

fn fault(problem: &str) -> Refusal {
    Refusal::invalid(vec![("body".to_owned(), problem.to_owned())])
}

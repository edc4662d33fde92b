//! The public API, reached through Envoy. Every route of [`ROUTES`] takes a verified caller: the table's handlers have
//! that argument in their type. Nothing here names a store.

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodFilter, get, on, post},
};
use serde_json::json;

use super::{
    Shared, admin,
    credits::{self, balance, consume, history},
    dto::{self, IssuedBody, KeysBody, UserBody},
    error::{ApiCode, Refusal},
    extract::{Keyed, Object, Page},
    observe::{Observer, observe},
    params::{Id, IfMatch, Query, etag},
    sign_in::{end_session, list_sessions, log_out, login, refresh},
};
use crate::{
    assertion::Caller,
    domain::{KeyId, Scope, User},
    service::{ServiceError, keys, users},
};

/// One table for the router and for the test that walks it. A handler is called as
/// `handler(shared, caller, input)`, so none can be without a caller.
macro_rules! routes {
    ($($method:ident $path:literal => $($handler:ident)::+($input:ty);)+) => {
        /// Every route that needs a caller: method and path.
        pub const ROUTES: &[(Method, &str)] = &[$((Method::$method, $path),)+];

        fn protected() -> Router<Shared> {
            Router::new()
            $(.route(
                $path,
                on(
                    MethodFilter::$method,
                    async |State(shared): State<Shared>, caller: Caller, input: $input| $($handler)::+(shared, caller, input).await,
                ),
            ))+
        }
    };
}

routes! {
    GET "/api/me" => me(());
    PATCH "/api/me" => change_me((IfMatch, Object));
    GET "/api/keys" => list_keys(());
    POST "/api/keys" => issue_key(Object);
    POST "/api/keys/{id}/rotate" => rotate_key((Id, Object));
    DELETE "/api/keys/{id}" => revoke_key(Id);
    GET "/api/tokens" => balance(());
    GET "/api/tokens/history" => history(Page);
    POST "/api/tokens/consume" => consume(Keyed);
    GET "/api/sessions" => list_sessions(());
    DELETE "/api/sessions/{id}" => end_session(Id);
    POST "/auth/logout" => log_out(());
    GET "/api/admin/users" => admin::users(Query);
    GET "/api/admin/users/{id}" => admin::user(Id);
    PATCH "/api/admin/users/{id}" => admin::change_user((Id, IfMatch, Object));
    POST "/api/admin/users/{id}/keys" => admin::issue_key((Id, Object));
    GET "/api/admin/users/{id}/tokens" => credits::admin::balance(Id);
    GET "/api/admin/users/{id}/tokens/history" => credits::admin::history((Id, Page));
    POST "/api/admin/users/{id}/grant" => credits::admin::grant((Id, Keyed));
    POST "/api/admin/users/{id}/adjust" => credits::admin::adjust((Id, Keyed));
    GET "/api/admin/keys" => admin::keys(Query);
    GET "/api/admin/keys/{id}" => admin::key(Id);
    DELETE "/api/admin/keys/{id}" => admin::revoke_key(Id);
    GET "/api/admin/audit" => admin::audit(Query);
}

/// Routes that anyone may ask: they tell public keys only.
pub const OPEN_ROUTES: &[(Method, &str)] = &[(Method::GET, "/.well-known/jwks.json")];

/// Routes that anyone may ask, to become somebody: they look at a password or a refresh token.
pub const SIGN_IN_ROUTES: &[(Method, &str)] = &[(Method::POST, "/auth/login"), (Method::POST, "/auth/refresh")];

/// The router of the API listener.
pub fn router(shared: Shared) -> Router {
    let observer = Observer { listener: "api", metrics: shared.metrics.clone() };
    protected()
        .route("/.well-known/jwks.json", get(public_keys))
        .route("/auth/login", post(login))
        .route("/auth/refresh", post(refresh))
        .method_not_allowed_fallback(async || Refusal::new(ApiCode::MethodNotAllowed))
        .fallback(async || Refusal::new(ApiCode::NotFound))
        .layer(middleware::from_fn_with_state(observer, observe))
        .with_state(shared)
}

async fn me(shared: Shared, caller: Caller, (): ()) -> Result<Response, Refusal> {
    let user = active(&shared, &caller).await?;
    Ok(mine(user, &caller))
}

async fn change_me(
    shared: Shared,
    caller: Caller,
    (IfMatch(expected), Object(members)): (IfMatch, Object),
) -> Result<Response, Refusal> {
    let user = in_person(&shared, &caller).await?;
    let patch = dto::own_patch(members)?;
    let user = users::update(&shared.acting(&caller), &user.id, &patch, expected.as_ref()).await?;
    Ok(mine(user, &caller))
}

fn mine(user: User, caller: &Caller) -> Response {
    let tag = etag(&user.revision());
    tagged(tag, private(StatusCode::OK, UserBody::new(user, caller.method())))
}

async fn list_keys(shared: Shared, caller: Caller, (): ()) -> Result<Response, Refusal> {
    let user = active(&shared, &caller).await?;
    let keys = keys::list(&shared.app, &user.id).await?;
    Ok(private(StatusCode::OK, KeysBody { keys: keys.into_iter().map(Into::into).collect() }))
}

async fn issue_key(shared: Shared, caller: Caller, Object(members): Object) -> Result<Response, Refusal> {
    let user = in_person(&shared, &caller).await?;
    let new = dto::new_key(members)?;
    within_own_scopes(&caller, new.scopes.iter().map(String::as_str))?;
    let issued = keys::issue(&shared.acting(&caller), &user.id, &new).await?;
    tracing::info!(user = %user.id, key = issued.key.id.as_str(), "API key issued");
    Ok(private(StatusCode::CREATED, IssuedBody::from(issued)))
}

/// A key makes no key that may do more than itself.
fn within_own_scopes<'s>(caller: &Caller, mut wanted: impl Iterator<Item = &'s str>) -> Result<(), Refusal> {
    let held = |scope: &str| caller.scopes().iter().any(|held| held.as_str() == scope);
    if caller.method() == tollgate_protocol::Method::ApiKey && !wanted.all(held) {
        return Err(Refusal::new(ApiCode::ScopeExceeded));
    }
    Ok(())
}

async fn rotate_key(
    shared: Shared,
    caller: Caller,
    (Id(id), Object(members)): (Id, Object),
) -> Result<Response, Refusal> {
    let user = in_person(&shared, &caller).await?;
    let overlap = dto::overlap(members)?;
    let id = KeyId::new(id);
    let former = keys::get(&shared.app, &id).await?;
    if former.user_id == user.id {
        within_own_scopes(&caller, former.scopes.iter().map(Scope::as_str))?;
    }
    let issued = keys::rotate(&shared.acting(&caller), &user.id, &id, overlap).await?;
    tracing::info!(user = %user.id, former = id.as_str(), key = issued.key.id.as_str(), "API key rotated");
    Ok(private(StatusCode::CREATED, IssuedBody::from(issued)))
}

async fn revoke_key(shared: Shared, caller: Caller, Id(id): Id) -> Result<Response, Refusal> {
    let user = in_person(&shared, &caller).await?;
    let key = keys::revoke(&shared.acting(&caller), &user.id, &KeyId::new(id)).await?;
    tracing::info!(user = %user.id, key = key.id.as_str(), "API key revoked");
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn public_keys(State(shared): State<Shared>) -> Response {
    let mut keys = vec![shared.assertions.public_jwk()];
    keys.extend(shared.sign_in.iter().flat_map(|sign_in| sign_in.public_keys(shared.app.clock.now())));
    let set = json!({ "keys": keys });
    ([(header::CACHE_CONTROL, "public, max-age=300")], Json(set)).into_response()
}

/// The caller's account as it is now. An assertion lives on for seconds after the account has changed.
pub(super) async fn active(shared: &Shared, caller: &Caller) -> Result<User, Refusal> {
    match users::get(&shared.app, caller.user_id()).await {
        Ok(user) if user.is_active => Ok(user),
        Ok(_) => Err(Refusal::new(ApiCode::UserInactive)),
        Err(ServiceError::NotFound) => Err(Refusal::new(ApiCode::UserUnknown)),
        Err(error) => Err(error.into()),
    }
}

/// Whoever acts as someone else makes no keys that outlive the session, takes none away, and signs nobody out.
pub(super) async fn in_person(shared: &Shared, caller: &Caller) -> Result<User, Refusal> {
    if caller.is_impersonated() {
        return Err(Refusal::new(ApiCode::ImpersonatedSession));
    }
    active(shared, caller).await
}

pub(super) fn private(status: StatusCode, body: impl serde::Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// An answer with the revision of what it shows.
pub(super) fn tagged(tag: Option<HeaderValue>, mut response: Response) -> Response {
    if let Some(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

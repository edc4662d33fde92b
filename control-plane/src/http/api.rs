//! The public API, reached through Envoy. Every route of [`ROUTES`] takes a verified caller: the table's handlers have
//! that argument in their type. Nothing here names a store.

use axum::{
    Router,
    extract::State,
    http::Method,
    middleware,
    routing::{MethodFilter, get, on},
};

use super::{
    Shared, admin,
    answer::{Fine, Made, Nothing, Public, Tagged},
    credits::{self, Amount, Correction, HistoryPage, balance, consume, history},
    dto::{AdminPatch, IssuedBody, KeySetBody, KeysBody, OwnPatch, Rotation, UserBody},
    dto_sign_in::{Login, Refresh},
    error::{ApiCode, Refusal},
    extract::{Body, Keyed},
    observe::{Observer, RequestId, observe},
    openapi::{self, Described},
    params::{Id, IfMatch, Query, etag},
    policy, refusals, revocations,
    sign_in::{end_session, list_sessions, log_out, login, refresh},
    tls::certified,
    webhooks::{self, Delivery},
};
use crate::{
    assertion::Caller,
    domain::{KeyId, Scope, User},
    service::{
        ServiceError,
        keys::{self, NewKey},
        sign_in::Origin,
        users,
    },
};

/// One table for the router, for the description of the API, and for the tests that walk it. A handler is called as
/// `handler(shared, caller, input)`, so none can be without a caller.
macro_rules! routes {
    ($($method:ident $path:literal => $($handler:ident)::+($input:ty), $summary:literal $(, $code:ident)*;)+) => {
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

        fn described_routes() -> Vec<Described> {
            vec![$(openapi::with_caller((Method::$method, $path, $summary, &[$(ApiCode::$code),*]), $($handler)::+),)+]
        }
    };
}

/// The same for routes that anyone may ask.
macro_rules! open_routes {
    ($($method:ident $path:literal => $($handler:ident)::+($input:ty), $summary:literal $(, $code:ident)*;)+) => {
        /// Every route that anyone may ask: method and path. They tell public keys, or look at a password, a refresh
        /// token or a signature themselves.
        pub const OPEN_ROUTES: &[(Method, &str)] = &[$((Method::$method, $path),)+];

        fn open() -> Router<Shared> {
            Router::new()
            $(.route(
                $path,
                on(
                    MethodFilter::$method,
                    async |State(shared): State<Shared>, input: $input| $($handler)::+(shared, input).await,
                ),
            ))+
        }

        fn described_open_routes() -> Vec<Described> {
            vec![$(openapi::open((Method::$method, $path, $summary, &[$(ApiCode::$code),*]), $($handler)::+),)+]
        }
    };
}

routes! {
    GET "/api/me" => me(()), "Who is calling";
    PATCH "/api/me" => change_me((IfMatch, Body<OwnPatch>)), "Change one's own profile", ImpersonatedSession;
    GET "/api/keys" => list_keys(()), "One's own API keys";
    POST "/api/keys" => issue_key(Body<NewKey>), "Issue an API key; this answer alone shows it", ImpersonatedSession, ScopeExceeded, LimitReached;
    POST "/api/keys/{id}/rotate" => rotate_key((Id, Body<Rotation>)), "Issue a key in the place of another, which goes on for a while", ImpersonatedSession, ScopeExceeded, Conflict;
    DELETE "/api/keys/{id}" => revoke_key(Id), "Revoke one of one's own API keys", ImpersonatedSession;
    GET "/api/tokens" => balance(()), "One's own balance of tokens";
    GET "/api/tokens/history" => history(Query<HistoryPage>), "What has changed one's own balance, newest first";
    POST "/api/tokens/consume" => consume(Keyed<Amount>), "Use tokens: all that are asked for, or none", ScopeRequired, TokensExhausted;
    GET "/api/sessions" => list_sessions(()), "One's own sessions";
    DELETE "/api/sessions/{id}" => end_session(Id), "End one of one's own sessions", ImpersonatedSession, MethodNotAccepted;
    POST "/auth/logout" => log_out(()), "Sign out everywhere", ImpersonatedSession, MethodNotAccepted;
    GET "/api/admin/users" => admin::users(Query<admin::UserSearch>), "Search users, newest first";
    GET "/api/admin/users/{id}" => admin::user(Id), "A user";
    PATCH "/api/admin/users/{id}" => admin::change_user((Id, IfMatch, Body<AdminPatch>)), "Change a user", LastAdmin, Conflict;
    POST "/api/admin/users/{id}/keys" => admin::issue_key((Id, Body<NewKey>)), "Issue an API key for a user", LimitReached;
    GET "/api/admin/users/{id}/tokens" => credits::admin::balance(Id), "The balance of a user";
    GET "/api/admin/users/{id}/tokens/history" => credits::admin::history((Id, Query<HistoryPage>)), "What has changed the balance of a user";
    POST "/api/admin/users/{id}/grant" => credits::admin::grant((Id, Keyed<Amount>)), "Give tokens to a user", LimitReached;
    POST "/api/admin/users/{id}/adjust" => credits::admin::adjust((Id, Keyed<Correction>)), "Correct the balance of a user", TokensExhausted, LimitReached;
    POST "/api/admin/users/{id}/logout" => revocations::log_out(Id), "Sign a user out everywhere: no token issued before is taken any more";
    POST "/api/admin/revocations" => revocations::revoke(Body<revocations::Order>), "Revoke a token, a session, or all tokens that a key has signed";
    GET "/api/admin/keys" => admin::keys(Query<admin::KeySearch>), "Search API keys, revoked ones too, newest first";
    GET "/api/admin/keys/{id}" => admin::key(Id), "An API key";
    DELETE "/api/admin/keys/{id}" => admin::revoke_key(Id), "Revoke an API key";
    GET "/api/admin/policy" => policy::get(()), "The rules for routes that hold";
    PUT "/api/admin/policy" => policy::put((IfMatch, Body<policy::Text, { policy::MAX_BODY }>)), "Put other rules for routes in their place; faulty ones are refused as a whole", PolicyIsAFile;
    GET "/api/admin/shadow" => refusals::shadow(Query<refusals::ShadowSearch>), "What rules that are only watched would have refused, by route and reason";
    DELETE "/api/admin/shadow" => refusals::clear_shadow(()), "Begin to count anew what is only watched";
    GET "/api/admin/denials/{id}" => refusals::denial(Id), "Why a request of the last minutes was refused, by its id";
    GET "/api/admin/audit" => admin::audit(Query<admin::AuditSearch>), "What was changed by whom, newest first";
}

open_routes! {
    POST "/auth/login" => login((Origin, RequestId, Body<Login>)), "Sign in with e-mail address and password", SignInRefused, TooManyAttempts, Busy, NotFound;
    POST "/auth/refresh" => refresh((Origin, RequestId, Body<Refresh>)), "New tokens for a refresh token, which is used up", RefreshRefused, TooManyAttempts, NotFound;
    POST "/webhooks/clerk" => webhooks::clerk(Delivery), "What Clerk sends, signed", WebhookRefused, Conflict, NotFound;
    POST "/webhooks/clerk/{id}" => webhooks::clerk_instance((Id, Delivery)), "What a further instance of Clerk sends, signed", WebhookRefused, Conflict;
    GET "/.well-known/jwks.json" => public_keys(()), "The public keys of Tollgate's own tokens (RFC 7517)";
}

/// Every operation, for the description of the API.
pub(super) fn described() -> Vec<Described> {
    described_routes().into_iter().chain(described_open_routes()).collect()
}

/// The router of the API listener.
pub fn router(shared: Shared) -> Router {
    let observer = Observer { listener: "api", metrics: shared.metrics.clone() };
    protected()
        .merge(open())
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::html))
        .method_not_allowed_fallback(async || Refusal::new(ApiCode::MethodNotAllowed))
        .fallback(async || Refusal::new(ApiCode::NotFound))
        .layer(middleware::from_fn_with_state(shared.clone(), certified))
        .layer(middleware::from_fn_with_state(observer, observe))
        .with_state(shared)
}

async fn me(shared: Shared, caller: Caller, (): ()) -> Result<Tagged<UserBody>, Refusal> {
    let user = active(&shared, &caller).await?;
    Ok(mine(user, &caller))
}

async fn change_me(
    shared: Shared,
    caller: Caller,
    (IfMatch(expected), Body(OwnPatch(patch))): (IfMatch, Body<OwnPatch>),
) -> Result<Tagged<UserBody>, Refusal> {
    let user = in_person(&shared, &caller).await?;
    let user = users::update(&shared.acting(&caller), &user.id, &patch, expected.as_ref()).await?;
    Ok(mine(user, &caller))
}

fn mine(user: User, caller: &Caller) -> Tagged<UserBody> {
    Tagged(etag(&user.revision()), UserBody::new(user, caller.method()))
}

async fn list_keys(shared: Shared, caller: Caller, (): ()) -> Result<Fine<KeysBody>, Refusal> {
    let user = active(&shared, &caller).await?;
    let keys = keys::list(&shared.app, &user.id).await?;
    Ok(Fine(KeysBody { keys: keys.into_iter().map(Into::into).collect() }))
}

async fn issue_key(shared: Shared, caller: Caller, Body(new): Body<NewKey>) -> Result<Made<IssuedBody>, Refusal> {
    let user = in_person(&shared, &caller).await?;
    within_own_scopes(&caller, new.scopes.iter().map(String::as_str))?;
    let issued = keys::issue(&shared.acting(&caller), &user.id, &new).await?;
    tracing::info!(user = %user.id, key = issued.key.id.as_str(), "API key issued");
    Ok(Made(issued.into()))
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
    (Id(id), Body(rotation)): (Id, Body<Rotation>),
) -> Result<Made<IssuedBody>, Refusal> {
    let user = in_person(&shared, &caller).await?;
    let id = KeyId::new(id);
    let former = keys::get(&shared.app, &id).await?;
    if former.user_id == user.id {
        within_own_scopes(&caller, former.scopes.iter().map(Scope::as_str))?;
    }
    let issued = keys::rotate(&shared.acting(&caller), &user.id, &id, rotation.overlap_seconds).await?;
    tracing::info!(user = %user.id, former = id.as_str(), key = issued.key.id.as_str(), "API key rotated");
    Ok(Made(issued.into()))
}

async fn revoke_key(shared: Shared, caller: Caller, Id(id): Id) -> Result<Nothing, Refusal> {
    let user = in_person(&shared, &caller).await?;
    let key = keys::revoke(&shared.acting(&caller), &user.id, &KeyId::new(id)).await?;
    tracing::info!(user = %user.id, key = key.id.as_str(), "API key revoked");
    Ok(Nothing)
}

async fn public_keys(shared: Shared, (): ()) -> Result<Public<KeySetBody>, Refusal> {
    let mut keys = vec![shared.assertions.public_jwk()];
    keys.extend(shared.sign_in.iter().flat_map(|sign_in| sign_in.public_keys(shared.app.clock.now())));
    Ok(Public(KeySetBody { keys }))
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

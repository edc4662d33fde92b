//! The older sign-in over HTTP: log in, refresh, log out, and the sessions of a user. It must not know how a password is
//! looked at or a session ends.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use tollgate_protocol::Method;

use super::{
    Shared,
    api::{active, in_person, private},
    dto_sign_in::{self, SessionsBody, TokensBody},
    error::{ApiCode, Refusal},
    extract::Object,
    observe::RequestId,
    params::Id,
};
use crate::{
    assertion::Caller,
    domain::{Actor, User},
    service::{
        sessions,
        sign_in::{self, IssuedTokens, Origin, SignIn, SignInFault},
    },
};

pub(super) async fn login(
    State(shared): State<Shared>,
    origin: Origin,
    id: RequestId,
    Object(members): Object,
) -> Result<Response, Refusal> {
    let sign_in = offered(&shared)?;
    let (email, password) = dto_sign_in::login(members)?;
    // Who acts is known when the password was the right one.
    let app = shared.app.acting(Actor::System, Some(&id.0));
    let issued = sign_in.login(&app, &email, &password, &origin).await;
    answer(&shared, "login", issued, ApiCode::SignInRefused)
}

pub(super) async fn refresh(
    State(shared): State<Shared>,
    origin: Origin,
    id: RequestId,
    Object(members): Object,
) -> Result<Response, Refusal> {
    let sign_in = offered(&shared)?;
    let token = dto_sign_in::refresh(members)?;
    let app = shared.app.acting(Actor::System, Some(&id.0));
    let issued = sign_in.refresh(&app, &token, &origin).await;
    answer(&shared, "refresh", issued, ApiCode::RefreshRefused)
}

/// Where nobody signs in here, there is no such path.
fn offered(shared: &Shared) -> Result<&SignIn, Refusal> {
    shared.sign_in.as_ref().ok_or(Refusal::new(ApiCode::NotFound))
}

fn answer(
    shared: &Shared,
    what: &str,
    issued: Result<IssuedTokens, SignInFault>,
    refused: ApiCode,
) -> Result<Response, Refusal> {
    let outcome = match &issued {
        Ok(_) => "good",
        Err(SignInFault::Refused) => "refused",
        Err(SignInFault::TooMany { .. }) => "too_many",
        Err(SignInFault::NoKey | SignInFault::Password(_) | SignInFault::Service(_)) => "error",
    };
    shared.metrics.sign_ins.with_label_values(&[what, outcome]).inc();
    match issued {
        Ok(issued) => {
            tracing::info!(session = issued.session.as_str(), what, "signed in");
            Ok(private(StatusCode::OK, TokensBody::from(issued)))
        }
        Err(SignInFault::Refused) => Err(Refusal::new(refused)),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn log_out(shared: Shared, caller: Caller, (): ()) -> Result<Response, Refusal> {
    let user = with_session(&shared, &caller).await?;
    sign_in::sign_out(&shared.acting(&caller), &user.id).await?;
    tracing::info!(user = %user.id, "signed out everywhere");
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn list_sessions(shared: Shared, caller: Caller, (): ()) -> Result<Response, Refusal> {
    let user = active(&shared, &caller).await?;
    let sessions = sessions::list(&shared.app, &user.id).await?;
    Ok(private(StatusCode::OK, SessionsBody::new(sessions, caller.session_id())))
}

pub(super) async fn end_session(shared: Shared, caller: Caller, Id(id): Id) -> Result<Response, Refusal> {
    let user = with_session(&shared, &caller).await?;
    let own = caller.session_id().map(|own| (caller.method(), own));
    sessions::end(&shared.acting(&caller), &user.id, &id, own).await?;
    tracing::info!(user = %user.id, session = id, "session ended");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// An API key belongs to no session, and whoever holds one is to sign nobody out by it.
async fn with_session(shared: &Shared, caller: &Caller) -> Result<User, Refusal> {
    if caller.method() == Method::ApiKey {
        return Err(Refusal::new(ApiCode::MethodNotAccepted));
    }
    in_person(shared, caller).await
}

//! The older sign-in over HTTP: log in, refresh, log out, and the sessions of a user. It must not know how a password is
//! looked at or a session ends.

use tollgate_protocol::Method;

use super::{
    Shared,
    answer::{Fine, Nothing},
    api::{active, in_person},
    dto_sign_in::{Login, Refresh, SessionsBody, TokensBody},
    error::{ApiCode, Refusal},
    extract::Body,
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

/// `POST /auth/login`
pub(super) async fn login(
    shared: Shared,
    (origin, id, Body(login)): (Origin, RequestId, Body<Login>),
) -> Result<Fine<TokensBody>, Refusal> {
    let sign_in = offered(&shared)?;
    let Some(email) = login.email else { return Err(Refusal::new(ApiCode::InvalidRequest)) };
    // Who acts is known when the password was the right one.
    let app = shared.app.acting(Actor::System, Some(&id.0));
    let issued = sign_in.login(&app, &email, &login.password, &origin).await;
    answer(&shared, "login", issued, ApiCode::SignInRefused)
}

/// `POST /auth/refresh`
pub(super) async fn refresh(
    shared: Shared,
    (origin, id, Body(refresh)): (Origin, RequestId, Body<Refresh>),
) -> Result<Fine<TokensBody>, Refusal> {
    let sign_in = offered(&shared)?;
    let app = shared.app.acting(Actor::System, Some(&id.0));
    let issued = sign_in.refresh(&app, &refresh.token, &origin).await;
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
) -> Result<Fine<TokensBody>, Refusal> {
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
            Ok(Fine(issued.into()))
        }
        Err(SignInFault::Refused) => Err(Refusal::new(refused)),
        Err(error) => Err(error.into()),
    }
}

/// `POST /auth/logout`
pub(super) async fn log_out(shared: Shared, caller: Caller, (): ()) -> Result<Nothing, Refusal> {
    let user = with_session(&shared, &caller).await?;
    sign_in::sign_out(&shared.acting(&caller), &user.id).await?;
    tracing::info!(user = %user.id, "signed out everywhere");
    Ok(Nothing)
}

/// `GET /api/sessions`
pub(super) async fn list_sessions(shared: Shared, caller: Caller, (): ()) -> Result<Fine<SessionsBody>, Refusal> {
    let user = active(&shared, &caller).await?;
    let sessions = sessions::list(&shared.app, &user.id).await?;
    Ok(Fine(SessionsBody::new(sessions, caller.session_id())))
}

/// `DELETE /api/sessions/{id}`
pub(super) async fn end_session(shared: Shared, caller: Caller, Id(id): Id) -> Result<Nothing, Refusal> {
    let user = with_session(&shared, &caller).await?;
    let own = caller.session_id().map(|own| (caller.method(), own));
    sessions::end(&shared.acting(&caller), &user.id, &id, own).await?;
    tracing::info!(user = %user.id, session = id, "session ended");
    Ok(Nothing)
}

/// An API key belongs to no session, and whoever holds one is to sign nobody out by it.
async fn with_session(shared: &Shared, caller: &Caller) -> Result<User, Refusal> {
    if caller.method() == Method::ApiKey {
        return Err(Refusal::new(ApiCode::MethodNotAccepted));
    }
    in_person(shared, caller).await
}

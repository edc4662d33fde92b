//! The sessions of a user: list them, end one. It must not know how a session begins.

use tollgate_protocol::{Method, Revocation, Revoked};

use super::{ServiceError, sign_in};
use crate::{
    app::App,
    domain::{Session, UserId},
    store::StoreError,
};

/// How long a revoked session of Clerk is refused, in seconds: Clerk goes on making tokens of it until it ends there,
/// and no session there lives longer by default than seven days.
const CLERK_SESSION_SECONDS: i64 = 30 * 24 * 3600;

/// The sessions of a user that are not over, the one used last first.
///
/// # Errors
/// The store fails.
pub async fn list(app: &App, user: &UserId) -> Result<Vec<Session>, ServiceError> {
    Ok(app.store.sessions_of(user, app.clock.now()).await?)
}

/// Ends a session of this user: every edge refuses its tokens within a moment. `own`: the session of the caller's own
/// credential, which may be one of Clerk's.
///
/// # Errors
/// [`ServiceError::NotFound`] where the user has no such session.
pub async fn end(app: &App, user: &UserId, id: &str, own: Option<(Method, &str)>) -> Result<(), ServiceError> {
    if own == Some((Method::Clerk, id)) {
        let until = app.clock.now().plus_seconds(CLERK_SESSION_SECONDS).unix_seconds();
        let revocation = Revocation { what: Revoked::Session, issuer: None, id: id.to_owned(), until };
        return Ok(app.store.revoke(&revocation, &app.stamp()).await?);
    }
    let held = list(app, user).await?;
    let session = held.iter().find(|session| session.id.as_str() == id).ok_or(ServiceError::NotFound)?;
    match sign_in::end(app, session).await {
        Err(StoreError::NotFound) => Err(ServiceError::NotFound),
        other => Ok(other?),
    }
}

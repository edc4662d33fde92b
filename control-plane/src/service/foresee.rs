//! Who a verified credential would belong to, without making or linking anybody: the same as [`super::resolve`], to be
//! looked at, but that Clerk itself is not asked. It must not write.

use tollgate_protocol::{
    Code,
    edge::{Outcome, ResolveAnswer, ResolveRequest},
};

use super::{
    ServiceError,
    resolve::{self, identity},
};
use crate::{
    app::App,
    domain::{ClerkIdentity, Email, User, UserId},
};

/// Id that is shown of somebody who is not there yet.
const NOT_THERE_YET: &str = "(new)";

/// What would come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreseen {
    /// This, as it is.
    Is(ResolveAnswer),
    /// This, and an account with the address would be linked to the Clerk user.
    WouldLink(ResolveAnswer),
    /// This, and the user would be made.
    WouldMake(ResolveAnswer),
}

impl Foreseen {
    /// The answer that an edge would get.
    pub const fn answer(&self) -> &ResolveAnswer {
        match self {
            Self::Is(answer) | Self::WouldLink(answer) | Self::WouldMake(answer) => answer,
        }
    }
}

/// Foresees what [`resolve::resolve`] would do.
///
/// # Errors
/// The store fails.
pub async fn foresee(app: &App, request: &ResolveRequest) -> Result<Foreseen, ServiceError> {
    let ResolveRequest::Clerk { issuer, subject, email, email_verified, name, impersonated } = request else {
        // Keys and tokens of the older sign-in only ever find.
        return resolve::resolve(app, request).await.map(Foreseen::Is);
    };
    let as_of = app.store.head().await?;
    let is = |user| ResolveAnswer { as_of: as_of.clone(), outcome: Outcome::Identity(identity(user, None)) };
    let refused = |code| Ok(Foreseen::Is(ResolveAnswer { as_of: as_of.clone(), outcome: Outcome::Refused(code) }));
    let clerk = ClerkIdentity { issuer: issuer.clone(), id: subject.clone() };
    if let Some(user) = app.store.user_by_clerk(&clerk).await? {
        return Ok(Foreseen::Is(is(user)));
    }
    if *impersonated {
        return refused(Code::UserUnknown);
    }
    let record = app.store.clerk_record(&clerk).await?;
    if record.is_some_and(|record| record.deleted_at.is_some()) {
        return refused(Code::UserUnknown);
    }
    let email = email.as_deref().and_then(Email::new);
    if let Some(address) = &email
        && let Some(account) = app.store.user_by_email(address).await?
    {
        if !email_verified {
            return refused(Code::EmailUnverified);
        }
        if !account.may_be_linked() {
            return refused(Code::EmailConflict);
        }
        return Ok(Foreseen::WouldLink(is(User { clerk: Some(clerk), ..account })));
    }
    let mut user = User::new(UserId::new(NOT_THERE_YET), app.clock.now());
    user.clerk = Some(clerk);
    user.email = email.filter(|_| *email_verified);
    user.email_verified = user.email.is_some();
    user.name = name.clone();
    Ok(Foreseen::WouldMake(is(user)))
}

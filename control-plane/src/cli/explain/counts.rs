//! The steps beside the decision: who somebody is, what is left of their tokens, which limits count, what is revoked. It
//! must not decide but for tokens, which the filter itself is not asked about here.

use tollgate_protocol::{Identity, Revocation, policy::Route};

use super::{super::fault::CliFault, Steps, credential::time};
use crate::{
    app::App,
    domain::UserId,
    service::{ServiceError, credits},
};

/// What a rule may look at in somebody.
pub(super) fn person(identity: &Identity) -> String {
    let active = if identity.is_active { "active" } else { "not active" };
    let subscription = identity.subscription.as_deref().unwrap_or("none");
    let mut said = format!("{}, role {}, {active}, subscription {subscription}", identity.user_id, identity.role);
    if let Some(seconds) = identity.tokens_not_before {
        said.push_str(&format!("; tokens from before {} are refused (sign-out)", time(seconds)));
    }
    said
}

/// Which revocations concern a token.
pub(super) fn revoked(revocations: &[&Revocation], steps: &mut Steps) {
    for revocation in revocations {
        let whose = revocation.issuer.as_deref().map(|issuer| format!(" of {issuer}")).unwrap_or_default();
        let (what, id, until) = (revocation.what.as_str(), &revocation.id, time(revocation.until));
        steps.say("revoked", format!("{what} {id}{whose}, until {until}"));
    }
}

/// Which limits count the request.
pub(super) fn limits(route: &Route, steps: &mut Steps) {
    if !route.limits.is_empty() {
        let names = route.limits.join(", ");
        steps.say("limits", format!("{names}: how often somebody has come only an Envoy knows"));
    }
}

/// What is left for a request that costs something. Gives whether it is too little.
///
/// # Errors
/// The store fails.
pub(super) async fn tokens(app: &App, route: &Route, user: &str, steps: &mut Steps) -> Result<bool, CliFault> {
    let Some(cost) = &route.cost else { return Ok(false) };
    let account = match credits::balance(app, &UserId::new(user)).await {
        Ok(balance) => balance.account,
        // Somebody who is not there yet begins with what everybody does.
        Err(ServiceError::NotFound) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let (left, held, reserve) = (account.remaining, account.reserved, cost.reserve);
    steps.say("tokens", format!("{left} left, and {held} that Envoys hold; this route sets aside {reserve}"));
    // What an Envoy holds it gives back when another asks.
    Ok(left.saturating_add(held) < i64::try_from(reserve).unwrap_or(i64::MAX))
}

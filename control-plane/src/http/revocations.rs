//! The routes by which an administrator revokes: a token, a session, a signing key, everything of a user. It must not hold
//! a rule about revocations.

use serde::Serialize;
use tollgate_protocol::{Revocation, Revoked};
use utoipa::ToSchema;

use super::{
    Shared,
    admin::admin,
    answer::{Made, Nothing},
    dto::rfc3339,
    error::Refusal,
    extract::Body,
    members::{FromMembers, Members},
    params::Id,
};
pub(super) use crate::service::revocations::Order;
use crate::{
    assertion::Caller,
    domain::{Timestamp, UserId},
    service::{
        self,
        revocations::{KINDS, MAX_ID},
        sign_in,
    },
};

/// What is revoked, and until when.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RevocationBody {
    what: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    until: Option<String>,
}

impl From<Revocation> for RevocationBody {
    fn from(revocation: Revocation) -> Self {
        let until = i64::try_from(revocation.until).ok().and_then(|until| until.checked_mul(1000));
        let until = until.and_then(|until| rfc3339(Timestamp::from_millis(until)));
        Self { what: revocation.what.as_str(), id: revocation.id, issuer: revocation.issuer, until }
    }
}

/// The body of `POST /api/admin/revocations`.
impl FromMembers for Order {
    fn read(members: &mut Members) -> Self {
        let what = members.needed_word("what", KINDS, Revoked::as_str).unwrap_or(Revoked::Unknown);
        let id = members.needed_text("id").unwrap_or_default();
        let meaning = "The claim jti of a token, sid of a session; kid of a key that signs tokens.";
        members.meaning(meaning, Some(1..=MAX_ID));
        let issuer = members.clearable_text("issuer").flatten();
        members.meaning("Whose tokens are meant, by their claim iss; absent: those of every issuer.", Some(1..=MAX_ID));
        let until = members.moment("until");
        members.meaning(
            "Until when it holds; after it no token may be good that it concerns. 366 days if not said.",
            None,
        );
        Self { what, id, issuer, until }
    }
}

/// `POST /api/admin/revocations`
pub(super) async fn revoke(
    shared: Shared,
    caller: Caller,
    Body(order): Body<Order>,
) -> Result<Made<RevocationBody>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let revocation = service::revocations::revoke(&app, order).await?;
    tracing::info!(what = revocation.what.as_str(), by = %caller.user_id(), "revoked by an administrator");
    Ok(Made(revocation.into()))
}

/// `POST /api/admin/users/{id}/logout`
pub(super) async fn log_out(shared: Shared, caller: Caller, Id(id): Id) -> Result<Nothing, Refusal> {
    let app = admin(&shared, &caller).await?;
    let user = UserId::new(id);
    sign_in::sign_out(&app, &user).await?;
    tracing::info!(user = %user, by = %caller.user_id(), "signed out everywhere by an administrator");
    Ok(Nothing)
}

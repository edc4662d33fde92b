//! The rules for routes, as administrators read and write them. It must not know what a rule means.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Shared,
    admin::admin,
    answer::Tagged,
    dto::rfc3339,
    error::Refusal,
    extract::Body,
    members::{FromMembers, Members},
    params::{IfMatch, etag},
};
use crate::{
    assertion::Caller,
    service::policies::{InForce, MAX_TEXT},
};

/// Largest body of a `PUT`: the text, with room for what JSON writes for its quotes and line ends.
pub(super) const MAX_BODY: usize = MAX_TEXT + MAX_TEXT / 2;

/// The rules that hold.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyBody {
    /// The text (TOML).
    policy: String,
    /// Where it is from: `file` (the settings name one), `store`, or `built_in`.
    origin: &'static str,
    /// How many routes it has.
    routes: usize,
    /// When it was put there; null where it is not from the store.
    changed_at: Option<String>,
    /// By whom.
    changed_by: Option<String>,
    /// What to send as `If-Match`.
    revision: String,
}

fn shown(in_force: InForce) -> Tagged<PolicyBody> {
    let revision = in_force.revision();
    let body = PolicyBody {
        policy: in_force.text.as_ref().to_owned(),
        origin: in_force.origin.as_str(),
        routes: in_force.routes,
        changed_at: in_force.changed_at.and_then(rfc3339),
        changed_by: in_force.changed_by,
        revision: revision.as_str().to_owned(),
    };
    Tagged(etag(&revision), body)
}

/// The body of `PUT /api/admin/policy`.
#[derive(Debug)]
pub(super) struct Text(String);

impl FromMembers for Text {
    fn read(members: &mut Members) -> Self {
        let policy = members.needed_text("policy").unwrap_or_default();
        members.meaning("The whole text of the rules (TOML), 1 MiB at most.", Some(0..=MAX_TEXT));
        Self(policy)
    }
}

/// `GET /api/admin/policy`
pub(super) async fn get(shared: Shared, caller: Caller, (): ()) -> Result<Tagged<PolicyBody>, Refusal> {
    let app = admin(&shared, &caller).await?;
    Ok(shown(shared.policies.get(&app).await?))
}

/// `PUT /api/admin/policy`
pub(super) async fn put(
    shared: Shared,
    caller: Caller,
    (IfMatch(expected), Body(Text(text))): (IfMatch, Body<Text, MAX_BODY>),
) -> Result<Tagged<PolicyBody>, Refusal> {
    let app = admin(&shared, &caller).await?;
    let put = shared.policies.put(&app, &text, expected.as_ref()).await?;
    tracing::info!(version = put.version, by = %caller.user_id(), "policy changed by an administrator");
    Ok(shown(put))
}

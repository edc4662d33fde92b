//! Bodies of the older sign-in and of sessions. The only place that knows their members; it must not call a service.

use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{
    dto::rfc3339,
    members::{FromMembers, Members},
};
use crate::{
    config::Secret,
    domain::{Email, Session},
    service::sign_in::IssuedTokens,
};

/// Longest password in bytes.
const MAX_PASSWORD: usize = 1024;

/// New tokens, in the words of RFC 6749 section 5.1: the one answer that shows them.
#[derive(Serialize, ToSchema)]
pub(super) struct TokensBody {
    #[serde(serialize_with = "plain")]
    #[schema(value_type = String)]
    access_token: Secret,
    token_type: &'static str,
    expires_in: u64,
    #[serde(serialize_with = "plain")]
    #[schema(value_type = String)]
    refresh_token: Secret,
    refresh_expires_in: u64,
    session_id: String,
}

fn plain<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

impl From<IssuedTokens> for TokensBody {
    fn from(issued: IssuedTokens) -> Self {
        Self {
            access_token: issued.access,
            token_type: "Bearer",
            expires_in: issued.access_seconds,
            refresh_token: issued.refresh,
            refresh_expires_in: issued.refresh_seconds,
            session_id: issued.session.as_str().to_owned(),
        }
    }
}

/// The sessions of a user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionsBody {
    sessions: Vec<SessionBody>,
}

/// A session, as its user sees it.
#[derive(Debug, Serialize, ToSchema)]
struct SessionBody {
    id: String,
    created_at: Option<String>,
    refreshed_at: Option<String>,
    expires_at: Option<String>,
    /// The network, not the whole address.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    /// Whether this very request belongs to it.
    current: bool,
}

impl SessionsBody {
    pub(super) fn new(sessions: Vec<Session>, own: Option<&str>) -> Self {
        let body = |session: Session| SessionBody {
            current: own == Some(session.id.as_str()),
            id: session.id.as_str().to_owned(),
            created_at: rfc3339(session.created_at),
            refreshed_at: rfc3339(session.refreshed_at),
            expires_at: rfc3339(session.expires_at),
            address: session.address,
            user_agent: session.user_agent,
        };
        Self { sessions: sessions.into_iter().map(body).collect() }
    }
}

/// The body of `POST /auth/login`.
#[derive(Debug)]
pub(super) struct Login {
    /// `None` where it has been refused.
    pub(super) email: Option<Email>,
    pub(super) password: Secret,
}

impl FromMembers for Login {
    fn read(members: &mut Members) -> Self {
        let email = members.needed_text("email");
        members.meaning("E-mail address; case does not count.", Some(3..=254));
        let address = email.as_deref().and_then(Email::new);
        if email.is_some() && address.is_none() {
            members.fault("email", "is not an e-mail address");
        }
        let password = members.needed_text("password").map(Secret::new);
        members.meaning("At most 1024 bytes.", Some(1..=MAX_PASSWORD));
        if password.as_ref().is_some_and(|password| !(1..=MAX_PASSWORD).contains(&password.expose().len())) {
            members.fault("password", "must have 1 to 1024 bytes");
        }
        Self { email: address, password: password.unwrap_or_else(|| Secret::new("")) }
    }
}

/// The body of `POST /auth/refresh`.
#[derive(Debug)]
pub(super) struct Refresh {
    pub(super) token: Secret,
}

impl FromMembers for Refresh {
    fn read(members: &mut Members) -> Self {
        Self { token: Secret::new(members.needed_text("refresh_token").unwrap_or_default()) }
    }
}

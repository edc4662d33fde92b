//! Bodies of the older sign-in and of sessions. The only place that knows their members; it must not call a service.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{dto::rfc3339, error::Refusal};
use crate::{
    config::Secret,
    domain::{Email, Session},
    service::sign_in::IssuedTokens,
};

/// Longest password in bytes.
const MAX_PASSWORD: usize = 1024;

/// New tokens, in the words of RFC 6749 section 5.1: the one answer that shows them.
#[derive(Serialize)]
pub(super) struct TokensBody {
    #[serde(serialize_with = "plain")]
    access_token: Secret,
    token_type: &'static str,
    expires_in: u64,
    #[serde(serialize_with = "plain")]
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
#[derive(Debug, Serialize)]
pub(super) struct SessionsBody {
    sessions: Vec<SessionBody>,
}

/// A session, as its user sees it.
#[derive(Debug, Serialize)]
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

/// Takes the texts of a body: every fault, also members that mean nothing.
struct Texts {
    members: Map<String, Value>,
    faults: Vec<(String, String)>,
}

impl Texts {
    fn take(&mut self, member: &str) -> Option<String> {
        let problem = match self.members.remove(member) {
            Some(Value::String(text)) => return Some(text),
            Some(_) => "must be a text",
            None => "is missing",
        };
        self.fault(member, problem);
        None
    }

    fn fault(&mut self, member: &str, problem: &str) {
        self.faults.push((member.to_owned(), problem.to_owned()));
    }

    fn end<T>(mut self, read: Option<T>) -> Result<T, Refusal> {
        for unknown in core::mem::take(&mut self.members).keys() {
            // The name comes from the client; what does not fit is cut.
            self.fault(&unknown.chars().take(64).collect::<String>(), "is not known here");
        }
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            _ => Err(Refusal::invalid(self.faults)),
        }
    }
}

/// Reads the body of `POST /auth/login`.
pub(super) fn login(members: Map<String, Value>) -> Result<(Email, Secret), Refusal> {
    let mut texts = Texts { members, faults: Vec::new() };
    let (email, password) = (texts.take("email"), texts.take("password").map(Secret::new));
    let address = email.as_deref().and_then(Email::new);
    if email.is_some() && address.is_none() {
        texts.fault("email", "is not an e-mail address");
    }
    if password.as_ref().is_some_and(|password| !(1..=MAX_PASSWORD).contains(&password.expose().len())) {
        texts.fault("password", "must have 1 to 1024 bytes");
    }
    texts.end(address.zip(password))
}

/// Reads the body of `POST /auth/refresh`.
pub(super) fn refresh(members: Map<String, Value>) -> Result<Secret, Refusal> {
    let mut texts = Texts { members, faults: Vec::new() };
    let token = texts.take("refresh_token").map(Secret::new);
    texts.end(token)
}

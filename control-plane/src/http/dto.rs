//! Bodies of the public API. The only place that knows their members; it must not call a service.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::error::Refusal;
use crate::{
    domain::{ApiKey, PlainKey, Timestamp, User},
    service::keys::{Issued, NewKey},
};

/// A moment as RFC 3339.
pub(super) fn rfc3339(at: Timestamp) -> Option<String> {
    jiff::Timestamp::from_millisecond(at.millis()).ok().map(|at| at.to_string())
}

/// A user, as the user sees it.
#[derive(Debug, Serialize)]
pub(super) struct UserBody {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    role: &'static str,
    subscription: &'static str,
    tokens_remaining: i64,
    tokens_used: i64,
    created_at: Option<String>,
    /// How this very request was authenticated.
    method: &'static str,
}

impl UserBody {
    pub(super) fn new(user: User, method: tollgate_protocol::Method) -> Self {
        Self {
            id: user.id.as_str().to_owned(),
            email: user.email.map(|email| email.as_str().to_owned()),
            email_verified: user.email_verified,
            name: user.name,
            role: user.role.as_str(),
            subscription: user.subscription.as_str(),
            tokens_remaining: user.tokens_remaining,
            tokens_used: user.tokens_used,
            created_at: rfc3339(user.created_at),
            method: method.as_str(),
        }
    }
}

/// A key, without the key.
#[derive(Debug, Serialize)]
pub(super) struct KeyBody {
    id: String,
    name: String,
    /// `sk_…` and the last four characters.
    hint: String,
    scopes: Vec<String>,
    created_at: Option<String>,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

impl From<ApiKey> for KeyBody {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.as_str().to_owned(),
            name: key.name,
            hint: format!("sk_…{}", key.last_four),
            scopes: key.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            created_at: rfc3339(key.created_at),
            expires_at: key.expires_at.and_then(rfc3339),
            last_used_at: key.last_used_at.and_then(rfc3339),
        }
    }
}

/// The keys of a user.
#[derive(Debug, Serialize)]
pub(super) struct KeysBody {
    pub(super) keys: Vec<KeyBody>,
}

/// A key that was just issued: the one answer that shows it.
#[derive(Serialize)]
pub(super) struct IssuedBody {
    #[serde(flatten)]
    record: KeyBody,
    #[serde(serialize_with = "plain")]
    key: PlainKey,
}

impl From<Issued> for IssuedBody {
    fn from(issued: Issued) -> Self {
        Self { record: issued.key.into(), key: issued.plain }
    }
}

fn plain<S: Serializer>(key: &PlainKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key.expose())
}

/// Reads the body of `POST /api/keys`: every fault, also members that mean nothing.
pub(super) fn new_key(members: Map<String, Value>) -> Result<NewKey, Refusal> {
    let mut new = NewKey::default();
    let mut faults: Vec<(String, String)> = Vec::new();
    let mut fault = |field: &str, problem: &str| faults.push((field.to_owned(), problem.to_owned()));
    if !members.contains_key("name") {
        fault("name", "is missing");
    }
    for (member, value) in members {
        match (member.as_str(), value) {
            ("name", Value::String(name)) => new.name = name,
            ("name", _) => fault("name", "must be a text"),
            ("scopes", Value::Array(values)) => match values.into_iter().map(text).collect() {
                Some(scopes) => new.scopes = scopes,
                None => fault("scopes", "must be an array of texts"),
            },
            ("scopes", _) => fault("scopes", "must be an array of texts"),
            ("expires_at", Value::Null) => {}
            ("expires_at", Value::String(at)) => match at.parse::<jiff::Timestamp>() {
                Ok(at) => new.expires_at = Some(Timestamp::from_millis(at.as_millisecond())),
                Err(_) => fault("expires_at", "must be a time such as 2030-01-31T12:00:00Z"),
            },
            ("expires_at", _) => fault("expires_at", "must be a time such as 2030-01-31T12:00:00Z"),
            // The name comes from the client; what does not fit is cut.
            (unknown, _) => fault(&unknown.chars().take(64).collect::<String>(), "is not known here"),
        }
    }
    if faults.is_empty() { Ok(new) } else { Err(Refusal::invalid(faults)) }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

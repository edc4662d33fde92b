//! Bodies of the public API. The only place that knows their members; it must not call a service.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::{error::Refusal, members::Members};
use crate::{
    domain::{ApiKey, PlainKey, Role, Subscription, Timestamp, User, UserPatch},
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
    #[serde(skip_serializing_if = "Option::is_none")]
    bio: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    website: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_image: Option<String>,
    social_links: Map<String, Value>,
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
            bio: user.bio,
            website: user.website,
            profile_image: user.profile_image,
            social_links: user.social_links,
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
    /// How it begins; absent for imported keys.
    #[serde(skip_serializing_if = "String::is_empty")]
    prefix: String,
    /// How it ends; absent for imported keys.
    #[serde(skip_serializing_if = "String::is_empty")]
    last_four: String,
    scopes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    created_at: Option<String>,
    expires_at: Option<String>,
    last_used_at: Option<String>,
}

impl From<ApiKey> for KeyBody {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.as_str().to_owned(),
            name: key.name,
            prefix: key.prefix,
            last_four: key.last_four,
            rate: key.rate.map(|rate| rate.to_string()),
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

/// Reads the body of `POST /api/keys`.
pub(super) fn new_key(members: Map<String, Value>) -> Result<NewKey, Refusal> {
    let mut members = Members::of(members);
    let new = key_of(&mut members);
    members.end().map(|()| new)
}

/// The members that describe a new key.
pub(super) fn key_of(members: &mut Members) -> NewKey {
    NewKey {
        name: members.needed_text("name").unwrap_or_default(),
        scopes: members.texts("scopes").unwrap_or_default(),
        expires_at: members.moment("expires_at"),
        rate: members.clearable_text("rate").flatten(),
    }
}

/// Reads the body of `POST /api/keys/{id}/rotate`: for how many seconds the former key goes on, a day where it does not
/// say.
pub(super) fn overlap(members: Map<String, Value>) -> Result<i64, Refusal> {
    let mut members = Members::of(members);
    let overlap = members.number("overlap_seconds").unwrap_or(DEFAULT_OVERLAP_SECONDS);
    members.end().map(|()| overlap)
}

/// For how long a rotated key goes on where nothing else is asked for.
const DEFAULT_OVERLAP_SECONDS: i64 = 24 * 3600;

/// Reads the body of `PATCH /api/me`: what users may change about themselves.
pub(super) fn own_patch(members: Map<String, Value>) -> Result<UserPatch, Refusal> {
    let mut members = Members::of(members);
    let patch = profile_of(&mut members);
    members.end().map(|()| patch)
}

/// Reads the body of `PATCH /api/admin/users/{id}`: the profile, and what only administrators change.
pub(super) fn admin_patch(members: Map<String, Value>) -> Result<UserPatch, Refusal> {
    let mut members = Members::of(members);
    let patch = UserPatch {
        role: members.word("role", "must be user, developer or admin", Role::from_word),
        is_active: members.truth("is_active"),
        subscription: members.word("subscription", "must be free, pro or enterprise", Subscription::from_word),
        monthly_limit: members.clearable_number("monthly_limit"),
        ..profile_of(&mut members)
    };
    members.end().map(|()| patch)
}

fn profile_of(members: &mut Members) -> UserPatch {
    UserPatch {
        name: members.clearable_text("name"),
        bio: members.clearable_text("bio"),
        website: members.clearable_text("website"),
        profile_image: members.clearable_text("profile_image"),
        social_links: members.object("social_links"),
        ..UserPatch::default()
    }
}

//! Bodies of the public API. The only place that knows their members; it must not call a service.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::members::{FromMembers, Members};
use crate::{
    domain::{ApiKey, MAX_NAME_CHARS, PlainKey, Role, Subscription, Timestamp, User, UserPatch},
    service::{
        keys::{Issued, NewKey},
        profile::{MAX_BIO, MAX_NAME, MAX_URL},
    },
};

/// A moment as RFC 3339.
pub(super) fn rfc3339(at: Timestamp) -> Option<String> {
    jiff::Timestamp::from_millisecond(at.millis()).ok().map(|at| at.to_string())
}

/// A user, as the user sees it.
#[derive(Debug, Serialize, ToSchema)]
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
    #[schema(value_type = Object)]
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
#[derive(Debug, Serialize, ToSchema)]
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
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeysBody {
    pub(super) keys: Vec<KeyBody>,
}

/// Public keys (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeySetBody {
    #[schema(value_type = Vec<Object>)]
    pub(super) keys: Vec<tollgate_protocol::issuer::Jwk>,
}

/// A key that was just issued: the one answer that shows it.
#[derive(Serialize, ToSchema)]
pub(super) struct IssuedBody {
    #[serde(flatten)]
    record: KeyBody,
    #[serde(serialize_with = "plain")]
    #[schema(value_type = String)]
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

/// The body of `POST /api/keys`.
impl FromMembers for NewKey {
    fn read(members: &mut Members) -> Self {
        let name = members.needed_text("name").unwrap_or_default();
        members.meaning("What its owner calls it; no control characters.", Some(1..=MAX_NAME_CHARS));
        let scopes = members.texts("scopes").unwrap_or_default();
        let expires_at = members.moment("expires_at");
        members.meaning("From when on it is refused; at most ten years from now.", None);
        let rate = members.clearable_text("rate").flatten();
        members.meaning("How often it may be used: 60/min, or 600/min burst 100 (s, min, h, day).", None);
        Self { name, scopes, expires_at, rate }
    }
}

/// The body of `POST /api/keys/{id}/rotate`: for how many seconds the former key goes on.
#[derive(Debug)]
pub(super) struct Rotation {
    pub(super) overlap_seconds: i64,
}

/// For how long a rotated key goes on where nothing else is asked for.
const DEFAULT_OVERLAP_SECONDS: i64 = 24 * 3600;

impl FromMembers for Rotation {
    fn read(members: &mut Members) -> Self {
        let overlap_seconds = members.number("overlap_seconds").unwrap_or(DEFAULT_OVERLAP_SECONDS);
        members.meaning("For how long the former key goes on: 0 to 2592000, and a day if it is not said.", None);
        Self { overlap_seconds }
    }
}

/// The body of `PATCH /api/me`: what users may change about themselves.
#[derive(Debug)]
pub(super) struct OwnPatch(pub(super) UserPatch);

impl FromMembers for OwnPatch {
    fn read(members: &mut Members) -> Self {
        Self(profile_of(members))
    }
}

/// The body of `PATCH /api/admin/users/{id}`: the profile, and what only administrators change.
#[derive(Debug)]
pub(super) struct AdminPatch(pub(super) UserPatch);

impl FromMembers for AdminPatch {
    fn read(members: &mut Members) -> Self {
        Self(UserPatch {
            role: members.word("role", Role::ALL, Role::as_str),
            is_active: members.truth("is_active"),
            subscription: members.word("subscription", Subscription::ALL, Subscription::as_str),
            monthly_limit: members.clearable_number("monthly_limit"),
            ..profile_of(members)
        })
    }
}

fn profile_of(members: &mut Members) -> UserPatch {
    let address = "An address that begins with https:// or http://.";
    let name = members.clearable_text("name");
    members.meaning("Display name; no control characters.", Some(1..=MAX_NAME));
    let bio = members.clearable_text("bio");
    members.meaning("About the user; no control characters but line breaks.", Some(0..=MAX_BIO));
    let website = members.clearable_text("website");
    members.meaning(address, Some(1..=MAX_URL));
    let profile_image = members.clearable_text("profile_image");
    members.meaning(address, Some(1..=MAX_URL));
    let social_links = members.object("social_links");
    members.meaning("Addresses by the names of up to 20 networks; takes the place of the former ones.", None);
    UserPatch { name, bio, website, profile_image, social_links, ..UserPatch::default() }
}

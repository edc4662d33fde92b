//! Which route asks for what, as pushed to the edge. The text that operators write is parsed by the control plane.
//!
//! What a filter does not know it must not leave out: a member that is new to it may be the one that forbids. So unknown
//! members make the whole policy unusable for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Method, Rate};

/// All rules. The default value denies everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What a path that no route names gets.
    #[serde(default)]
    pub fallback: Fallback,
    /// Whether that is enforced, and the refusal of paths that can be read in two ways.
    #[serde(default, skip_serializing_if = "Mode::is_enforced")]
    pub mode: Mode,
    /// Limits by their names: routes say which of them hold there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Limit>,
    /// The routes; the most specific one that matches decides.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// What a path that no route names gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// 403 `route_denied`.
    #[default]
    Deny,
    /// Any accepted credential.
    Authenticate,
}

/// How often somebody may come. Counted over all routes that name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Who has a count of their own.
    pub by: By,
    /// Where requests are counted together.
    #[serde(default, skip_serializing_if = "Scope::is_envoy")]
    pub scope: Scope,
    /// How often whoever has no tier of their own may come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// How often users of a subscription may come. Without [`Self::rate`], whoever has none of these has the one of
    /// `free`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tiers: BTreeMap<String, Rate>,
    /// What answers tell about it; absent: everything.
    #[serde(default = "all_headers", skip_serializing_if = "is_all_headers")]
    pub headers: Vec<LimitHeader>,
}

/// Where the requests of a limit are counted together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// In one Envoy, exactly over all its workers.
    #[default]
    Envoy,
    /// In all Envoys of the control plane: never more than the limit, and what each may let through before it hears of the
    /// others.
    Global,
}

impl Scope {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Envoy, Self::Global];

    /// The word in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Envoy => "envoy",
            Self::Global => "global",
        }
    }

    fn is_envoy(&self) -> bool {
        *self == Self::Envoy
    }
}

fn all_headers() -> Vec<LimitHeader> {
    LimitHeader::ALL.to_vec()
}

fn is_all_headers(headers: &[LimitHeader]) -> bool {
    headers == LimitHeader::ALL
}

/// Headers of answers that tell about a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitHeader {
    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    Ratelimit,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds from now), as many clients know them.
    XRatelimit,
    /// `Retry-After` of a refusal (RFC 9110 section 10.2.3).
    RetryAfter,
}

impl LimitHeader {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Ratelimit, Self::XRatelimit, Self::RetryAfter];

    /// The word in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ratelimit => "ratelimit",
            Self::XRatelimit => "x-ratelimit",
            Self::RetryAfter => "retry-after",
        }
    }
}

/// Who has a count of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Each user, whatever the credential.
    User,
    /// Each API key; whoever comes with another credential is counted as a user.
    Key,
    /// Each client address, as Envoy counts trusted hops; of IPv6 each /64. Counted before the credential is looked at,
    /// so refused ones count.
    Address,
    /// Each route: all its requests together.
    Endpoint,
}

impl By {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::User, Self::Key, Self::Address, Self::Endpoint];

    /// The word in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Key => "key",
            Self::Address => "address",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Whether a verdict is carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Who is refused does not pass.
    #[default]
    Enforce,
    /// Everything passes as it came; the verdict is only told and counted.
    Shadow,
}

impl Mode {
    /// Whether refusals are carried out.
    pub fn is_enforced(&self) -> bool {
        *self == Self::Enforce
    }
}

/// Whether a route needs a credential.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// 401 without one.
    #[default]
    Required,
    /// Passes anonymously without one; a bad one is refused all the same.
    Optional,
    /// Credentials are not looked at.
    None,
}

/// One route.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A path (`/a/b`), with `{names}` for whole segments, or a prefix with everything below it (`/a/**`).
    pub path: String,
    /// A host name (`api.example.com`), or all names below one (`*.example.com`); absent: any. Its port is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// HTTP methods; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Whether a credential is needed.
    #[serde(default)]
    pub auth: Auth,
    /// Kinds of credential that are accepted; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept: Vec<Method>,
    /// Whether Clerk's `__session` cookie counts as a credential here.
    #[serde(default)]
    pub session_cookie: bool,
    /// Whether Clerk's tokens are accepted in that cookie only.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub cookie_only: bool,
    /// Roles of which the user needs one; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Scopes that the credential needs, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Subscriptions of which the user needs one; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<String>,
    /// The `{name}` of the path that must be the caller's own user id; administrators are exempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Names of limits that hold here, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// Whether the verdict is carried out.
    #[serde(default, skip_serializing_if = "Mode::is_enforced")]
    pub mode: Mode,
    /// Leave the credential in the forwarded request.
    #[serde(default)]
    pub forward_credential: bool,
    /// Audience of the signed assertion that the backend gets; absent: no assertion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<String>,
    /// What a request costs; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

/// What a request costs its user, in tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Who counts.
    #[serde(default, skip_serializing_if = "Counted::is_fixed")]
    pub counted: Counted,
    /// What it costs at least, also where the backend says nothing; where nobody counts, what it costs.
    pub at_least: u64,
    /// How many tokens have to be there, and are set aside, before the backend is reached: 1 or more.
    pub reserve: u64,
}

/// Who counts what a request costs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Nobody: all requests cost the same.
    #[default]
    Fixed,
    /// The backend, in this header or trailer of its answer, which the client does not get.
    Header(String),
    /// The backend, in this member of the JSON of its answer, or of its last event that has it: the names on the way.
    Body(Vec<String>),
}

impl Counted {
    /// Whether all requests cost the same.
    pub fn is_fixed(&self) -> bool {
        *self == Self::Fixed
    }
}

impl Cost {
    /// Most tokens of one request.
    pub const MOST: u64 = 1_000_000_000;
    /// Longest name of a header or member, in bytes.
    pub const LONGEST_NAME: usize = 64;
    /// Most members on the way to the one that counts.
    pub const DEEPEST: usize = 8;

    /// Whether it can be used at all.
    pub fn is_sound(&self) -> bool {
        let amounts = self.at_least <= Self::MOST && (1..=Self::MOST).contains(&self.reserve);
        let is_name = |name: &String| (1..=Self::LONGEST_NAME).contains(&name.len());
        let is_header = |name: &String| {
            is_name(name) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        amounts
            && match &self.counted {
                Counted::Fixed => self.reserve >= self.at_least,
                Counted::Header(name) => is_header(name),
                Counted::Body(path) => (1..=Self::DEEPEST).contains(&path.len()) && path.iter().all(is_name),
            }
    }
}

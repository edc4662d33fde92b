//! Who is behind a credential, as the control plane knows it.

use serde::{Deserialize, Serialize};

use crate::{KeyHash, Rate};

/// Which kind of credential a request used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// An API key, `sk_…`.
    ApiKey,
    /// A Clerk session token.
    Clerk,
    /// A JWT of the older sign-in.
    Legacy,
}

impl Method {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::ApiKey, Self::Clerk, Self::Legacy];

    /// The word in headers, policy and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Clerk => "clerk",
            Self::Legacy => "legacy",
        }
    }
}

/// A user, as far as the edge needs to know. Empty facts are absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user's id in the store.
    pub user_id: String,
    /// `user`, `developer` or `admin`.
    pub role: String,
    /// Whether the account may be used at all.
    pub is_active: bool,
    /// E-mail address, lower-case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Display name, any UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Id at Clerk, where the account is linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clerk_id: Option<String>,
    /// `free`, `pro` or `enterprise`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Tokens (credits) left at the time of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_remaining: Option<i64>,
    /// Tokens issued before this moment (unix seconds, claim `iat`) are refused: the user has signed out everywhere.
    /// API keys are not concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_not_before: Option<u64>,
    /// The API key that was asked about; absent for users found by a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyFacts>,
}

/// An API key, as far as the edge needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFacts {
    /// The key's public id.
    pub id: String,
    /// SHA-256 of the whole key.
    pub hash: KeyHash,
    /// What the key may do.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Unix seconds from which on the key is refused as expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// How often the key may be used, on all routes together; absent: as often as the routes allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

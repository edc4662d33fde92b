//! What is refused before its own time is over: a session, a token, a signing key. It must not know who revoked it.

use serde::{Deserialize, Serialize};

/// What kind of thing is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revoked {
    /// Every token of a session (claim `sid`).
    Session,
    /// One token (claim `jti`).
    Token,
    /// Every token that a key has signed (`kid` of the key, as configured).
    Key,
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

impl Revoked {
    /// The word that stands for it in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Token => "token",
            Self::Key => "key",
            Self::Unknown => "unknown",
        }
    }
}

/// One thing that is refused until its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Revocation {
    /// What kind.
    pub what: Revoked,
    /// Exact claim `iss` of the tokens that it concerns; absent: those of every issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Which session, token or key.
    pub id: String,
    /// Unix seconds from which on nothing of it can be good any more by itself: then it may be forgotten.
    pub until: u64,
}

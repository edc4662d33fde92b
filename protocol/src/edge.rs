//! The edge API: what one Envoy asks the control plane and what it is told. Every call carries the edge secret as
//! `Authorization: Bearer …`. Tokens never travel here, only verified claims and hashes.

use serde::{Deserialize, Serialize};

use crate::{Code, Cursor, Identity, KeyHash, Revocation, issuer::Issuer, policy::Policy};

/// Path of the long poll: `GET /edge/v1/sync?cursor=…&node=…`. Held open for [`SYNC_HOLD_SECONDS`] at most.
pub const SYNC_PATH: &str = "/edge/v1/sync";
/// Path of the look-up: `POST /edge/v1/resolve`.
pub const RESOLVE_PATH: &str = "/edge/v1/resolve";
/// Path by which an edge asks for a refresh of key sets after an unknown `kid`: `POST /edge/v1/refresh`.
pub const REFRESH_PATH: &str = "/edge/v1/refresh";
/// Longest time in seconds that a `sync` without news is held open.
pub const SYNC_HOLD_SECONDS: u64 = 25;

/// Answer to `sync`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// Where the edge stands after this answer.
    pub cursor: Cursor,
    /// The asked cursor was unknown or too old: changes may be missing, so everything cached is stale.
    #[serde(default)]
    pub reset: bool,
    /// The whole settings, when they have changed (always on a reset). They replace the former ones in one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// What has changed about users and keys since the asked cursor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// On a reset: everything that is revoked at the cursor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocations: Vec<Revocation>,
}

/// Everything an Envoy needs to decide, but for the people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Whose tokens are believed.
    pub issuers: Vec<Issuer>,
    /// Which route asks for what.
    pub policy: Policy,
    /// Whether API keys without a checksum are looked up.
    #[serde(default)]
    pub accept_imported_keys: bool,
    /// The key with which this edge signs assertions; absent: it signs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<AssertionKey>,
}

/// The Ed25519 key with which the edge signs `x-auth-assertion`. Never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssertionKey {
    /// The key's name in the published key set.
    pub kid: String,
    /// The claim `iss` of every assertion.
    pub issuer: String,
    /// The private seed (RFC 8032 section 5.1.5), 32 bytes, base64url.
    pub seed: String,
    /// Lifetime of an assertion in seconds.
    pub lifetime_seconds: u32,
}

impl core::fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AssertionKey").field("kid", &self.kid).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// Something the edge may have cached and must look at anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// A user's facts changed, or the user is gone.
    User {
        /// The user's id in the store.
        id: String,
        /// Number of the change in the feed.
        seq: u64,
    },
    /// An API key was issued, changed or revoked.
    Key {
        /// SHA-256 of the key.
        hash: KeyHash,
        /// Number of the change in the feed.
        seq: u64,
        /// Why it is refused from now on; absent: ask again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refused: Option<Code>,
    },
    /// A session, a token or a signing key is refused from now on.
    Revoked {
        /// What, and for how long.
        revocation: Revocation,
        /// Number of the change in the feed.
        seq: u64,
    },
    /// Somebody waits for tokens of this user, and none are left but those that Envoys hold: what an Envoy holds and does
    /// not need comes back at once.
    Recall {
        /// The user's id in the store.
        id: String,
        /// Number of the change in the feed.
        seq: u64,
    },
    /// A kind that this version does not know. The edge treats everything cached as stale.
    #[serde(other)]
    Unknown,
}

/// Body of `resolve`: a credential that the edge has verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "credential", rename_all = "snake_case")]
pub enum ResolveRequest {
    /// An API key, by its hash.
    ApiKey {
        /// SHA-256 of the whole key.
        hash: KeyHash,
    },
    /// The verified claims of a Clerk session token.
    Clerk {
        /// Claim `iss`.
        issuer: String,
        /// Claim `sub`, the Clerk user id.
        subject: String,
        /// E-mail address, where the token has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        email: Option<String>,
        /// Whether the token says, by JSON `true`, that the address is verified.
        #[serde(default)]
        email_verified: bool,
        /// Display name, where the token has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Claim `act` is present: nobody is created or linked by such a token.
        #[serde(default)]
        impersonated: bool,
    },
    /// The verified claims of a legacy JWT.
    Legacy {
        /// Claim `iss`, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<String>,
        /// Claim `sub`: a user id, or an e-mail address in older tokens.
        subject: String,
    },
}

/// Answer to `resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveAnswer {
    /// The feed's place from before the store was read: a later change makes this answer stale.
    pub as_of: Cursor,
    /// Who it is, or why nobody.
    pub outcome: Outcome,
}

/// Who a credential belongs to, or why it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "one for each answer, and short-lived")]
pub enum Outcome {
    /// This user.
    Identity(Identity),
    /// Refused with this code.
    Refused(Code),
}

/// Body of `refresh`: an issuer whose key set lacks a `kid` that a token named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRequest {
    /// Claim `iss` of the token (unverified: only used to choose which key set to refresh).
    pub issuer: String,
}

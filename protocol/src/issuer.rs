//! Whom the edge believes: token issuers and their public keys (RFC 7517), each key with its one algorithm.

use serde::{Deserialize, Serialize};

/// Which rules a token of this issuer has to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssuerKind {
    /// Clerk session tokens.
    Clerk,
    /// JWTs of the older sign-in.
    Legacy,
}

/// What to do with a Clerk token that has no `azp` although authorized parties are configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingParty {
    /// Refuse it, as Clerk's own SDK does since 3.11.1.
    #[default]
    Refuse,
    /// Accept it from the `Authorization` header, refuse it from the cookie.
    AcceptFromHeader,
    /// Accept it.
    Accept,
}

/// One token issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    /// Whose rules.
    pub kind: IssuerKind,
    /// Exact value of `iss`. Absent only for a legacy issuer whose tokens have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Exact values of `azp` that are accepted; empty: not checked (Clerk).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorized_parties: Vec<String>,
    /// What an absent `azp` means.
    #[serde(default)]
    pub missing_party: MissingParty,
    /// Values of `aud` of which the token must have one; empty: not checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// Clock skew in seconds, 5 where Clerk's default holds.
    pub leeway_seconds: u32,
    /// Longest `exp - iat` that is accepted, in seconds; absent: not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime_seconds: Option<u32>,
    /// Where the optional facts stand in the token.
    #[serde(default)]
    pub claims: ClaimNames,
    /// The key set.
    pub keys: Vec<Jwk>,
}

/// Names of the claims that hold optional facts: Clerk has no standard ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimNames {
    /// Claim of the e-mail address.
    pub email: String,
    /// Claim that is JSON `true` when that address is verified.
    pub email_verified: String,
    /// Claim of the display name.
    pub name: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { email: "email".into(), email_verified: "email_verified".into(), name: "name".into() }
    }
}

/// A verification key (RFC 7517, RFC 7518 section 6, RFC 8037 section 2). Binary members are base64url without padding.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `RSA`, `EC`, `OKP` or `oct`.
    pub kty: String,
    /// The one algorithm of this key (RFC 7518 section 3.1): a token's `alg` is only compared with it.
    pub alg: String,
    /// The key's name within its issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// Curve: `P-256`, `P-384` or `Ed25519`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// RSA modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// First coordinate, or the Ed25519 public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// Second coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// Symmetric secret (`oct`). Never printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<String>,
}

impl core::fmt::Debug for Jwk {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Jwk")
            .field("kty", &self.kty)
            .field("alg", &self.alg)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

//! The closed catalogue of refusals: one word for body, log, metric, filter state and `tollgate explain`.
//!
//! A code that is not here cannot be answered. This module must not know how a refusal came about.

use serde::{Deserialize, Serialize};

/// The `error` attribute of a `WWW-Authenticate: Bearer` challenge (RFC 6750 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// No `error` attribute: the request carried no credential at all (RFC 6750 section 3.1, last paragraph).
    Bare,
    /// `error="invalid_request"`: the credential could not be read.
    InvalidRequest,
    /// `error="invalid_token"`: the credential was read and refused.
    InvalidToken,
}

impl Challenge {
    /// The value of the `error` attribute, if there is one.
    pub const fn error(self) -> Option<&'static str> {
        match self {
            Self::Bare => None,
            Self::InvalidRequest => Some("invalid_request"),
            Self::InvalidToken => Some("invalid_token"),
        }
    }
}

macro_rules! catalogue {
    ($($variant:ident = $word:literal, $status:literal, $title:literal, $detail:literal;)+) => {
        /// Why a request was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $(#[doc = concat!($title, ": `", $word, "`.")] $variant,)+
        }

        impl Code {
            /// Every code, in the order of the catalogue.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands for this code everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The HTTP status of the refusal.
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// A short human title (RFC 9457 `title`), the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// What a client can do about it (RFC 9457 `detail`). Never holds request data.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)+ }
            }
        }
    };
}

catalogue! {
    AmbiguousCredential = "ambiguous_credential", 400, "Ambiguous credential", "The request carries more than one credential of the same kind. Send exactly one.";
    AmbiguousPath = "ambiguous_path", 400, "Ambiguous path", "The path can be read in more than one way. Send it normalized.";
    MissingCredential = "missing_credential", 401, "Credential required", "Send an API key in X-API-Key, or a bearer token in Authorization.";
    MalformedCredential = "malformed_credential", 401, "Malformed credential", "The Authorization header is not of the form 'Bearer <token>'.";
    ApiKeyMalformed = "api_key_malformed", 401, "Malformed API key", "This is not an API key: its form or its checksum is wrong. Check that it was copied whole.";
    ApiKeyUnknown = "api_key_unknown", 401, "Unknown API key", "No such API key exists.";
    ApiKeyExpired = "api_key_expired", 401, "Expired API key", "This API key has expired. Issue a new one.";
    ApiKeyRevoked = "api_key_revoked", 401, "Revoked API key", "This API key has been revoked. Issue a new one.";
    TokenMalformed = "token_malformed", 401, "Malformed token", "The bearer token is not a JSON Web Token that is accepted here.";
    TokenAlgorithm = "token_algorithm", 401, "Wrong token algorithm", "The token's algorithm is not the one of its issuer's key.";
    TokenUnknownKey = "token_unknown_key", 401, "Unknown signing key", "The token names a signing key that its issuer does not have.";
    TokenBadSignature = "token_bad_signature", 401, "Bad token signature", "The token's signature does not hold.";
    TokenExpired = "token_expired", 401, "Expired token", "The token has expired. Get a new one.";
    TokenNotYetValid = "token_not_yet_valid", 401, "Token not yet valid", "The token is not valid yet. Check the clock of the machine that issued it.";
    TokenWrongIssuer = "token_wrong_issuer", 401, "Wrong token issuer", "The token was issued by someone who is not accepted here.";
    TokenWrongParty = "token_wrong_party", 401, "Wrong authorized party", "The token was issued to another application (claim 'azp').";
    TokenWrongAudience = "token_wrong_audience", 401, "Wrong token audience", "The token is meant for another service (claim 'aud').";
    TokenWrongClass = "token_wrong_class", 401, "Wrong class of token", "Only session tokens are accepted here, not machine, template or OAuth tokens.";
    SessionPending = "session_pending", 401, "Session pending", "The session has tasks to finish (such as setting up a second factor) before it can be used.";
    TokenRevoked = "token_revoked", 401, "Revoked token", "The token or its session has been revoked. Sign in again.";
    UserUnknown = "user_unknown", 401, "Unknown user", "The user that this credential belongs to does not exist.";
    TokensExhausted = "tokens_exhausted", 402, "Tokens exhausted", "No tokens are left for this request.";
    UserInactive = "user_inactive", 403, "Inactive user", "This account has been deactivated.";
    MethodNotAccepted = "method_not_accepted", 403, "Kind of credential not accepted", "This route does not accept this kind of credential.";
    RoleRequired = "role_required", 403, "Role required", "This route needs a role that the user does not have.";
    ScopeRequired = "scope_required", 403, "Scope required", "This route needs a scope that the credential does not have.";
    SubscriptionRequired = "subscription_required", 403, "Subscription required", "This route needs a subscription that the user does not have.";
    NotOwner = "not_owner", 403, "Not the owner", "This resource belongs to another user.";
    RouteDenied = "route_denied", 403, "Route denied", "No rule allows this route.";
    EmailUnverified = "email_unverified", 403, "E-mail not verified", "Verify your e-mail address before signing in.";
    EmailConflict = "email_conflict", 403, "E-mail in use", "Another account uses this e-mail address and cannot be linked to this sign-in.";
    RateLimited = "rate_limited", 429, "Too many requests", "The limit for this route is reached. Try again later.";
    NotReady = "not_ready", 503, "Not ready", "The proxy has not received its settings yet. Try again shortly.";
    IdentityUnavailable = "identity_unavailable", 503, "Identity unavailable", "The identity behind this credential cannot be looked up right now. Try again shortly.";
}

impl Code {
    /// The code of a word, or `None` for a word that is not in the catalogue.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == word)
    }

    /// The challenge of a 401 (RFC 9110 section 15.5.2 demands one); `None` for every other status.
    pub const fn challenge(self) -> Option<Challenge> {
        match (self.status(), self) {
            (401, Self::MissingCredential) => Some(Challenge::Bare),
            (401, Self::MalformedCredential) => Some(Challenge::InvalidRequest),
            (401, _) => Some(Challenge::InvalidToken),
            _ => None,
        }
    }

    /// The status of the refusal in gRPC (`google.rpc.Code`). What Envoy would make of the HTTP status tells a client that
    /// used up its share to try again, and calls 402 unknown.
    pub const fn grpc_status(self) -> u8 {
        match self.status() {
            400 => 3,       // INVALID_ARGUMENT
            401 => 16,      // UNAUTHENTICATED
            403 => 7,       // PERMISSION_DENIED
            402 | 429 => 8, // RESOURCE_EXHAUSTED
            503 => 14,      // UNAVAILABLE
            _ => 2,         // UNKNOWN
        }
    }

    /// Seconds a client should wait before it tries again (`Retry-After`); `None` where trying again is no use.
    pub const fn retry_after(self) -> Option<u32> {
        match self.status() {
            429 | 503 => Some(1),
            _ => None,
        }
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_and_serde_name_are_the_same() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{}\"", code.as_str()));
            assert_eq!(Code::from_word(code.as_str()), Some(*code));
        }
    }

    #[test]
    fn every_code_has_a_status_in_grpc() {
        assert!(Code::ALL.iter().all(|code| code.grpc_status() != 2));
    }

    #[test]
    fn every_401_has_a_challenge_and_nothing_else_has() {
        for code in Code::ALL {
            assert_eq!(code.challenge().is_some(), code.status() == 401, "{code}");
        }
    }
}

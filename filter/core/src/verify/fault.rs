//! Why a token was refused: one closed list, each reason mapped to the one code that the client sees.
//!
//! A fault never holds a byte of the token: it may be logged and counted. What it names comes from the settings.

use std::sync::Arc;

use tollgate_protocol::Code;

/// Why a token was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyFault {
    /// Longer than `limits.token_bytes`.
    #[error("the token is longer than allowed")]
    TooLong,
    /// Not three segments of base64url without padding (RFC 7515 sections 3.1 and 2), or bytes outside ASCII.
    #[error("the token is not three base64url segments")]
    Shape,
    /// The header is not one JSON object, names a member twice at some level, or is nested too deeply.
    #[error("the token's header is not a strict JSON object")]
    HeaderJson,
    /// A registered header parameter has the wrong type, an unusable value, or is missing.
    #[error("the token's header parameter '{0}' is missing or has the wrong type")]
    HeaderParameter(&'static str),
    /// The header carries a parameter that brings its own key, or that changes how the token is to be read.
    #[error("the token's header carries '{0}'")]
    HeaderForbidden(&'static str),
    /// `alg` is not the algorithm of the chosen key, or none that this kind of issuer uses.
    #[error("the token's algorithm is not that of its issuer's key")]
    Algorithm,
    /// No issuer of this name, or a token without `iss` where no issuer is declared without one.
    #[error("the token's issuer is not accepted")]
    WrongIssuer,
    /// The issuer has no key of this `kid`. Worth asking for newer keys of this issuer.
    #[error("the token names a key that its issuer does not have")]
    UnknownKey {
        /// The issuer as configured; absent where it is declared without `iss`.
        issuer: Option<Arc<str>>,
    },
    /// The token names no key and its issuer needs one. Newer keys would not help.
    #[error("the token does not name its key")]
    KeyNotNamed,
    /// The signature does not hold.
    #[error("the token's signature does not hold")]
    BadSignature,
    /// The payload is not one JSON object in UTF-8, names a member twice at some level, or is nested too deeply.
    #[error("the token's payload is not a strict JSON object")]
    PayloadJson,
    /// A claim that has to be there is not.
    #[error("the token has no claim '{0}'")]
    ClaimMissing(&'static str),
    /// A claim has the wrong type, or a value out of range.
    #[error("the token's claim '{0}' has the wrong type or is out of range")]
    ClaimType(&'static str),
    /// `exp` is not after `iat`, or is further after it than the issuer's tokens may live.
    #[error("the token's lifetime is not one of its issuer's")]
    Lifetime,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `azp` is none of the authorized parties, or is missing where it is needed.
    #[error("the token was issued to another party")]
    WrongParty,
    /// `aud` has none of the expected values.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// Signed by the right key, but another class of token: machine, template, OAuth. Names what told it.
    #[error("the token is of another class ('{0}')")]
    WrongClass(&'static str),
    /// The session has tasks to finish first (Clerk facts 1.7).
    #[error("the token's session is pending")]
    SessionPending,
}

impl VerifyFault {
    /// The code that the client sees.
    pub const fn code(&self) -> Code {
        match self {
            Self::TooLong
            | Self::Shape
            | Self::HeaderJson
            | Self::HeaderParameter(_)
            | Self::HeaderForbidden(_)
            | Self::PayloadJson
            | Self::ClaimMissing(_)
            | Self::ClaimType(_)
            | Self::Lifetime => Code::TokenMalformed,
            Self::Algorithm => Code::TokenAlgorithm,
            Self::WrongIssuer => Code::TokenWrongIssuer,
            Self::UnknownKey { .. } | Self::KeyNotNamed => Code::TokenUnknownKey,
            Self::BadSignature => Code::TokenBadSignature,
            Self::Expired => Code::TokenExpired,
            Self::NotYetValid => Code::TokenNotYetValid,
            Self::WrongParty => Code::TokenWrongParty,
            Self::WrongAudience => Code::TokenWrongAudience,
            Self::WrongClass(_) => Code::TokenWrongClass,
            Self::SessionPending => Code::SessionPending,
        }
    }
}

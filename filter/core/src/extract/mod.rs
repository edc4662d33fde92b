//! Which credential a request carries: the first carrier that is present decides, in the fixed order
//! `X-API-Key`, `Authorization: Bearer sk_…`, `Authorization: Bearer <JWT>`, and the session cookie where the route
//! takes it. A carrier that is present and bad is a fault, never "absent". Nothing is verified here.

mod bearer;
mod cookie;

pub use cookie::without_session;
use tollgate_protocol::{Code, api_key};

use crate::{
    request::{Field, RequestView},
    verify::Source,
};

/// What a request offers as its credential; nothing of it is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// An API key.
    ApiKey(&'a [u8]),
    /// A JSON Web Token, Clerk's or legacy.
    Token(&'a [u8], Source),
}

impl core::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ApiKey(_) => f.write_str("ApiKey(…)"),
            Self::Token(_, source) => write!(f, "Token(…, {source:?})"),
        }
    }
}

/// Why a carrier that is present cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtractFault {
    /// Two values where one decides.
    #[error("more than one credential of the same kind")]
    Doubled,
    /// `Authorization` is not `Bearer <token>`.
    #[error("Authorization is not a bearer credential")]
    NotBearer,
    /// `X-API-Key` holds nothing.
    #[error("X-API-Key is empty")]
    EmptyKey,
}

impl ExtractFault {
    /// The word of the catalogue.
    pub const fn code(self) -> Code {
        match self {
            Self::Doubled => Code::AmbiguousCredential,
            Self::NotBearer => Code::MalformedCredential,
            Self::EmptyKey => Code::ApiKeyMalformed,
        }
    }
}

/// Finds the credential that decides; `Ok(None)` when the request carries none.
///
/// # Errors
/// [`ExtractFault`] when the carrier that decides is present and unreadable.
pub fn extract<'a>(request: &RequestView<'a>, session_cookie: bool) -> Result<Option<Credential<'a>>, ExtractFault> {
    match request.api_key {
        Field::Many => return Err(ExtractFault::Doubled),
        Field::One([]) => return Err(ExtractFault::EmptyKey),
        Field::One(key) => return Ok(Some(Credential::ApiKey(key))),
        Field::Absent => {}
    }
    match request.authorization {
        Field::Many => return Err(ExtractFault::Doubled),
        Field::One(value) => {
            let token = bearer::token(value)?;
            let is_key = token.starts_with(api_key::PREFIX.as_bytes());
            return Ok(Some(if is_key { Credential::ApiKey(token) } else { Credential::Token(token, Source::Header) }));
        }
        Field::Absent => {}
    }
    if session_cookie {
        return Ok(cookie::session(&request.cookies)?.map(|token| Credential::Token(token, Source::Cookie)));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;

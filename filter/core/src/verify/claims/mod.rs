//! What a verified token says. The only way to a [`VerifiedClaims`] is a signed payload that passed every rule.
//!
//! Must not know keys, signatures, routes or users.

mod rules;
mod scopes;
mod texts;

use std::sync::Arc;

use tollgate_protocol::Method;

use self::rules::{Party, Times};
use super::Source;
use super::fault::VerifyFault;
use super::signed::Signed;

/// Facts of a token whose signature, issuer, class, times and parties have all been checked.
///
/// Nothing outside this module can make one:
///
/// ```compile_fail
/// use tollgate_core::verify::VerifiedClaims;
/// let forged = VerifiedClaims { subject: "user_1".into() };
/// ```
///
/// ```compile_fail
/// let forged = tollgate_core::verify::VerifiedClaims::default();
/// ```
#[derive(Clone)]
pub struct VerifiedClaims {
    method: Method,
    issuer: Option<Arc<str>>,
    subject: Box<str>,
    session_id: Option<Box<str>>,
    token_id: Option<Box<str>>,
    key_id: Option<Box<str>>,
    email: Option<Box<str>>,
    email_verified: bool,
    name: Option<Box<str>>,
    impersonated: bool,
    actor: Option<Box<str>>,
    scopes: Box<[Box<str>]>,
    times: Times,
    party: Party,
    generation: u64,
}

impl VerifiedClaims {
    /// Judges a signed payload. The only function that makes a [`VerifiedClaims`].
    pub(super) fn admit(signed: &Signed<'_>, source: Source, now: u64) -> Result<Self, VerifyFault> {
        let facts = rules::judge(signed, now)?;
        let entry = signed.issuer();
        let claims = Self {
            method: facts.method,
            issuer: entry.issuer.clone(),
            subject: facts.subject,
            session_id: facts.session_id,
            token_id: facts.token_id,
            key_id: signed.key().kid().map(Box::from),
            email: facts.email,
            email_verified: facts.email_verified,
            name: facts.name,
            impersonated: facts.impersonated,
            actor: facts.actor,
            scopes: facts.scopes,
            times: facts.times,
            party: facts.party,
            generation: signed.generation(),
        };
        claims.allowed_from(source)?;
        if facts.pending { Err(VerifyFault::SessionPending) } else { Ok(claims) }
    }

    /// Judges the times again, as on every use of a kept token. `now` is in unix seconds.
    ///
    /// # Errors
    /// [`VerifyFault::Expired`] iff `exp <= now - leeway`; [`VerifyFault::NotYetValid`] iff `nbf` or `iat` is above
    /// `now + leeway` (Clerk facts 2.5).
    pub fn check_times(&self, now: u64) -> Result<(), VerifyFault> {
        self.times.check(now)
    }

    /// Judges again whether this carrier may bring the token: one without `azp` may be good in the header and not in
    /// the cookie.
    ///
    /// # Errors
    /// [`VerifyFault::WrongParty`].
    pub fn allowed_from(&self, source: Source) -> Result<(), VerifyFault> {
        self.party.allowed_from(source)
    }

    /// [`Method::Clerk`] or [`Method::Legacy`].
    pub fn method(&self) -> Method {
        self.method
    }

    /// `iss`; absent only for a legacy issuer that is declared without one.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// `sub`: Clerk's `user_…`, or the legacy user id, 1 to 256 bytes.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `sid`, always there on Clerk tokens.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// `kid` of the key that verified the token, as configured.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `iat` in unix seconds, always there on Clerk tokens.
    pub fn issued_at(&self) -> Option<u64> {
        self.times.issued_at()
    }

    /// `exp` in unix seconds.
    pub fn expires_at(&self) -> u64 {
        self.times.expires_at()
    }

    /// E-mail address from the configured claim, as sent, without control characters, at most 254 bytes.
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    /// Whether there is an address and the configured claim is JSON `true`. The string `"true"` does not count.
    pub fn email_verified(&self) -> bool {
        self.email_verified
    }

    /// Display name from the configured claim, without control characters, at most 1024 bytes.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether somebody else acts as the subject: the token has an `act` (RFC 8693 section 4.1, Clerk facts 1.8).
    pub fn is_impersonated(&self) -> bool {
        self.impersonated
    }

    /// Who acts as the subject: `act.sub`, where the token says.
    pub fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    /// Clerk: permissions `org:feature:permission` of the active organisation. Legacy: `scope` or `scopes`.
    pub fn scopes(&self) -> &[Box<str>] {
        &self.scopes
    }

    /// [`IssuerSet::generation`](super::IssuerSet::generation) of the set that the token was verified under.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl core::fmt::Debug for VerifiedClaims {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("VerifiedClaims")
            .field("method", &self.method)
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("expires_at", &self.times.expires_at())
            .finish_non_exhaustive()
    }
}

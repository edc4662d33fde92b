//! The rules that a signed payload has to pass: issuer again, class, times, parties, session.
//!
//! Must not know keys, signatures or what the claims will be used for. Order of Clerk facts 2.6 (7 to 9).

use tollgate_json::{Object, Value};
use tollgate_protocol::Method;
use tollgate_protocol::issuer::{IssuerKind, MissingParty};

use super::scopes;
use super::texts::{MAX_TEXT, fact, seconds, text};
use crate::verify::issuers::Entry;
use crate::verify::signed::Signed;
use crate::verify::{Source, VerifyFault};

/// Longest subject, session id and token id in bytes.
const MAX_ID: usize = 256;
/// Longest e-mail address in bytes (RFC 5321 section 4.5.3.1.3, less the angle brackets).
const MAX_EMAIL: usize = 254;

/// What the payload says, judged.
pub(super) struct Facts {
    pub(super) method: Method,
    pub(super) subject: Box<str>,
    pub(super) session_id: Option<Box<str>>,
    pub(super) token_id: Option<Box<str>>,
    pub(super) email: Option<Box<str>>,
    pub(super) email_verified: bool,
    pub(super) name: Option<Box<str>>,
    pub(super) impersonated: bool,
    pub(super) actor: Option<Box<str>>,
    pub(super) scopes: Box<[Box<str>]>,
    pub(super) times: Times,
    pub(super) party: Party,
    pub(super) pending: bool,
}

/// Reads and judges the payload.
pub(super) fn judge(signed: &Signed<'_>, now: u64) -> Result<Facts, VerifyFault> {
    let claims = signed.claims();
    let entry = signed.issuer();
    if text(claims, "iss", MAX_TEXT)? != entry.issuer.as_deref() {
        return Err(VerifyFault::WrongIssuer);
    }
    let (method, subject, session_id, scopes) = match entry.kind {
        IssuerKind::Clerk => {
            let (subject, session_id) = clerk_ids(claims)?;
            (Method::Clerk, subject, Some(session_id), scopes::clerk(claims))
        }
        IssuerKind::Legacy => {
            let session_id = text(claims, "sid", MAX_ID)?;
            if session_id.is_some_and(|id| id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic())) {
                return Err(VerifyFault::ClaimType("sid"));
            }
            (Method::Legacy, legacy_subject(claims)?, session_id, scopes::legacy(claims))
        }
    };
    let times = Times::read(claims, entry, now)?;
    times.check(now)?;
    let party = Party::read(claims, entry)?;
    check_audience(claims, &entry.audience)?;
    let pending = entry.kind == IssuerKind::Clerk && is_pending(claims)?;
    let act = claims.get("act").filter(|act| **act != Value::Null);
    let email = fact(claims, &entry.claims.email, MAX_EMAIL);
    Ok(Facts {
        method,
        subject: subject.into(),
        session_id: session_id.map(Box::from),
        token_id: text(claims, "jti", MAX_ID)?.map(Box::from),
        email_verified: email.is_some() && claims.get(&entry.claims.email_verified) == Some(&Value::Bool(true)),
        email,
        name: fact(claims, &entry.claims.name, MAX_TEXT),
        impersonated: act.is_some(),
        actor: act.and_then(Value::as_object).and_then(|act| fact(act, "sub", MAX_ID)),
        scopes,
        times,
        party,
        pending,
    })
}

/// `sub` and `sid` of a Clerk session token (Clerk facts 2.6, 5.1): `^user_[A-Za-z0-9]{1,64}$`, and `sess_` with
/// something printable after it. A machine's `sub` (`mch_…`), and a template's token, which has no `sid`, are of
/// another class, signed by the same key.
fn clerk_ids<'a>(claims: &'a Object<'_>) -> Result<(&'a str, &'a str), VerifyFault> {
    let subject = text(claims, "sub", MAX_ID)?.ok_or(VerifyFault::ClaimMissing("sub"))?;
    let id = subject.strip_prefix("user_").unwrap_or_default();
    if id.is_empty() || id.len() > 64 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(VerifyFault::WrongClass("sub"));
    }
    let session = text(claims, "sid", MAX_ID)?.unwrap_or_default();
    let id = session.strip_prefix("sess_").unwrap_or_default();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(VerifyFault::WrongClass("sid"));
    }
    Ok((subject, session))
}

/// `sub` of a legacy token: a string (RFC 7519 section 4.1.2; a number is refused, as PyJWT does since 2.10), 1 to
/// 256 bytes, no control characters.
fn legacy_subject<'a>(claims: &'a Object<'_>) -> Result<&'a str, VerifyFault> {
    let subject = text(claims, "sub", MAX_ID)?.ok_or(VerifyFault::ClaimMissing("sub"))?;
    if subject.is_empty() || subject.chars().any(char::is_control) {
        return Err(VerifyFault::ClaimType("sub"));
    }
    Ok(subject)
}

/// Whether the session is pending (Clerk facts 1.7). A status that is not known is refused: what cannot be judged is
/// not an active session.
fn is_pending(claims: &Object<'_>) -> Result<bool, VerifyFault> {
    match text(claims, "sts", MAX_TEXT)? {
        None | Some("active") => Ok(false),
        Some("pending") => Ok(true),
        Some(_) => Err(VerifyFault::WrongClass("sts")),
    }
}

/// `aud` (RFC 7519 section 4.1.3): a string or an array of strings, looked at only where values are configured, and
/// then needed.
fn check_audience(claims: &Object<'_>, expected: &[String]) -> Result<(), VerifyFault> {
    if expected.is_empty() {
        return Ok(());
    }
    let held = match claims.get("aud") {
        None => return Err(VerifyFault::WrongAudience),
        Some(Value::Text(one)) => expected.iter().any(|value| value == one),
        Some(Value::Array(all)) if all.iter().all(|one| one.as_str().is_some()) => {
            all.iter().filter_map(Value::as_str).any(|one| expected.iter().any(|value| value == one))
        }
        Some(_) => return Err(VerifyFault::ClaimType("aud")),
    };
    if held { Ok(()) } else { Err(VerifyFault::WrongAudience) }
}

/// What `azp` said (Clerk facts 1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Party {
    /// No parties are configured, or the token names one of them.
    Good,
    /// The token names none, and this is what the issuer's settings make of it.
    Missing(MissingParty),
}

impl Party {
    fn read(claims: &Object<'_>, entry: &Entry) -> Result<Self, VerifyFault> {
        let party = text(claims, "azp", MAX_TEXT)?;
        if entry.authorized_parties.is_empty() {
            return Ok(Self::Good);
        }
        match party {
            None => Ok(Self::Missing(entry.missing_party)),
            Some(party) if entry.authorized_parties.iter().any(|known| known == party) => Ok(Self::Good),
            Some(_) => Err(VerifyFault::WrongParty),
        }
    }

    pub(super) fn allowed_from(self, source: Source) -> Result<(), VerifyFault> {
        match (self, source) {
            (Self::Good | Self::Missing(MissingParty::Accept), _)
            | (Self::Missing(MissingParty::AcceptFromHeader), Source::Header) => Ok(()),
            (Self::Missing(MissingParty::AcceptFromHeader), Source::Cookie)
            | (Self::Missing(MissingParty::Refuse), _) => Err(VerifyFault::WrongParty),
        }
    }
}

/// When the token is valid, in unix seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    expires_at: u64,
    not_before: Option<u64>,
    issued_at: Option<u64>,
    leeway: u64,
}

impl Times {
    /// Clerk: `exp`, `iat` and `nbf` are needed, every session token has them (Clerk facts 1.3). Legacy: `exp` is.
    ///
    /// The longest lifetime counts from `iat`, or from now where there is none.
    fn read(claims: &Object<'_>, entry: &Entry, now: u64) -> Result<Self, VerifyFault> {
        let expires_at = seconds(claims, "exp")?.ok_or(VerifyFault::ClaimMissing("exp"))?;
        let issued_at = seconds(claims, "iat")?;
        let not_before = seconds(claims, "nbf")?;
        if entry.kind == IssuerKind::Clerk {
            issued_at.ok_or(VerifyFault::ClaimMissing("iat"))?;
            not_before.ok_or(VerifyFault::ClaimMissing("nbf"))?;
        }
        if issued_at.is_some_and(|issued_at| expires_at <= issued_at) {
            return Err(VerifyFault::Lifetime);
        }
        let lifetime = expires_at.saturating_sub(issued_at.unwrap_or(now));
        if entry.max_lifetime.is_some_and(|most| lifetime > most) {
            return Err(VerifyFault::Lifetime);
        }
        Ok(Self { expires_at, not_before, issued_at, leeway: entry.leeway })
    }

    pub(super) fn check(&self, now: u64) -> Result<(), VerifyFault> {
        if self.expires_at <= now.saturating_sub(self.leeway) {
            return Err(VerifyFault::Expired);
        }
        let latest = now.saturating_add(self.leeway);
        if self.not_before.is_some_and(|at| at > latest) || self.issued_at.is_some_and(|at| at > latest) {
            return Err(VerifyFault::NotYetValid);
        }
        Ok(())
    }

    pub(super) fn issued_at(&self) -> Option<u64> {
        self.issued_at
    }

    pub(super) fn expires_at(&self) -> u64 {
        self.expires_at
    }
}

//! A token whose signature holds under a key of the issuer that it names.
//!
//! Must not know time, claims other than `iss`, or what carried the token.

use tollgate_json::Object;
use tollgate_protocol::config::Limits;
use tollgate_protocol::issuer::IssuerKind;

use super::alg::{Alg, NativeVerifier};
use super::fault::VerifyFault;
use super::issuers::{Entry, IssuerSet};
use super::key::Key;
use super::unverified::{ClaimedIssuer, Unverified};

/// Clerk's tag of a session token (Clerk facts 1.2).
const CAT_SESSION: &str = "cl_B7d4PD111AAA";
/// Clerk's tag that says nothing: the instance stamps it on every class.
const CAT_IGNORED: &str = "cl_I7d4PD111III";

/// A payload that the issuer signed.
pub(super) struct Signed<'a> {
    claims: Object<'a>,
    issuer: &'a Entry,
    key: &'a Key,
    generation: u64,
}

impl<'a> Signed<'a> {
    /// Chooses issuer and key, compares the algorithm, checks the signature. The only function that makes a [`Signed`].
    pub(super) fn check(
        token: &Unverified<'a>,
        issuers: &'a IssuerSet,
        limits: &Limits,
        native: &dyn NativeVerifier,
    ) -> Result<Self, VerifyFault> {
        let claimed = token.claimed(limits)?;
        let issuer = match claimed.issuer() {
            ClaimedIssuer::Named(name) => issuers.find(Some(name)),
            ClaimedIssuer::Absent => issuers.find(None),
            ClaimedIssuer::NotAString => return Err(VerifyFault::ClaimType("iss")),
        }
        .ok_or(VerifyFault::WrongIssuer)?;
        check_class(token, issuer.kind)?;
        let alg =
            Alg::from_word(token.alg()).filter(|alg| alg.allowed_for(issuer.kind)).ok_or(VerifyFault::Algorithm)?;
        let key = issuer
            .keys_for(token.kid(), alg)?
            .find(|key| key.verify(token.message(), token.signature(), native))
            .ok_or(VerifyFault::BadSignature)?;
        Ok(Self { claims: claimed.signed(), issuer, key, generation: issuers.generation() })
    }

    /// What the signed payload says.
    pub(super) fn claims(&self) -> &Object<'a> {
        &self.claims
    }

    /// Whose it is.
    pub(super) fn issuer(&self) -> &'a Entry {
        self.issuer
    }

    /// The key that verified it.
    pub(super) fn key(&self) -> &'a Key {
        self.key
    }

    /// Generation of the key sets that it was verified under.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

/// The class of the token as far as the header tells it: `typ`, and Clerk's `cat` (Clerk facts 1.2, 2.6).
///
/// Clerk: `typ` absent or exactly `JWT`. Legacy: absent or `JWT` in any case (RFC 7519 section 5.1). Every other
/// `typ`, such as `at+jwt` of an OAuth access token, says that this is not a session token.
fn check_class(token: &Unverified<'_>, kind: IssuerKind) -> Result<(), VerifyFault> {
    let typ = token.typ().unwrap_or("JWT");
    match kind {
        IssuerKind::Clerk if typ != "JWT" => Err(VerifyFault::WrongClass("typ")),
        IssuerKind::Clerk if !matches!(token.cat(), None | Some(CAT_SESSION | CAT_IGNORED)) => {
            Err(VerifyFault::WrongClass("cat"))
        }
        IssuerKind::Legacy if !typ.eq_ignore_ascii_case("JWT") => Err(VerifyFault::WrongClass("typ")),
        IssuerKind::Clerk | IssuerKind::Legacy => Ok(()),
    }
}

//! From the bytes of a bearer token to [`VerifiedClaims`]: the one way in.
//!
//! ```text
//! bytes -> Parts -> Unverified (shape, header) -> Signed (issuer, key, algorithm, signature) -> VerifiedClaims (class, time, party)
//!          unverified.rs                          signed.rs                                    claims/
//! ```
//!
//! Each arrow is the only function that makes the type it points to, so a later stage cannot be reached around an
//! earlier one. No claim but `iss` can be asked for before the signature holds, and `iss` only chooses the key set.
//!
//! This module must not know requests, headers, hosts, caches, users or routes: a token, the issuers, the time and a
//! verifier come in, claims or a fault come out.

mod alg;
mod claims;
mod fault;
mod issuers;
mod key;
mod signed;
mod unverified;

pub use alg::{Alg, HashName, NativeVerifier, NoNative};
pub use claims::VerifiedClaims;
pub use fault::VerifyFault;
pub use issuers::IssuerSet;
pub use key::{Key, KeyFault, KeyReason};

use tollgate_protocol::config::Limits;

/// What carried the token. Only the rule for a missing `azp` asks (Clerk facts 1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The `Authorization` header.
    Header,
    /// Clerk's `__session` cookie.
    Cookie,
}

/// Verifies one token.
///
/// `now` is in unix seconds. `native` is asked first for the algorithms a host may know; whatever it cannot do is done
/// in Rust. The order of the checks is that of Clerk facts 2.6, sharpened: shape and length, header, issuer, class as
/// far as the header tells it, key, algorithm, signature, and only then the claims.
///
/// # Errors
/// The first check that fails, as a [`VerifyFault`]; [`VerifyFault::code`] is the word the client sees.
///
/// ```
/// use tollgate_core::verify::{IssuerSet, NoNative, Source, VerifyFault, verify};
/// let (issuers, unusable) = IssuerSet::compile(&[]);
/// assert!(unusable.is_empty());
/// let refused = verify(b"a.b", Source::Header, &issuers, 0, &Default::default(), &NoNative);
/// assert!(matches!(refused, Err(VerifyFault::Shape)));
/// ```
pub fn verify(
    token: &[u8],
    source: Source,
    issuers: &IssuerSet,
    now: u64,
    limits: &Limits,
    native: &dyn NativeVerifier,
) -> Result<VerifiedClaims, VerifyFault> {
    let parts = unverified::Parts::split(token, limits)?;
    let unverified = unverified::Unverified::read(&parts, limits)?;
    let signed = signed::Signed::check(&unverified, issuers, limits, native)?;
    VerifiedClaims::admit(&signed, source, now)
}

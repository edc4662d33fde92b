//! The name under which an identity is cached: a hash, so that names have one size and nothing can be confused with
//! anything else: of a key, the hash it is known by anyway; of a token, that of a text that begins as no key does, and in
//! which kind, issuer and subject are told apart by their lengths.

use sha2::{Digest as _, Sha256};
use tollgate_protocol::{KeyHash, Method, edge::ResolveRequest};

use crate::verify::VerifiedClaims;

/// Name of whoever is behind a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubjectKey(pub [u8; 32]);

impl SubjectKey {
    /// The holder of an API key. What is hashed begins with `sk_` here and with the kind of a token below, so no token can
    /// have a key's name.
    pub const fn of_key(hash: &KeyHash) -> Self {
        Self(hash.0)
    }

    /// The subject of a verified token.
    pub fn of_claims(claims: &VerifiedClaims) -> Self {
        let issuer = claims.issuer().unwrap_or_default();
        // The facts a user is found or created by are part of the name: a token with a newly verified address asks anew.
        let verified = if claims.email_verified() { claims.email().unwrap_or_default() } else { "" };
        let impersonated: &[u8] = if claims.is_impersonated() { b"1" } else { b"" };
        let parts = [issuer.as_bytes(), claims.subject().as_bytes(), verified.as_bytes(), impersonated];
        Self::of(claims.method(), &parts)
    }

    fn of(method: Method, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(method.as_str());
        for part in parts {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// SHA-256 of a whole API key.
pub(super) fn key_hash(key: &[u8]) -> KeyHash {
    KeyHash(Sha256::digest(key).into())
}

/// The question to ask about a verified token.
pub(super) fn question(claims: &VerifiedClaims) -> ResolveRequest {
    match claims.method() {
        // An API key has no claims; a token of any other kind but Clerk's is asked for as legacy, which creates nobody.
        Method::ApiKey | Method::Legacy => {
            ResolveRequest::Legacy { issuer: claims.issuer().map(str::to_owned), subject: claims.subject().to_owned() }
        }
        Method::Clerk => ResolveRequest::Clerk {
            issuer: claims.issuer().unwrap_or_default().to_owned(),
            subject: claims.subject().to_owned(),
            email: claims.email().map(str::to_owned),
            email_verified: claims.email_verified(),
            name: claims.name().map(str::to_owned),
            impersonated: claims.is_impersonated(),
        },
    }
}

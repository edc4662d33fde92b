//! The issuers and their keys, checked once and ready for use.
//!
//! Must not know tokens beyond the `iss`, `kid` and `alg` that choose a key.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tollgate_protocol::issuer::{ClaimNames, Issuer, IssuerKind, Jwk, MissingParty};

use super::alg::Alg;
use super::fault::VerifyFault;
use super::key::{Key, KeyFault, KeyReason};

/// Most keys of one issuer (Clerk facts 2.2).
const MAX_KEYS: usize = 32;

/// Most keys that may answer to the same `kid` and algorithm: while a key is rotated two are common, and every one of
/// them is tried, so the number bounds the work that one bad token costs.
const MAX_ALIKE: usize = 4;

/// One issuer, ready for use.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: IssuerKind,
    pub(super) issuer: Option<Arc<str>>,
    pub(super) authorized_parties: Vec<String>,
    pub(super) missing_party: MissingParty,
    pub(super) audience: Vec<String>,
    pub(super) leeway: u64,
    pub(super) max_lifetime: Option<u64>,
    pub(super) claims: ClaimNames,
    keys: Vec<Key>,
}

impl Entry {
    /// The keys that may have signed a token with this `kid` and algorithm, at most [`MAX_ALIKE`].
    ///
    /// The keys of exactly this `kid`, else those without one: a key that was given as PEM (`CLERK_JWT_KEY`) has no
    /// name, and the older sign-in often names none. A Clerk token has to name a key in any case. Among these `alg` only picks; it never changes how a key is used.
    pub(super) fn keys_for(&self, kid: Option<&str>, alg: Alg) -> Result<impl Iterator<Item = &Key>, VerifyFault> {
        let named = kid.is_some() && self.keys.iter().any(|key| key.kid() == kid);
        if (self.kind, kid) == (IssuerKind::Clerk, None) {
            return Err(VerifyFault::KeyNotNamed);
        }
        let wanted = kid.filter(|_| named);
        let mut fitting = self.keys.iter().filter(move |key| key.kid() == wanted).peekable();
        if fitting.peek().is_none() {
            return Err(match kid {
                Some(_) => VerifyFault::UnknownKey { issuer: self.issuer.clone() },
                None => VerifyFault::KeyNotNamed,
            });
        }
        let mut alike = fitting.filter(move |key| key.alg() == alg).peekable();
        if alike.peek().is_none() {
            return Err(VerifyFault::Algorithm);
        }
        Ok(alike)
    }
}

/// Whom the edge believes. Immutable; new settings make a new set.
#[derive(Debug)]
pub struct IssuerSet {
    entries: Vec<Entry>,
    generation: u64,
}

impl IssuerSet {
    /// Makes a set. A key or issuer that cannot be used is left out and listed; the rest works.
    ///
    /// Of two issuers of the same name the first stays, since a token could not tell which it is of.
    pub fn compile(issuers: &[Issuer]) -> (Self, Vec<KeyFault>) {
        let mut entries: Vec<Entry> = Vec::with_capacity(issuers.len());
        let mut faults = Vec::new();
        for issuer in issuers {
            let fault = |kid: Option<&str>, reason| KeyFault::new(issuer.issuer.as_deref(), kid, reason);
            if issuer.issuer.as_deref().is_some_and(str::is_empty)
                || (issuer.kind == IssuerKind::Clerk && issuer.issuer.is_none())
            {
                faults.push(fault(None, KeyReason::IssuerUnnamed));
                continue;
            }
            if entries.iter().any(|known| known.issuer.as_deref() == issuer.issuer.as_deref()) {
                faults.push(fault(None, KeyReason::IssuerRepeated));
                continue;
            }
            let mut keys: Vec<Key> = Vec::with_capacity(issuer.keys.len().min(MAX_KEYS));
            for jwk in &issuer.keys {
                let kid = jwk.kid.as_deref();
                match Key::from_jwk(jwk, issuer.kind) {
                    Err(unusable) => faults.push(fault(kid, unusable.reason)),
                    Ok(_) if keys.len() >= MAX_KEYS => faults.push(fault(kid, KeyReason::TooMany)),
                    Ok(key) if keys.iter().filter(|known| known.is_like(&key)).count() >= MAX_ALIKE => {
                        faults.push(fault(kid, KeyReason::TooManyAlike));
                    }
                    Ok(key) => keys.push(key),
                }
            }
            entries.push(Entry {
                kind: issuer.kind,
                issuer: issuer.issuer.as_deref().map(Arc::from),
                authorized_parties: issuer.authorized_parties.clone(),
                missing_party: issuer.missing_party,
                audience: issuer.audience.clone(),
                leeway: u64::from(issuer.leeway_seconds),
                max_lifetime: issuer.max_lifetime_seconds.map(u64::from),
                claims: issuer.claims.clone(),
                keys,
            });
        }
        (Self { entries, generation: generation(issuers) }, faults)
    }

    /// 64 bits of SHA-256 over everything the set was made from: another value whenever an issuer, a rule or a key
    /// changes, the same value in every worker. Shared secrets go into it, so it is for comparing, not for publishing.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether an issuer of exactly this name (`None`: one declared without a name) is in the set.
    pub fn has_issuer(&self, name: Option<&str>) -> bool {
        self.find(name).is_some()
    }

    /// Whether there is no issuer at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn find(&self, name: Option<&str>) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.issuer.as_deref() == name)
    }
}

/// Hashes every field, each with its length before it. Taking the structs apart keeps a new field from being forgotten.
fn generation(issuers: &[Issuer]) -> u64 {
    let mut canon = Canon(Sha256::new());
    canon.list(issuers.len());
    for issuer in issuers {
        let Issuer {
            kind,
            issuer,
            authorized_parties,
            missing_party,
            audience,
            leeway_seconds,
            max_lifetime_seconds,
            claims: ClaimNames { email, email_verified, name },
            keys,
        } = issuer;
        canon.text(match kind {
            IssuerKind::Clerk => "clerk",
            IssuerKind::Legacy => "legacy",
        });
        canon.maybe(issuer.as_deref());
        canon.texts(authorized_parties);
        canon.text(match missing_party {
            MissingParty::Refuse => "refuse",
            MissingParty::AcceptFromHeader => "header",
            MissingParty::Accept => "accept",
        });
        canon.texts(audience);
        canon.bytes(&leeway_seconds.to_be_bytes());
        canon.bytes(&max_lifetime_seconds.map_or([0; 5], |seconds| {
            let [a, b, c, d] = seconds.to_be_bytes();
            [1, a, b, c, d]
        }));
        for text in [email, email_verified, name] {
            canon.text(text);
        }
        canon.list(keys.len());
        for Jwk { kty, alg, kid, crv, n, e, x, y, k } in keys {
            canon.text(kty);
            canon.text(alg);
            for part in [kid, crv, n, e, x, y, k] {
                canon.maybe(part.as_deref());
            }
        }
    }
    canon.finish()
}

struct Canon(Sha256);

impl Canon {
    fn list(&mut self, length: usize) {
        self.0.update((length as u64).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.list(bytes.len());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn maybe(&mut self, text: Option<&str>) {
        self.0.update([u8::from(text.is_some())]);
        self.text(text.unwrap_or_default());
    }

    fn texts(&mut self, texts: &[String]) {
        self.list(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    fn finish(self) -> u64 {
        let digest: [u8; 32] = self.0.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

//! Verification keys: checked when they are loaded, each with the one algorithm it may be used with.
//!
//! Must not know tokens, claims, issuers beyond their kind, or time.

mod asymmetric;
mod der;
mod edwards;
mod fault;
mod pkcs1;
mod roca;
mod secret;

pub use fault::{KeyFault, KeyReason};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tollgate_protocol::config::Limits;
use tollgate_protocol::issuer::{IssuerKind, Jwk};
use zeroize::Zeroizing;

use self::asymmetric::{P256Key, P384Key, RsaKey};
use self::edwards::Ed25519Key;
use self::secret::Secret;
use super::alg::{Alg, NativeVerifier};
use super::fault::VerifyFault;
use super::unverified::{Parts, Unverified};

/// Longest encoded member of a key in characters: an 8192-bit modulus has 1366.
const MAX_MEMBER: usize = 2048;

/// A key that has passed every check, with its algorithm. A token's `alg` is compared with it, never obeyed.
pub struct Key {
    kid: Option<Box<str>>,
    alg: Alg,
    material: Material,
}

enum Material {
    Rsa(RsaKey),
    P256(P256Key),
    P384(P384Key),
    Ed25519(Ed25519Key),
    Secret(Secret),
}

impl Key {
    /// Checks a key and makes it ready (RFC 7517, RFC 7518 section 6, RFC 8037 section 2).
    ///
    /// - The algorithm must be one of [`Alg`], allowed for this kind of issuer, and the one that `kty` and `crv` belong to.
    /// - RSA: a modulus of 2048 bits (RFC 7518 section 3.3) to 4096 (Clerk, facts 2.2) or 8192 (legacy), odd, not one of
    ///   the weak kind of CVE-2017-15361; an odd exponent from 3 to 2^32.
    /// - EC: both coordinates at full length (RFC 7518 section 6.2.1.2), the point on the curve.
    /// - Ed25519: 32 bytes, a point, not of small order.
    /// - `oct`: at least as long as the hash (RFC 7518 section 3.2 says MUST). A shorter secret can be guessed offline
    ///   from one token, so it is refused rather than warned about: renew the secret and sign with the new one first.
    ///
    /// # Errors
    /// The first check that fails; the fault names the key and never holds any of it.
    pub fn from_jwk(jwk: &Jwk, kind: IssuerKind) -> Result<Self, KeyFault> {
        let material = Material::of(jwk, kind).map_err(|reason| KeyFault::new(None, jwk.kid.as_deref(), reason))?;
        Ok(Self { kid: jwk.kid.as_deref().map(Box::from), alg: material.1, material: material.0 })
    }

    /// Whether `signature`, as it stands in a token (RFC 7518 section 3, base64url undone), holds over `message`.
    ///
    /// RS*, ES256 and ES384 go to `native` first; where it cannot tell, and for every other algorithm, Rust decides.
    /// Lengths and ranges are checked here before either sees the signature.
    pub fn verify(&self, message: &[u8], signature: &[u8], native: &dyn NativeVerifier) -> bool {
        match &self.material {
            Material::Rsa(key) => key.verify(message, signature, native),
            Material::P256(key) => key.verify(message, signature, native),
            Material::P384(key) => key.verify(message, signature, native),
            Material::Ed25519(key) => key.verify(message, signature),
            Material::Secret(secret) => secret.verify(self.alg.hash(), message, signature),
        }
    }

    /// The payload of a compact JWS that this key signed (RFC 7515 section 5.2). A signature is not a permission: this
    /// says nothing about claims, and no [`VerifiedClaims`](super::VerifiedClaims) can be made of it.
    ///
    /// # Errors
    /// As [`verify`](super::verify()), as far as shape, header, `kid` (where both have one), `alg` and signature go.
    pub fn open(&self, token: &[u8], limits: &Limits, native: &dyn NativeVerifier) -> Result<Vec<u8>, VerifyFault> {
        let parts = Parts::split(token, limits)?;
        let token = Unverified::read(&parts, limits)?;
        if token.kid().is_some() && self.kid.is_some() && token.kid() != self.kid() {
            return Err(VerifyFault::UnknownKey { issuer: None });
        }
        if token.alg() != self.alg.as_str() {
            return Err(VerifyFault::Algorithm);
        }
        if !self.verify(token.message(), token.signature(), native) {
            return Err(VerifyFault::BadSignature);
        }
        Ok(token.payload().to_vec())
    }

    /// The key's name within its issuer.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm of the key.
    pub fn alg(&self) -> Alg {
        self.alg
    }

    /// Whether a token could not tell the two apart.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.kid == other.kid && self.alg == other.alg
    }
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("alg", &self.alg).finish_non_exhaustive()
    }
}

impl Material {
    fn of(jwk: &Jwk, kind: IssuerKind) -> Result<(Self, Alg), KeyReason> {
        if jwk.kid.as_deref().is_some_and(|kid| kid.is_empty() || kid.len() > 256) {
            return Err(KeyReason::Kid);
        }
        let alg = Alg::from_word(&jwk.alg).ok_or(KeyReason::AlgUnknown)?;
        if !alg.allowed_for(kind) {
            return Err(KeyReason::AlgNotAllowed);
        }
        let material = match alg {
            Alg::Rs256 | Alg::Rs384 | Alg::Rs512 | Alg::Ps256 | Alg::Ps384 | Alg::Ps512 => {
                expect(jwk, "RSA", None)?;
                Self::Rsa(RsaKey::load(alg, &member("n", jwk.n.as_deref())?, &member("e", jwk.e.as_deref())?, kind)?)
            }
            Alg::Es256 => {
                expect(jwk, "EC", Some("P-256"))?;
                Self::P256(P256Key::load(&member("x", jwk.x.as_deref())?, &member("y", jwk.y.as_deref())?)?)
            }
            Alg::Es384 => {
                expect(jwk, "EC", Some("P-384"))?;
                Self::P384(P384Key::load(&member("x", jwk.x.as_deref())?, &member("y", jwk.y.as_deref())?)?)
            }
            Alg::EdDsa => {
                expect(jwk, "OKP", Some("Ed25519"))?;
                Self::Ed25519(Ed25519Key::load(&member("x", jwk.x.as_deref())?)?)
            }
            Alg::Hs256 | Alg::Hs384 | Alg::Hs512 => {
                expect(jwk, "oct", None)?;
                Self::Secret(Secret::load(member("k", jwk.k.as_deref())?, alg.hash())?)
            }
        };
        Ok((material, alg))
    }
}

fn expect(jwk: &Jwk, kty: &str, crv: Option<&str>) -> Result<(), KeyReason> {
    if jwk.kty != kty {
        return Err(KeyReason::Kty);
    }
    match crv {
        Some(_) if jwk.crv.as_deref() != crv => Err(KeyReason::Crv),
        _ => Ok(()),
    }
}

fn member(name: &'static str, text: Option<&str>) -> Result<Zeroizing<Vec<u8>>, KeyReason> {
    let text = text.filter(|text| !text.is_empty()).ok_or(KeyReason::Missing(name))?;
    if text.len() > MAX_MEMBER {
        return Err(KeyReason::Encoding(name));
    }
    URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new).map_err(|_| KeyReason::Encoding(name))
}

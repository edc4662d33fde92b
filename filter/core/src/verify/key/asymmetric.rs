//! RSA and ECDSA keys: the ones that a host's own verifier may know.
//!
//! Must not know tokens or JSON: big-endian numbers in, yes or no out.

use p256::ecdsa::signature::Verifier as _;
use rsa::BoxedUint;
use sha2::{Sha256, Sha384, Sha512};
use tollgate_protocol::issuer::IssuerKind;

use super::super::alg::{Alg, HashName, NativeVerifier};
use super::pkcs1::Pkcs1Key;
use super::{KeyReason, der};

/// Least modulus in bits (RFC 7518 section 3.3).
const RSA_LEAST: usize = 2048;
/// Longest modulus of a Clerk key in bits (Clerk facts 2.2).
const RSA_MOST_CLERK: usize = 4096;
/// Longest modulus of a legacy key in bits. Verifying takes time with the square of it.
const RSA_MOST_LEGACY: usize = 8192;
/// Largest exponent: larger ones only cost time.
const RSA_MOST_EXPONENT: u64 = 1 << 32;

/// An RSA public key.
pub(super) struct RsaKey {
    scheme: Scheme,
    hash: HashName,
    bytes: usize,
    spki: Vec<u8>,
}

enum Scheme {
    Pkcs1(Pkcs1Key),
    Pss(rsa::PublicKey),
}

impl RsaKey {
    pub(super) fn load(alg: Alg, n: &[u8], e: &[u8], kind: IssuerKind) -> Result<Self, KeyReason> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = bits_of(n);
        let most = match kind {
            IssuerKind::Clerk => RSA_MOST_CLERK,
            IssuerKind::Legacy => RSA_MOST_LEGACY,
        };
        if !(RSA_LEAST..=most).contains(&bits) {
            return Err(KeyReason::ModulusBits(bits));
        }
        if n.last().is_none_or(|low| low % 2 == 0) {
            return Err(KeyReason::Modulus);
        }
        if super::roca::is_weak(n) {
            return Err(KeyReason::Roca);
        }
        if e.len() > 8 {
            return Err(KeyReason::Exponent);
        }
        let exponent = e.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
        if exponent % 2 == 0 || !(3..=RSA_MOST_EXPONENT).contains(&exponent) {
            return Err(KeyReason::Exponent);
        }
        let scheme = match alg {
            Alg::Ps256 | Alg::Ps384 | Alg::Ps512 => {
                let number = BoxedUint::from_be_slice_vartime(n);
                rsa::PublicKey::new_with_size_limits(number, BoxedUint::from(exponent), RSA_LEAST..=most)
                    .ok()
                    .map(Scheme::Pss)
            }
            Alg::Rs256 | Alg::Rs384 | Alg::Rs512 => Pkcs1Key::new(n, exponent).map(Scheme::Pkcs1),
            Alg::Es256 | Alg::Es384 | Alg::EdDsa | Alg::Hs256 | Alg::Hs384 | Alg::Hs512 => return Err(KeyReason::Kty),
        };
        let scheme = scheme.ok_or(KeyReason::Modulus)?;
        Ok(Self { scheme, hash: alg.hash(), bytes: n.len(), spki: der::spki_rsa(n, e) })
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8], native: &dyn NativeVerifier) -> bool {
        // RFC 8017 sections 8.1.2 and 8.2.2, step 1.
        if signature.len() != self.bytes {
            return false;
        }
        match &self.scheme {
            Scheme::Pkcs1(public) => native
                .verify(self.hash, &self.spki, signature, message)
                .unwrap_or_else(|| public.verify(self.hash, message, signature)),
            Scheme::Pss(public) => match self.hash {
                HashName::Sha256 => public.pss_verify::<Sha256>(message, signature).is_ok(),
                HashName::Sha384 => public.pss_verify::<Sha384>(message, signature).is_ok(),
                HashName::Sha512 => public.pss_verify::<Sha512>(message, signature).is_ok(),
            },
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    number.get(start..).unwrap_or_default()
}

/// Bits of a number without leading zero bytes.
fn bits_of(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |high| high.leading_zeros() as usize);
    number.len().saturating_mul(8).saturating_sub(unused)
}

macro_rules! ecdsa_key {
    ($name:ident, $curve:ident, $coordinate:literal, $oid:ident, $hash:ident, $doc:literal) => {
        #[doc = $doc]
        pub(super) struct $name {
            public: $curve::ecdsa::VerifyingKey,
            spki: Vec<u8>,
        }

        impl $name {
            pub(super) fn load(x: &[u8], y: &[u8]) -> Result<Self, KeyReason> {
                if x.len() != $coordinate || y.len() != $coordinate {
                    return Err(KeyReason::Point);
                }
                let point = [&[4], x, y].concat();
                let public = $curve::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| KeyReason::Point)?;
                Ok(Self { public, spki: der::spki_ec(der::$oid, &point) })
            }

            /// `signature` is r and s at full length, one after the other (RFC 7518 section 3.4).
            pub(super) fn verify(&self, message: &[u8], signature: &[u8], native: &dyn NativeVerifier) -> bool {
                // Also refuses 0 and numbers from the group's order up.
                let Ok(parsed) = $curve::ecdsa::Signature::from_slice(signature) else { return false };
                if let Some((r, s)) = signature.split_at_checked($coordinate) {
                    let der = der::ecdsa_signature(r, s);
                    if let Some(answer) = native.verify(HashName::$hash, &self.spki, &der, message) {
                        return answer;
                    }
                }
                self.public.verify(message, &parsed).is_ok()
            }
        }
    };
}

ecdsa_key!(P256Key, p256, 32, OID_P256, Sha256, "A P-256 public key, for ES256.");
ecdsa_key!(P384Key, p384, 48, OID_P384, Sha384, "A P-384 public key, for ES384.");

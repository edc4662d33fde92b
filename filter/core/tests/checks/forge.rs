//! Makes tokens, good and bad, for the checks. The keys are fixed and public; see `keys/README.md`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::ecdsa::signature::Signer as _;
use rsa::PrivateKey;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use tollgate_core::verify::Alg;
use tollgate_protocol::issuer::Jwk;

/// The secret of every HMAC key here, long enough for each of them.
pub(crate) const SECRET: &[u8; 64] = b"a public test secret of sixty-four bytes, never to be trusted !!";

pub(crate) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The fixed RSA keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rsa {
    One,
    Two,
    Long2049,
}

impl Rsa {
    pub(crate) fn private(self) -> PrivateKey {
        PrivateKey::from_pkcs8_pem(match self {
            Self::One => include_str!("../keys/INSECURE-published-test-key-one.pem"),
            Self::Two => include_str!("../keys/INSECURE-published-test-key-two.pem"),
            Self::Long2049 => include_str!("../keys/INSECURE-published-test-key-2049.pem"),
        })
        .unwrap()
    }

    pub(crate) fn modulus(self) -> Vec<u8> {
        let bytes = self.private().n().to_be_bytes();
        bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
    }
}

/// Whoever signs.
pub(crate) struct Signer {
    pub(crate) alg: Alg,
    rsa: Option<PrivateKey>,
}

impl Signer {
    pub(crate) fn new(alg: Alg) -> Self {
        Self::rsa(alg, Rsa::One)
    }

    pub(crate) fn rsa(alg: Alg, key: Rsa) -> Self {
        let needs_rsa = matches!(alg.as_str().split_at(2).0, "RS" | "PS");
        Self { alg, rsa: needs_rsa.then(|| key.private()) }
    }

    fn rsa_key(&self) -> &PrivateKey {
        self.rsa.as_ref().unwrap()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self.alg {
            Alg::Rs256 => self.rsa_key().pkcs1v15_sign::<Sha256>(message).unwrap(),
            Alg::Rs384 => self.rsa_key().pkcs1v15_sign::<Sha384>(message).unwrap(),
            Alg::Rs512 => self.rsa_key().pkcs1v15_sign::<Sha512>(message).unwrap(),
            Alg::Ps256 => self.rsa_key().pss_sign_with_rng::<Sha256, _>(&mut Salt::of(message), message).unwrap(),
            Alg::Ps384 => self.rsa_key().pss_sign_with_rng::<Sha384, _>(&mut Salt::of(message), message).unwrap(),
            Alg::Ps512 => self.rsa_key().pss_sign_with_rng::<Sha512, _>(&mut Salt::of(message), message).unwrap(),
            Alg::Es256 => {
                let signature: p256::ecdsa::Signature = p256_key().sign(message);
                signature.to_bytes().to_vec()
            }
            Alg::Es384 => {
                let signature: p384::ecdsa::Signature = p384_key().sign(message);
                signature.to_bytes().to_vec()
            }
            Alg::EdDsa => ed25519_key().sign(message).to_bytes().to_vec(),
            Alg::Hs256 | Alg::Hs384 | Alg::Hs512 => hmac(self.alg, SECRET, message),
        }
    }

    /// The public half, or the secret itself.
    pub(crate) fn jwk(&self, kid: Option<&str>) -> Jwk {
        let mut jwk = Jwk {
            kty: "RSA".into(),
            alg: self.alg.as_str().into(),
            kid: kid.map(Into::into),
            crv: None,
            n: None,
            e: None,
            x: None,
            y: None,
            k: None,
        };
        let mut ec = |crv: &str, point: &[u8]| {
            let half = point.len() / 2;
            jwk.kty = "EC".into();
            jwk.crv = Some(crv.into());
            jwk.x = Some(base64(&point[1..=half]));
            jwk.y = Some(base64(&point[half + 1..]));
        };
        match self.alg {
            Alg::Es256 => ec("P-256", p256_key().verifying_key().to_sec1_point(false).as_bytes()),
            Alg::Es384 => ec("P-384", p384_key().verifying_key().to_sec1_point(false).as_bytes()),
            Alg::EdDsa => {
                jwk.kty = "OKP".into();
                jwk.crv = Some("Ed25519".into());
                jwk.x = Some(base64(ed25519_key().verifying_key().as_bytes()));
            }
            Alg::Hs256 | Alg::Hs384 | Alg::Hs512 => {
                jwk.kty = "oct".into();
                jwk.k = Some(base64(SECRET));
            }
            _ => {
                let modulus = self.rsa_key().n().to_be_bytes();
                let start = modulus.iter().position(|byte| *byte != 0).unwrap();
                jwk.n = Some(base64(&modulus[start..]));
                jwk.e = Some("AQAB".into());
            }
        }
        jwk
    }

    /// A compact token.
    pub(crate) fn token(&self, header: &str, payload: &[u8]) -> Vec<u8> {
        let message = format!("{}.{}", base64(header.as_bytes()), base64(payload));
        let signature = base64(&self.sign(message.as_bytes()));
        format!("{message}.{signature}").into_bytes()
    }
}

pub(crate) fn hmac(alg: Alg, secret: &[u8], message: &[u8]) -> Vec<u8> {
    match alg {
        Alg::Hs256 => {
            Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(message).finalize().into_bytes().to_vec()
        }
        Alg::Hs384 => {
            Hmac::<Sha384>::new_from_slice(secret).unwrap().chain_update(message).finalize().into_bytes().to_vec()
        }
        _ => Hmac::<Sha512>::new_from_slice(secret).unwrap().chain_update(message).finalize().into_bytes().to_vec(),
    }
}

pub(crate) fn p256_key() -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap()
}

pub(crate) fn p384_key() -> p384::ecdsa::SigningKey {
    p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap()
}

pub(crate) fn ed25519_key() -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[7; 32])
}

/// Bytes for salts: the same in every run, and no generator of random numbers is needed in wasm.
pub(crate) struct Salt(u64);

impl Salt {
    pub(crate) fn of(message: &[u8]) -> Self {
        Self(message.iter().fold(1, |sum, byte| sum.rotate_left(7) ^ u64::from(*byte)))
    }
}

impl rsa::rand_core::TryRng for Salt {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::try_from(self.try_next_u64()? >> 32).unwrap())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 = self.0.wrapping_add(1);
        let digest = Sha256::digest(self.0.to_be_bytes());
        Ok(u64::from_be_bytes(digest[..8].try_into().unwrap()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in out.chunks_mut(8) {
            let word = self.try_next_u64()?.to_be_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

impl rsa::rand_core::TryCryptoRng for Salt {}

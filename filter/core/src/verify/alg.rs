//! The signature algorithms of JOSE that are accepted, and the door to a host's own verifier.
//!
//! Must not know keys or tokens.

use tollgate_protocol::issuer::IssuerKind;

/// A hash function, by the name hosts know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashName {
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-384 (FIPS 180-4).
    Sha384,
    /// SHA-512 (FIPS 180-4).
    Sha512,
}

impl HashName {
    /// The name, as Envoy's `verify_signature` expects it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the digest in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A signature verifier outside this crate, usually the host's.
pub trait NativeVerifier {
    /// Whether `signature` over `message` holds under the key `spki_der` (SubjectPublicKeyInfo, RFC 5280 section 4.1.2.7).
    ///
    /// RSA signatures are PKCS#1 v1.5 (RFC 8017 section 8.2), ECDSA signatures are DER (RFC 3279 section 2.2.3).
    /// `None` says that it cannot tell (no such function or key type, or a failure of the host): then Rust decides.
    /// An answer is believed, so it must come from a verifier as trusted as this module.
    fn verify(&self, hash: HashName, spki_der: &[u8], signature: &[u8], message: &[u8]) -> Option<bool>;
}

/// No verifier outside this crate: every signature is checked in Rust.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNative;

impl NativeVerifier for NoNative {
    fn verify(&self, _: HashName, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

macro_rules! algorithms {
    ($($variant:ident = $word:literal, $doc:literal;)+) => {
        /// A signature algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1). `none` is not one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Alg {
            $(#[doc = $doc] $variant,)+
        }

        impl Alg {
            /// Every algorithm.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The algorithm of a JOSE `alg` value; `None` for every other word. Case counts (RFC 7515 section 4.1.1).
            pub fn from_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The JOSE `alg` value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

algorithms! {
    Rs256 = "RS256", "RSASSA-PKCS1-v1_5 with SHA-256.";
    Rs384 = "RS384", "RSASSA-PKCS1-v1_5 with SHA-384.";
    Rs512 = "RS512", "RSASSA-PKCS1-v1_5 with SHA-512.";
    Ps256 = "PS256", "RSASSA-PSS with SHA-256, MGF1 with SHA-256, 32 bytes of salt.";
    Ps384 = "PS384", "RSASSA-PSS with SHA-384, MGF1 with SHA-384, 48 bytes of salt.";
    Ps512 = "PS512", "RSASSA-PSS with SHA-512, MGF1 with SHA-512, 64 bytes of salt.";
    Es256 = "ES256", "ECDSA on P-256 with SHA-256.";
    Es384 = "ES384", "ECDSA on P-384 with SHA-384.";
    EdDsa = "EdDSA", "Ed25519.";
    Hs256 = "HS256", "HMAC with SHA-256.";
    Hs384 = "HS384", "HMAC with SHA-384.";
    Hs512 = "HS512", "HMAC with SHA-512.";
}

impl Alg {
    /// The hash of the algorithm. Ed25519's own is SHA-512.
    pub const fn hash(self) -> HashName {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 | Self::Hs256 => HashName::Sha256,
            Self::Rs384 | Self::Ps384 | Self::Es384 | Self::Hs384 => HashName::Sha384,
            Self::Rs512 | Self::Ps512 | Self::Hs512 | Self::EdDsa => HashName::Sha512,
        }
    }

    /// Whether tokens of this kind of issuer may use it.
    ///
    /// Clerk: RS256, RS384 and RS512, the allow-list of its own SDK (Clerk facts 1.2 and 2.2); a secret that both
    /// sides share would let whoever reads the edge's settings make session tokens. Legacy: all.
    pub const fn allowed_for(self, kind: IssuerKind) -> bool {
        match kind {
            IssuerKind::Clerk => matches!(self, Self::Rs256 | Self::Rs384 | Self::Rs512),
            IssuerKind::Legacy => true,
        }
    }
}

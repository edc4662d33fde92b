//! Why a key, or a whole issuer, cannot be used. Never holds key material.

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyReason {
    /// `alg` is not one of the known algorithms, or `none`.
    #[error("its 'alg' is not one that is supported")]
    AlgUnknown,
    /// The algorithm is not for this kind of issuer.
    #[error("its 'alg' is not allowed for this kind of issuer")]
    AlgNotAllowed,
    /// `kty` does not go with `alg`.
    #[error("its 'kty' does not go with its 'alg'")]
    Kty,
    /// `crv` does not go with `alg`.
    #[error("its 'crv' does not go with its 'alg'")]
    Crv,
    /// `kid` is empty, longer than 256 bytes, or missing on a Clerk key.
    #[error("its 'kid' is missing, empty or too long")]
    Kid,
    /// A member is missing.
    #[error("its member '{0}' is missing")]
    Missing(&'static str),
    /// A member is not base64url without padding, or too long.
    #[error("its member '{0}' is not base64url without padding, or too long")]
    Encoding(&'static str),
    /// The RSA modulus is too short or too long.
    #[error("its modulus has {0} bits")]
    ModulusBits(usize),
    /// The RSA modulus is even.
    #[error("its modulus is even")]
    Modulus,
    /// The RSA modulus can be factored: it has the shape of CVE-2017-15361 (ROCA).
    #[error("its modulus has the shape of CVE-2017-15361")]
    Roca,
    /// The RSA exponent is even, below 3 or above 2^32.
    #[error("its exponent is not an odd number from 3 to 2^32")]
    Exponent,
    /// Not a point of the curve, of the wrong length, or of small order.
    #[error("it is not a usable point of its curve")]
    Point,
    /// The shared secret is shorter than the hash (RFC 7518 section 3.2).
    #[error("its secret has {got} bytes, its 'alg' needs at least {least}")]
    SecretLength {
        /// Length in bytes.
        got: usize,
        /// Least length in bytes.
        least: usize,
    },
    /// The issuer already has as many keys as are kept.
    #[error("its issuer has too many keys")]
    TooMany,
    /// The issuer already has as many keys of this `kid` and `alg` as are tried.
    #[error("its issuer has too many keys of the same 'kid' and 'alg'")]
    TooManyAlike,
    /// The whole issuer: its name is empty, or missing on a Clerk issuer.
    #[error("the issuer has no name")]
    IssuerUnnamed,
    /// The whole issuer: another of the same name comes first.
    #[error("another issuer has the same name")]
    IssuerRepeated,
}

/// A key, or a whole issuer, that was left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("issuer {}, key {}: {reason}", name(.issuer), name(.kid))]
pub struct KeyFault {
    /// The issuer as configured, where one is known.
    pub issuer: Option<Box<str>>,
    /// The key's `kid`; absent for a key without one and for a whole issuer.
    pub kid: Option<Box<str>>,
    /// Why.
    pub reason: KeyReason,
}

impl KeyFault {
    pub(in crate::verify) fn new(issuer: Option<&str>, kid: Option<&str>, reason: KeyReason) -> Self {
        Self { issuer: issuer.map(Box::from), kid: kid.map(Box::from), reason }
    }
}

fn name(of: &Option<Box<str>>) -> &str {
    of.as_deref().unwrap_or("(unnamed)")
}

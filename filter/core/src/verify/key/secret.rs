//! Shared secrets for HMAC (RFC 2104, RFC 7518 section 3.2). Compared in constant time, wiped when dropped.
//!
//! Must not know tokens or JSON.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::KeyReason;
use crate::verify::HashName;

/// A shared secret.
pub(super) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(super) fn load(secret: Zeroizing<Vec<u8>>, hash: HashName) -> Result<Self, KeyReason> {
        if secret.len() < hash.bytes() {
            return Err(KeyReason::SecretLength { got: secret.len(), least: hash.bytes() });
        }
        Ok(Self(secret))
    }

    pub(super) fn verify(&self, hash: HashName, message: &[u8], signature: &[u8]) -> bool {
        match hash {
            HashName::Sha256 => Hmac::<Sha256>::new_from_slice(&self.0)
                .is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok()),
            HashName::Sha384 => Hmac::<Sha384>::new_from_slice(&self.0)
                .is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok()),
            HashName::Sha512 => Hmac::<Sha512>::new_from_slice(&self.0)
                .is_ok_and(|mac| mac.chain_update(message).verify_slice(signature).is_ok()),
        }
    }
}

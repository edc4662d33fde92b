//! Ed25519 keys (RFC 8032, RFC 8037). No host verifier knows them.
//!
//! Must not know tokens or JSON.

use ed25519_dalek::{Signature, VerifyingKey};

use super::KeyReason;

/// An Ed25519 public key.
pub(super) struct Ed25519Key(VerifyingKey);

impl Ed25519Key {
    pub(super) fn load(x: &[u8]) -> Result<Self, KeyReason> {
        let bytes: &[u8; 32] = x.try_into().map_err(|_| KeyReason::Point)?;
        let public = VerifyingKey::from_bytes(bytes).map_err(|_| KeyReason::Point)?;
        // One key has one spelling (RFC 8032 section 5.1.3), which dalek leaves open; and under a key of small order one
        // signature can hold for many messages.
        if public.to_edwards().compress().as_bytes() != bytes || public.is_weak() {
            return Err(KeyReason::Point);
        }
        Ok(Self(public))
    }

    /// Strict: S below the group's order, no point of small order, so that one token has one signature.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(bytes) = <&[u8; 64]>::try_from(signature) else { return false };
        self.0.verify_strict(message, &Signature::from_bytes(bytes)).is_ok()
    }
}

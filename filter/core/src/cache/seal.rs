//! Sealing of what is put into the host's shared data. Istio gives every plugin of a proxy the same namespace, so
//! what lies there is encrypted and authenticated (XChaCha20-Poly1305, draft-irtf-cfrg-xchacha) under a key derived
//! from the edge secret, bound to its slot. This module must not know what it seals.

use ahash::RandomState;
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Names of the slots. They carry a prefix of ours and a version of their layout.
pub mod slot {
    /// Who leads.
    pub const LEASE: &str = "tollgate.2.lease";
    /// What has been published last.
    pub const HEAD: &str = "tollgate.2.head";
    /// The last settings.
    pub const SETTINGS: &str = "tollgate.2.settings";
    /// Number of slots for changes.
    pub const LOG_SLOTS: u64 = 64;
    /// Number of slots for identities. The host never frees a slot, so their number is fixed.
    pub const IDENTITY_SLOTS: u64 = 4096;

    /// The slot of a numbered publication.
    pub fn log(version: u64) -> String {
        format!("tollgate.2.log.{}", version % LOG_SLOTS)
    }

    /// The slot of a page of what is revoked.
    pub fn revoked(page: usize) -> String {
        format!("tollgate.2.revoked.{page}")
    }

    /// The slot of the name of this Envoy.
    pub const NODE: &str = "tollgate.2.node";

    /// The slot of a set of buckets of limits.
    pub fn limit(set: u64) -> String {
        format!("tollgate.2.limit.{set}")
    }

    /// The slot in which the identity of a subject may lie.
    pub fn identity(subject: &[u8; 32]) -> String {
        let [a, b, ..] = *subject;
        format!("tollgate.2.id.{}", u64::from(u16::from_le_bytes([a, b])) % IDENTITY_SLOTS)
    }
}

/// Seals and opens. Its key does not print.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    name: [u8; 8],
    shared_seed: [u8; 32],
    nonce_prefix: [u8; 16],
    sealed: u64,
}

impl core::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

const NONCE_BYTES: usize = 24;

impl Sealer {
    /// `nonce_prefix` is drawn at random for each VM; together with a counter it makes every nonce unique.
    pub fn new(edge_secret: &str, nonce_prefix: [u8; 16]) -> Self {
        // One hash is enough to derive from a secret: the label in front has a fixed length and no other use.
        let derive = |label: &[u8; 8]| Sha256::new().chain_update(label).chain_update(edge_secret).finalize();
        let key = Zeroizing::new(<[u8; 32]>::from(derive(b"seal.001")));
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(derive(b"name.001"));
        let shared_seed = derive(b"hash.001").into();
        let (cipher, name) = (XChaCha20Poly1305::new(&(*key).into()), [a, b, c, d, e, f, g, h]);
        Self { cipher, name, shared_seed, nonce_prefix, sealed: 0 }
    }

    /// A name that keeps the slots of two control planes apart in one proxy. It does not tell the secret.
    pub fn namespace(&self, cluster: &str) -> String {
        format!("{cluster}.{:016x}", u64::from_be_bytes(self.name))
    }

    /// Keyed hashing that is the same in all workers, for names of what they share.
    pub fn shared_hasher(&self) -> RandomState {
        let (words, _) = self.shared_seed.as_chunks::<8>();
        let word = |at: usize| words.get(at).map_or(0, |word| u64::from_le_bytes(*word));
        RandomState::with_seeds(word(0), word(1), word(2), word(3))
    }

    /// Seals a value for a slot. `None` only if the cipher refuses, which it does above 256 GB.
    pub fn seal(&mut self, slot: &str, plain: &[u8]) -> Option<Vec<u8>> {
        self.sealed = self.sealed.wrapping_add(1);
        let mut nonce = [0; NONCE_BYTES];
        let (prefix, counter) = nonce.split_at_mut(16);
        prefix.copy_from_slice(&self.nonce_prefix);
        counter.copy_from_slice(&self.sealed.to_le_bytes());
        let sealed = self.cipher.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: slot.as_bytes() }).ok()?;
        let mut out = Vec::with_capacity(sealed.len().saturating_add(NONCE_BYTES));
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Some(out)
    }

    /// Opens a value of a slot. `None` for anything that was not sealed for this slot under this key.
    pub fn open(&self, slot: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        self.cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: slot.as_bytes() }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_was_sealed_for_this_slot_with_this_secret_only() {
        let mut ours = Sealer::new("secret-one-secret-one", [1; 16]);
        let sealed = ours.seal("a", b"value").unwrap();
        assert_eq!(ours.open("a", &sealed).unwrap(), b"value");
        assert_eq!(Sealer::new("secret-one-secret-one", [2; 16]).open("a", &sealed).unwrap(), b"value");
        assert_eq!(ours.open("b", &sealed), None);
        assert_eq!(Sealer::new("secret-two-secret-two", [1; 16]).open("a", &sealed), None);
        for place in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[place] ^= 1;
            assert_eq!(ours.open("a", &bad), None, "{place}");
            assert_eq!(ours.open("a", &sealed[..place]), None, "{place}");
        }
        assert_ne!(ours.seal("a", b"value"), ours.seal("a", b"value"));
    }
}

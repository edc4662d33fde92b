//! Sealing of what is put into the host's shared data. Istio gives every plugin of a proxy the same namespace, so
//! what lies there is encrypted and authenticated (XChaCha20-Poly1305, draft-irtf-cfrg-xchacha) under a key derived
//! from the edge secret, bound to its slot. What tells nobody anything is only authenticated (SipHash-2-4 with 128 bits),
//! which takes a small part of the time. This module must not know what it seals.

use core::hash::Hasher as _;

use ahash::RandomState;
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use sha2::{Digest as _, Sha256};
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use subtle::ConstantTimeEq as _;
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
        format!("tollgate.3.limit.{set}")
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
    marker: SipHasher24,
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
const MARK_BYTES: usize = 16;

impl Sealer {
    /// `nonce_prefix` is drawn at random for each VM; together with a counter it makes every nonce unique.
    pub fn new(edge_secret: &str, nonce_prefix: [u8; 16]) -> Self {
        // One hash is enough to derive from a secret: the label in front has a fixed length and no other use.
        let derive = |label: &[u8; 8]| Sha256::new().chain_update(label).chain_update(edge_secret).finalize();
        let key = Zeroizing::new(<[u8; 32]>::from(derive(b"seal.001")));
        let word = |label| {
            let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(derive(label));
            [a, b, c, d, e, f, g, h]
        };
        let shared_seed = derive(b"hash.001").into();
        let [low, high] = [b"mark.001", b"mark.002"].map(|label| u64::from_le_bytes(word(label)));
        let marker = SipHasher24::new_with_keys(low, high);
        let (cipher, name) = (XChaCha20Poly1305::new(&(*key).into()), word(b"name.001"));
        Self { cipher, marker, name, shared_seed, nonce_prefix, sealed: 0 }
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

    /// Marks a value for a slot as ours: it can be read by anybody, and written by nobody else.
    pub fn mark(&self, slot: &str, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len().saturating_add(MARK_BYTES));
        out.extend_from_slice(&self.mark_of(slot, plain));
        out.extend_from_slice(plain);
        out
    }

    /// A value that was marked. `None` for anything that was not marked for this slot under this key.
    pub fn marked<'v>(&self, slot: &str, value: &'v [u8]) -> Option<&'v [u8]> {
        let (mark, plain) = value.split_first_chunk::<MARK_BYTES>()?;
        bool::from(self.mark_of(slot, plain).ct_eq(mark)).then_some(plain)
    }

    fn mark_of(&self, slot: &str, plain: &[u8]) -> [u8; MARK_BYTES] {
        let mut hasher = self.marker;
        // Its length tells where the slot ends.
        hasher.write_usize(slot.len());
        hasher.write(slot.as_bytes());
        hasher.write(plain);
        hasher.finish128().as_bytes()
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

    #[test]
    fn takes_what_was_marked_for_this_slot_with_this_secret_only() {
        let ours = Sealer::new("secret-one-secret-one", [1; 16]);
        let marked = ours.mark("a", b"value");
        assert_eq!(ours.marked("a", &marked), Some(&b"value"[..]));
        assert_eq!(Sealer::new("secret-one-secret-one", [2; 16]).marked("a", &marked), Some(&b"value"[..]));
        assert_eq!(ours.marked("b", &marked), None);
        assert_eq!(ours.marked("av", &ours.mark("a", b"vvalue")), None);
        assert_eq!(Sealer::new("secret-two-secret-two", [1; 16]).marked("a", &marked), None);
        for place in 0..marked.len() {
            let mut bad = marked.clone();
            bad[place] ^= 1;
            assert_eq!(ours.marked("a", &bad), None, "{place}");
            assert_eq!(ours.marked("a", &marked[..place]), None, "{place}");
        }
    }
}

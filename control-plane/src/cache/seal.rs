//! What lies in a cache that others may read and write: names that tell nothing, values that are encrypted and belong to
//! one name. It must not know what is kept.

use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;

/// Makes names. It does not print.
pub struct NameKey(Zeroizing<[u8; 32]>);

impl core::fmt::Debug for NameKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("NameKey(…)")
    }
}

impl NameKey {
    /// Derives a key for one purpose.
    pub fn new(secret: &[u8; 32], purpose: &[u8]) -> Self {
        Self(derived(secret, &[b"name ", purpose].concat()))
    }

    /// The name of something: the first 128 bits of its HMAC-SHA256 (RFC 2104), in hexadecimal.
    pub fn of(&self, text: &[u8]) -> String {
        derived(&self.0, text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Seals and opens values with XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha). It does not print.
pub struct Seal(XChaCha20Poly1305);

impl core::fmt::Debug for Seal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    /// Derives a key for one purpose.
    pub fn new(secret: &[u8; 32], purpose: &[u8]) -> Self {
        Self(XChaCha20Poly1305::new(&(*derived(secret, &[b"seal ", purpose].concat())).into()))
    }

    /// Seals a value for a name. `None` where the machine has no randomness.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let sealed = self.0.encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: name.as_bytes() }).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    /// Opens a value of a name. `None` for anything that was not sealed for this name with this secret.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let opened = self.0.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: name.as_bytes() });
        opened.ok().map(Zeroizing::new)
    }
}

fn derived(key: &[u8; 32], text: &[u8]) -> Zeroizing<[u8; 32]> {
    // HMAC takes a key of any length; a fixed one never fails.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Zeroizing::new([0; 32]) };
    mac.update(text);
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_belong_to_one_secret_purpose_and_name() {
        let (secret, other) = ([1; 32], [2; 32]);
        let name = NameKey::new(&secret, b"a").of(b"x");
        assert_eq!((name.len(), &name), (32, &NameKey::new(&secret, b"a").of(b"x")));
        for differs in [NameKey::new(&secret, b"a").of(b"y"), NameKey::new(&secret, b"b").of(b"x")] {
            assert_ne!(name, differs);
        }
        assert_ne!(name, NameKey::new(&other, b"a").of(b"x"));

        let seal = Seal::new(&secret, b"a");
        let sealed = seal.seal("n", b"plain").unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"plain"));
        assert_eq!(Seal::new(&secret, b"a").open("n", &sealed).unwrap().as_slice(), b"plain");
        assert_ne!(seal.seal("n", b"plain").unwrap(), sealed);
        assert!(seal.open("m", &sealed).is_none(), "another name");
        assert!(Seal::new(&secret, b"b").open("n", &sealed).is_none(), "another purpose");
        assert!(Seal::new(&other, b"a").open("n", &sealed).is_none(), "another secret");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(seal.open("n", &changed).is_none(), "{at}");
            assert!(seal.open("n", &sealed[..at]).is_none(), "{at}");
        }
    }
}

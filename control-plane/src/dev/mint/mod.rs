//! Makes credentials for development and for the tests: good ones, and ones with a chosen fault. It must not know a
//! store, a data directory or a network, and nothing that verifies a credential may use it: what is checked here by
//! the same code that made it would prove nothing.

mod clerk;
mod keys;
mod legacy;

pub use clerk::ClerkToken;
pub use keys::IssuerKey;
pub use legacy::LegacyToken;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::random;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why nothing could be minted.
#[derive(Debug, thiserror::Error)]
pub enum MintFault {
    /// The machine gave no randomness.
    #[error(transparent)]
    Randomness(#[from] random::NoRandomness),
    /// Making, reading or using an RSA key failed.
    #[error("RSA key: {0}")]
    Rsa(String),
}

/// The part of a token that is signed: `base64url(header).base64url(claims)`.
pub fn signing_input(header: &Map<String, Value>, claims: &Map<String, Value>) -> String {
    let part = |map: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(map.clone()).to_string());
    format!("{}.{}", part(header), part(claims))
}

/// Appends a signature to what was signed.
pub fn with_signature(signing_input: &str, signature: &[u8]) -> String {
    format!("{signing_input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The same token with one bit of its signature turned: well-formed, and wrong.
pub fn tamper(token: &str) -> String {
    let (head, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    match bytes.first_mut() {
        Some(byte) => *byte ^= 1,
        None => bytes.push(1),
    }
    with_signature(head, &bytes)
}

/// The Clerk user id that this development issuer gives to an e-mail address: the same person is the same user
/// in every run.
pub fn clerk_subject(email: &str) -> String {
    format!("user_dev{}", base62_digest("subject", email))
}

/// The session id that goes with [`clerk_subject`].
pub fn clerk_session(email: &str) -> String {
    format!("sess_dev{}", base62_digest("session", email))
}

/// `count` random base62 characters, evenly drawn.
///
/// # Errors
/// [`MintFault::Randomness`] if the system gives none.
pub fn random_base62(count: usize) -> Result<String, MintFault> {
    let numbers = random::base62_numbers(count)?;
    Ok(numbers.iter().filter_map(|number| BASE62.get(usize::from(*number))).copied().map(char::from).collect())
}

fn base62_digest(what: &str, email: &str) -> String {
    let digest = Sha256::digest(format!("{what}:{}", email.trim().to_lowercase()));
    digest.iter().take(19).filter_map(|byte| BASE62.get(usize::from(byte % 62))).map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_keeps_its_ids() {
        assert_eq!(clerk_subject("ada@example.com"), clerk_subject(" ADA@example.com"));
        assert_ne!(clerk_subject("ada@example.com"), clerk_subject("bob@example.com"));
        assert_eq!(clerk_subject("ada@example.com").len(), "user_dev".len() + 19);
        assert!(clerk_session("ada@example.com").starts_with("sess_dev"));
    }

    #[test]
    fn random_text_has_the_asked_length_and_alphabet() {
        let text = random_base62(1000).unwrap();
        assert_eq!(text.len(), 1000);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_ne!(text, random_base62(1000).unwrap());
    }

    #[test]
    fn tampering_changes_the_signature_only() {
        let token = with_signature("a.b", &[1, 2, 3]);
        let bad = tamper(&token);
        assert_ne!(bad, token);
        assert_eq!(bad.rsplit_once('.').unwrap().0, "a.b");
        assert_eq!(bad.len(), token.len());
    }
}

//! Who is there, by number: ids, addresses and keys follow from it, so a run has the same people as every other, and nobody
//! has to be remembered. It must not know a store.

use sha2::{Digest as _, Sha256};
use tollgate_protocol::{KeyHash, edge::ResolveRequest};

/// The issuer of everyone who is signed in.
pub(crate) const ISSUER: &str = "https://clerk.bench.example";
/// Characters after `usr_` and `key_` in the ids that the control plane makes.
const ID_CHARS: usize = 22;

/// Scattered as the control plane's own ids are: neighbours by number are no neighbours in an index.
fn scattered(what: &str, number: u64) -> [u8; 32] {
    Sha256::digest(format!("{what} {number}").as_bytes()).into()
}

fn id(prefix: &str, what: &str, number: u64) -> String {
    let hash = scattered(what, number);
    let letters = hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{prefix}{}", &letters[..ID_CHARS])
}

/// The id of a user.
pub(crate) fn user_id(number: u64) -> String {
    id("usr_", "user", number)
}

/// The id of a user's key.
pub(crate) fn key_id(number: u64) -> String {
    id("key_", "key", number)
}

/// The hash of a user's key.
pub(crate) fn key_hash(number: u64) -> KeyHash {
    KeyHash(scattered("plain key", number))
}

/// The hash of a key that was never issued.
pub(crate) fn unknown_hash(number: u64) -> KeyHash {
    KeyHash(scattered("no key", number))
}

/// The id of a user at Clerk.
pub(crate) fn subject(number: u64) -> String {
    format!("user_bench{number:020}")
}

/// The address of a user.
pub(crate) fn email(number: u64) -> String {
    format!("{}@example.com", subject(number))
}

/// Somebody who is signed in with Clerk.
pub(crate) fn clerk(number: u64) -> ResolveRequest {
    ResolveRequest::Clerk {
        issuer: ISSUER.into(),
        subject: subject(number),
        email: Some(email(number)),
        email_verified: true,
        name: Some("A Name".into()),
        impersonated: false,
    }
}

//! Tokens of the older sign-in: HS256 with a shared secret.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Map, Value};
use sha2::Sha256;

use super::{signing_input, with_signature};

/// Lifetime of a legacy token, in seconds.
const LIFETIME: i64 = 3600;

/// A legacy token that is not signed yet.
#[derive(Debug, Clone)]
pub struct LegacyToken {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    issued_at: u64,
}

impl LegacyToken {
    /// A token for a user id of the store (or an e-mail address, as older tokens have), issued at `now`.
    pub fn for_user(subject: &str, now: u64) -> Self {
        let mut token = Self { header: Map::new(), claims: Map::new(), issued_at: now };
        token.header.insert("alg".to_owned(), "HS256".into());
        token.header.insert("typ".to_owned(), "JWT".into());
        token.claim("sub", subject).claim("iat", now).expires_in(LIFETIME)
    }

    /// Sets `exp` to so many seconds after the time of issue (negative: before it).
    #[must_use]
    pub fn expires_in(self, seconds: i64) -> Self {
        let expires = self.issued_at.saturating_add_signed(seconds);
        self.claim("exp", expires)
    }

    /// Moves `iat` and `exp` by so many seconds.
    #[must_use]
    pub fn shifted(mut self, seconds: i64) -> Self {
        self.issued_at = self.issued_at.saturating_add_signed(seconds);
        for name in ["iat", "exp"] {
            if let Some(time) = self.claims.get(name).and_then(Value::as_u64) {
                self.claims.insert(name.to_owned(), time.saturating_add_signed(seconds).into());
            }
        }
        self
    }

    /// Sets or replaces one claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Takes one claim away.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets or replaces one member of the header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Signs the token with HS256.
    pub fn sign(&self, secret: &[u8]) -> String {
        let input = signing_input(&self.header, &self.claims);
        with_signature(&input, &hs256(secret, input.as_bytes()))
    }
}

/// HMAC-SHA-256 (RFC 2104). A key longer than a block is hashed first, by the same rule.
fn hs256(secret: &[u8], message: &[u8]) -> Vec<u8> {
    match Hmac::<Sha256>::new_from_slice(secret) {
        Ok(mac) => mac.chain_update(message).finalize().into_bytes().to_vec(),
        // HMAC takes a key of any length; an empty signature is refused by every verifier.
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hs256_is_the_one_of_rfc_4231() {
        let hex: String = hs256(b"Jefe", b"what do ya want for nothing?").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn claims_follow_the_builder() {
        let token = LegacyToken::for_user("u1", 1000).expires_in(-5).claim("role", "admin").without("iat");
        assert_eq!(Value::Object(token.claims.clone()), serde_json::json!({"sub": "u1", "exp": 995, "role": "admin"}));
        assert_eq!(token.sign(b"secret").split('.').count(), 3);
        let old = LegacyToken::for_user("u1", 10_000).shifted(-5000);
        assert_eq!((&old.claims["iat"], &old.claims["exp"]), (&5000.into(), &8600.into()));
    }
}

//! What an edge says about a caller to the public API: signed with the key that the control plane gives its edges.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use tollgate_protocol::edge::AssertionKey;

/// Signs as an edge does.
#[derive(Debug)]
pub struct Signer {
    key: SigningKey,
    about: AssertionKey,
}

impl Signer {
    /// With the key of the settings that edges get.
    ///
    /// # Panics
    /// If its seed is not 32 bytes of base64url.
    pub fn new(about: AssertionKey) -> Self {
        let seed = URL_SAFE_NO_PAD.decode(&about.seed).expect("base64url");
        Self { key: SigningKey::from_bytes(&seed.try_into().expect("32 bytes")), about }
    }

    /// An assertion about a user who is signed in with Clerk. `now` is in unix seconds.
    pub fn sign(&self, user: &str, now: u64) -> String {
        let claims = json!({
            "iss": self.about.issuer, "aud": "tollgate", "sub": user, "iat": now,
            "exp": now + u64::from(self.about.lifetime_seconds), "method": "clerk", "role": "user", "scopes": [],
        });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(json!({"alg": "EdDSA", "kid": self.about.kid, "typ": "JWT"})), part(claims));
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

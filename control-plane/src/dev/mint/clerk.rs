//! Session tokens in Clerk's format (version 2), any member of which can be set, replaced or taken away.

use serde_json::{Map, Value, json};

use super::{IssuerKey, MintFault, clerk_session, clerk_subject, random_base62};

/// Class of a session token, header `cat`.
const CAT_SESSION: &str = "cl_B7d4PD111AAA";
/// Class of a custom template's token: signed with the same key, and no session.
const CAT_TEMPLATE: &str = "cl_B7d4PD222AAA";
/// Seconds that Clerk dates `nbf` back.
const BACKDATED: u64 = 10;
/// Lifetime of a session token.
const LIFETIME: i64 = 60;

/// A session token that is not signed yet.
#[derive(Debug, Clone)]
pub struct ClerkToken {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    issued_at: u64,
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl ClerkToken {
    /// A token for a Clerk user id (`user_…`), issued at `now` (unix seconds), without e-mail and name.
    pub fn for_user(issuer: &str, subject: &str, now: u64) -> Self {
        let header = json!({ "alg": "RS256", "cat": CAT_SESSION, "typ": "JWT" });
        let claims = json!({
            "v": 2, "iss": issuer, "sub": subject, "sid": clerk_session(subject), "sts": "active", "fva": [0, -1],
            "iat": now, "nbf": now.saturating_sub(BACKDATED), "exp": now.saturating_add_signed(LIFETIME),
        });
        Self { header: object(header), claims: object(claims), issued_at: now }
    }

    /// A token for a person with a verified e-mail address, whose ids follow from the address.
    pub fn for_person(issuer: &str, email: &str, now: u64) -> Self {
        Self::for_user(issuer, &clerk_subject(email), now).claim("sid", clerk_session(email)).email(email, true)
    }

    /// Sets the custom claims `email` and `email_verified`.
    #[must_use]
    pub fn email(self, email: &str, verified: bool) -> Self {
        self.claim("email", email).claim("email_verified", verified)
    }

    /// Sets the custom claim `name`.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.claim("name", name)
    }

    /// Sets `azp`, the application that the token was issued to.
    #[must_use]
    pub fn party(self, origin: &str) -> Self {
        self.claim("azp", origin)
    }

    /// Sets `exp` to so many seconds after the time of issue (negative: before it).
    #[must_use]
    pub fn expires_in(self, seconds: i64) -> Self {
        let expires = self.issued_at.saturating_add_signed(seconds);
        self.claim("exp", expires)
    }

    /// Moves `iat`, `nbf` and `exp` by so many seconds.
    #[must_use]
    pub fn shifted(mut self, seconds: i64) -> Self {
        self.issued_at = self.issued_at.saturating_add_signed(seconds);
        for name in ["iat", "nbf", "exp"] {
            if let Some(time) = self.claims.get(name).and_then(Value::as_u64) {
                self.claims.insert(name.to_owned(), time.saturating_add_signed(seconds).into());
            }
        }
        self
    }

    /// Marks the session as pending.
    #[must_use]
    pub fn pending(self) -> Self {
        self.claim("sts", "pending")
    }

    /// Makes it a template token instead of a session token.
    #[must_use]
    pub fn template_class(self) -> Self {
        self.header("cat", CAT_TEMPLATE)
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

    /// Sets or replaces one member of the header. `kid` comes from the signing key unless it is set here.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// The claims as they stand.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Signs the token with RS256, under the key's name and with a `jti` of its own.
    ///
    /// # Errors
    /// [`MintFault`] if the key cannot sign or the system gives no randomness.
    pub fn sign(&self, key: &IssuerKey) -> Result<String, MintFault> {
        let (mut header, mut claims) = (self.header.clone(), self.claims.clone());
        header.entry("kid").or_insert_with(|| key.kid().into());
        if !claims.contains_key("jti") {
            claims.insert("jti".to_owned(), random_base62(20)?.into());
        }
        key.sign(&header, &claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_follow_the_builder() {
        let token = ClerkToken::for_person("https://i", "Ada@example.com", 1000).party("http://localhost:3000");
        assert_eq!((&token.claims["nbf"], &token.claims["exp"]), (&json!(990), &json!(1060)));
        assert_eq!(token.claims["email_verified"], json!(true));
        let old = token.clone().shifted(-100);
        assert_eq!((&old.claims["iat"], &old.claims["exp"]), (&json!(900), &json!(960)));
        assert_eq!(old.expires_in(5).claims["exp"], json!(905));
        assert_eq!(token.clone().pending().claims["sts"], json!("pending"));
        assert_eq!(token.clone().template_class().header["cat"], json!(CAT_TEMPLATE));
        assert!(!token.without("azp").claims.contains_key("azp"));
    }
}

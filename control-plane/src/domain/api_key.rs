//! API keys: the record that is kept, the plain key that is shown once, and what a key may do. It must not make
//! randomness, nor print a plain key.

use tollgate_protocol::KeyHash;
use zeroize::Zeroizing;

use super::{Rate, Timestamp, UserId};

/// Longest name of a key.
pub const MAX_NAME_CHARS: usize = 100;
/// Most scopes of a key.
pub const MAX_SCOPES: usize = 50;

/// Public id of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(String);

impl KeyId {
    /// Takes an id over.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One thing a key may do, such as `templates:read`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(String);

impl Scope {
    /// A scope token of RFC 6749 section 3.3 with at most 64 characters, or `None`. Commas are left out of it, too:
    /// scopes are written into a header.
    pub fn new(text: &str) -> Option<Self> {
        let fine = |b: u8| matches!(b, 0x21 | 0x23..=0x2B | 0x2D..=0x5B | 0x5D..=0x7E);
        ((1..=64).contains(&text.len()) && text.bytes().all(fine)).then(|| Self(text.to_owned()))
    }

    /// The scope.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key as it is kept: without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Public id.
    pub id: KeyId,
    /// Whose it is.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the whole key.
    pub hash: KeyHash,
    /// The first characters, `sk_` and four of its 40 random ones: by them its owner, and who finds it in a log, tells
    /// it from others. Empty for imported keys.
    pub prefix: String,
    /// The last four characters; empty for imported keys.
    pub last_four: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// How often it may be used, beside the limits of its owner and of the routes.
    pub rate: Option<Rate>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// Which keys are looked for; `None` asks for any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Whose they are.
    pub user_id: Option<UserId>,
    /// The id, or how the key begins (its [prefix](ApiKey::prefix)).
    pub text: Option<String>,
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStanding {
    /// It may.
    Good,
    /// It was revoked.
    Revoked,
    /// Its time is over.
    Expired,
}

impl ApiKey {
    /// Whether the key may be used at `now`.
    pub fn standing(&self, now: Timestamp) -> KeyStanding {
        if self.revoked_at.is_some() {
            KeyStanding::Revoked
        } else if self.expires_at.is_some_and(|end| end <= now) {
            KeyStanding::Expired
        } else {
            KeyStanding::Good
        }
    }
}

/// A key in plain: it exists from its making to the one answer that shows it, and is wiped then.
pub struct PlainKey(Zeroizing<String>);

impl PlainKey {
    /// Takes a key over.
    pub fn new(key: String) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The key itself, for the one answer.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("PlainKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_tokens() {
        for good in ["templates:read", "a", "*", "x/y.z-1"] {
            assert!(Scope::new(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a,b", "a\"b", "a\\b", "é", "a\n", &"x".repeat(65)] {
            assert!(Scope::new(bad).is_none(), "{bad:?}");
        }
    }
}

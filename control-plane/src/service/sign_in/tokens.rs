//! The tokens of the older sign-in, as they are written. It must not know a password or a store.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use super::{SignInFault, signing::OwnKeys};
use crate::{
    config::{Secret, SharedAlgorithm},
    domain::{SessionId, Timestamp, TokenHash, UserId},
    random::{self, NoRandomness},
};

/// What signs access tokens.
#[derive(Debug, Clone)]
pub(super) enum TokenSigner {
    /// The secret that is shared with the older system.
    Secret(SharedAlgorithm, Secret),
    /// A key of our own.
    OwnKeys(OwnKeys),
}

/// What an access token says.
pub(super) struct Claims<'c> {
    pub(super) issuer: Option<&'c str>,
    pub(super) audience: &'c [String],
    pub(super) user: &'c UserId,
    pub(super) session: &'c SessionId,
    /// Unix seconds.
    pub(super) issued_at: u64,
    /// Unix seconds.
    pub(super) expires_at: u64,
}

impl TokenSigner {
    /// A signed access token (RFC 7519).
    pub(super) fn sign(&self, claims: &Claims<'_>, now: Timestamp) -> Result<Secret, SignInFault> {
        let id = random::id("")?;
        let mut body = json!({
            "sub": claims.user.as_str(),
            "sid": claims.session.as_str(),
            "jti": id,
            "iat": claims.issued_at,
            "exp": claims.expires_at,
        });
        if let Some(issuer) = claims.issuer {
            body["iss"] = json!(issuer);
        }
        match claims.audience {
            [] => {}
            [one] => body["aud"] = json!(one),
            many => body["aud"] = json!(many),
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = match self {
            Self::Secret(algorithm, secret) => {
                let text = format!("{}.{}", part(&json!({ "alg": algorithm.as_str(), "typ": "JWT" })), part(&body));
                let signature = mac(*algorithm, secret.expose().as_bytes(), text.as_bytes());
                signature.map(|signature| (text, URL_SAFE_NO_PAD.encode(signature)))
            }
            Self::OwnKeys(keys) => {
                let header = |kid: &str| part(&json!({ "alg": "EdDSA", "kid": kid, "typ": "JWT" }));
                keys.sign(now, |kid| format!("{}.{}", header(kid), part(&body)))
            }
        };
        let (text, signature) = signed.ok_or(SignInFault::NoKey)?;
        Ok(Secret::new(format!("{text}.{signature}")))
    }
}

/// HMAC (RFC 2104) takes a key of any length, so there always is one.
fn mac(algorithm: SharedAlgorithm, secret: &[u8], text: &[u8]) -> Option<Vec<u8>> {
    macro_rules! with {
        ($hash:ty) => {{
            let mut mac = Hmac::<$hash>::new_from_slice(secret).ok()?;
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        }};
    }
    Some(match algorithm {
        SharedAlgorithm::Hs256 => with!(Sha256),
        SharedAlgorithm::Hs384 => with!(Sha384),
        SharedAlgorithm::Hs512 => with!(Sha512),
    })
}

const PREFIX: &str = "rt_";
const PART: usize = 22;

/// A refresh token in plain: `rt_`, 22 characters that all tokens of a session share, 22 of its own (131 bits each).
/// Who shows the shared part has had a token of the session; only hashes of it and of the whole are kept.
pub(super) struct RefreshToken {
    text: Zeroizing<String>,
}

impl RefreshToken {
    /// The first one of a session.
    pub(super) fn first() -> Result<Self, NoRandomness> {
        let shared = Zeroizing::new(random::id(PREFIX)?);
        Self::with(&shared)
    }

    /// The next one of the same session.
    pub(super) fn next(&self) -> Result<Self, NoRandomness> {
        Self::with(self.shared())
    }

    fn with(shared: &str) -> Result<Self, NoRandomness> {
        let own = Zeroizing::new(random::id("")?);
        Ok(Self { text: Zeroizing::new(format!("{shared}{}", own.as_str())) })
    }

    /// Takes over what a client shows; `None` for what none of ours is.
    pub(super) fn read(text: &Secret) -> Option<Self> {
        let text = text.expose();
        let parts = text.strip_prefix(PREFIX)?;
        let is_fine = parts.len() == PART.saturating_mul(2) && parts.bytes().all(|b| b.is_ascii_alphanumeric());
        is_fine.then(|| Self { text: Zeroizing::new(text.to_owned()) })
    }

    fn shared(&self) -> &str {
        self.text.get(..PREFIX.len().saturating_add(PART)).unwrap_or_default()
    }

    pub(super) fn family(&self) -> TokenHash {
        hash(self.shared())
    }

    pub(super) fn hash(&self) -> TokenHash {
        hash(&self.text)
    }

    pub(super) fn into_secret(self) -> Secret {
        Secret::new(self.text.as_str())
    }
}

fn hash(text: &str) -> TokenHash {
    TokenHash(Sha256::digest(text.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_tokens_of_a_session_share_their_family_and_nothing_else() {
        let first = RefreshToken::first().expect("randomness");
        let next = first.next().expect("randomness");
        assert!(first.family() == next.family() && first.hash() != next.hash());
        assert!(RefreshToken::first().expect("randomness").family() != first.family());
        let shown = first.hash();
        let text = first.into_secret();
        assert!(RefreshToken::read(&text).is_some_and(|read| read.hash() == shown));
        let text = text.expose();
        for bad in ["", "rt_", &text[3..], &text[..46], &format!("{text}x"), &text.replace("rt_", "rt-")] {
            assert!(RefreshToken::read(&Secret::new(bad)).is_none(), "{bad}");
        }
        assert!(RefreshToken::read(&Secret::new(format!("{}é", &text[..45]))).is_none());
    }
}

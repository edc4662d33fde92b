//! `x-auth-assertion`: the short-lived signed statement of an edge about the caller. The key is made once and kept in
//! the store; edges sign with it, the public API believes nothing else. It must not know a route.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, SigningKey, VerifyingKey};
use jwt_compact::UntrustedToken;
use serde::{Deserialize, de::IgnoredAny};
use sha2::{Digest as _, Sha256};
use tollgate_protocol::{Method, edge::AssertionKey, issuer::Jwk};
use zeroize::Zeroizing;

use crate::{
    app::App,
    domain::{Scope, Timestamp, UserId},
    random,
    service::{ServiceError, policy::OWN_AUDIENCE},
};

/// Claim `iss` of every assertion.
pub const ISSUER: &str = "tollgate-edge";
/// Lifetime of an assertion in seconds.
const LIFETIME_SECONDS: u32 = 30;
/// Longest lifetime that is believed.
const MAX_LIFETIME_SECONDS: u64 = 60;
/// Skew of clocks that is forgiven, in seconds.
const LEEWAY_SECONDS: u64 = 5;
/// Longest assertion that is read.
const MAX_BYTES: usize = 8192;
/// Name of the seed in the store.
const SECRET_NAME: &str = "assertion-ed25519";

/// The key pair of assertions.
pub struct Assertions {
    seed: Zeroizing<[u8; 32]>,
    public: VerifyingKey,
    kid: String,
}

impl core::fmt::Debug for Assertions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Assertions").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Who calls, as a valid assertion says. There is no other way to make one than [`Assertions::verify`].
#[derive(Debug, Clone)]
pub struct Caller {
    user_id: UserId,
    method: Method,
    scopes: Vec<Scope>,
    impersonated: bool,
    session_id: Option<String>,
    request_id: Option<String>,
}

impl Caller {
    /// The user.
    pub fn user_id(&self) -> &UserId {
        &self.user_id
    }

    /// The kind of credential.
    pub fn method(&self) -> Method {
        self.method
    }

    /// What the credential may do.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whether someone else acts as this user.
    pub fn is_impersonated(&self) -> bool {
        self.impersonated
    }

    /// The session that the credential belongs to.
    pub fn session_id(&self) -> Option<&str> {
        self.session_id.as_deref()
    }

    /// The request in which the assertion came.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// The same caller, in this request.
    pub fn in_request(self, id: Option<String>) -> Self {
        Self { request_id: id, ..self }
    }
}

/// Why an assertion is not believed. For the log; the client learns only that it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionFault {
    /// No JWT of the form that our edges write.
    #[error("malformed")]
    Malformed,
    /// Another algorithm, key name or type.
    #[error("wrong header")]
    Header,
    /// The signature does not hold.
    #[error("bad signature")]
    Signature,
    /// The claims are not those that our edges write.
    #[error("wrong claims")]
    Claims,
    /// Its time is over, has not come, or is too long.
    #[error("out of its time")]
    Time,
    /// Another issuer or audience.
    #[error("not meant for this API")]
    Audience,
}

#[derive(Deserialize)]
struct AssertionClaims {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    exp: u64,
    method: Method,
    #[serde(default)]
    scopes: Vec<String>,
    sid: Option<String>,
    act: Option<IgnoredAny>,
}

impl Assertions {
    /// Takes the key of the store, and makes one where there is none.
    ///
    /// # Errors
    /// The store fails, or there is no randomness.
    pub async fn load(app: &App) -> Result<Self, ServiceError> {
        let seed = app.store.secret_or(SECRET_NAME, &random::seed()?).await?;
        Ok(Self::of_seed(seed))
    }

    /// The key pair of a seed.
    pub fn of_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        let public = SigningKey::from_bytes(&seed).verifying_key();
        let mut kid = URL_SAFE_NO_PAD.encode(Sha256::digest(public.as_bytes()));
        kid.truncate(16);
        Self { seed, public, kid }
    }

    /// What edges sign with.
    pub fn for_edges(&self) -> AssertionKey {
        AssertionKey {
            kid: self.kid.clone(),
            issuer: ISSUER.to_owned(),
            seed: URL_SAFE_NO_PAD.encode(self.seed.as_slice()),
            lifetime_seconds: LIFETIME_SECONDS,
        }
    }

    /// The public key, for backends.
    pub fn public_jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".to_owned(),
            alg: "EdDSA".to_owned(),
            kid: Some(self.kid.clone()),
            crv: Some("Ed25519".to_owned()),
            n: None,
            e: None,
            x: Some(URL_SAFE_NO_PAD.encode(self.public.as_bytes())),
            y: None,
            k: None,
        }
    }

    /// Believes an assertion, or says why not. The payload is read after the signature holds.
    ///
    /// # Errors
    /// [`AssertionFault`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, AssertionFault> {
        if token.len() > MAX_BYTES {
            return Err(AssertionFault::Malformed);
        }
        let parsed = UntrustedToken::new(token).map_err(|_| AssertionFault::Malformed)?;
        let header = parsed.header();
        let typed = header.token_type.as_deref() == Some("JWT");
        if parsed.algorithm() != "EdDSA" || header.key_id.as_deref() != Some(&self.kid) || !typed {
            return Err(AssertionFault::Header);
        }
        let (signed, _) = token.rsplit_once('.').ok_or(AssertionFault::Malformed)?;
        let (_, payload) = signed.split_once('.').ok_or(AssertionFault::Malformed)?;
        let signature = Signature::from_slice(parsed.signature_bytes()).map_err(|_| AssertionFault::Signature)?;
        self.public.verify_strict(signed.as_bytes(), &signature).map_err(|_| AssertionFault::Signature)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| AssertionFault::Malformed)?;
        let claims = serde_json::from_slice(&payload).map_err(|_| AssertionFault::Claims)?;
        check(claims, now.unix_seconds())
    }
}

fn check(claims: AssertionClaims, now: u64) -> Result<Caller, AssertionFault> {
    if claims.iss != ISSUER || claims.aud != OWN_AUDIENCE {
        return Err(AssertionFault::Audience);
    }
    let lifetime = claims.exp.checked_sub(claims.iat).ok_or(AssertionFault::Time)?;
    let over = claims.exp.saturating_add(LEEWAY_SECONDS) <= now;
    let to_come = claims.iat > now.saturating_add(LEEWAY_SECONDS);
    if lifetime > MAX_LIFETIME_SECONDS || over || to_come {
        return Err(AssertionFault::Time);
    }
    let scopes: Option<Vec<Scope>> = claims.scopes.iter().map(|text| Scope::new(text)).collect();
    let scopes = scopes.ok_or(AssertionFault::Claims)?;
    if claims.sub.is_empty() || claims.sub.len() > UserId::MAX_LENGTH {
        return Err(AssertionFault::Claims);
    }
    let user_id = UserId::new(claims.sub);
    Ok(Caller {
        user_id,
        method: claims.method,
        scopes,
        impersonated: claims.act.is_some(),
        session_id: claims.sid,
        request_id: None,
    })
}

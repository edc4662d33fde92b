//! The settings of the older sign-in as an issuer of tokens. Keys are checked here, so that a faulty one stops the start instead of refusing
//! every user later. It must not fetch a key.

use tollgate_protocol::issuer::Jwk;

use super::{Secret, SharedAlgorithm, SignInConfig, Signing, bind::Binder, settings, sign_in::sign_in};
use crate::clerk::{jwks, public_key};

/// Skew of clocks that is forgiven, in seconds.
const LEEWAY_SECONDS: u32 = 5;
/// Algorithms of the older sign-in that take a shared secret.
const SHARED: [&str; 3] = ["HS256", "HS384", "HS512"];
/// Algorithms of the older sign-in that take a public key.
const PUBLIC: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// Whose legacy tokens are believed.
#[derive(Debug, Clone)]
pub struct LegacyConfig {
    /// Exact claim `iss`; absent: the tokens have none.
    pub issuer: Option<String>,
    /// Values of `aud` of which a token needs one; empty: not checked.
    pub audience: Vec<String>,
    /// Clock skew in seconds.
    pub leeway_seconds: u32,
    /// The keys, each with its one algorithm. Keys of our own are not among them.
    pub keys: Vec<Jwk>,
    /// Whether and how users sign in here.
    pub sign_in: Option<SignInConfig>,
}

impl LegacyConfig {
    /// A shared secret.
    ///
    /// # Errors
    /// Says why the algorithm or the secret cannot be used.
    pub fn shared(algorithm: &str, secret: &Secret, issuer: Option<&str>) -> Result<Self, String> {
        let key = shared_key(algorithm, secret)?;
        let signing = SharedAlgorithm::from_word(algorithm).map(|word| Signing::Secret(word, secret.clone()));
        Ok(Self {
            issuer: issuer.map(str::to_owned),
            audience: Vec::new(),
            leeway_seconds: LEEWAY_SECONDS,
            keys: vec![key],
            sign_in: signing.map(SignInConfig::new),
        })
    }
}

pub(super) fn legacy(from: &mut Binder<'_>) -> Option<LegacyConfig> {
    let secret = from.text(&settings::LEGACY_SECRET).map(Secret::new);
    let public = from.text(&settings::LEGACY_PUBLIC_KEY);
    let algorithm = from.parsed(&settings::LEGACY_ALGORITHM, algorithm);
    let issuer = from.text(&settings::LEGACY_ISSUER);
    let audience = from.list(&settings::LEGACY_AUDIENCE);
    let shared = algorithm.zip(secret.as_ref());
    let sign_in = sign_in(from, shared);
    let has_own_key = matches!(sign_in, Some(SignInConfig { signing: Signing::OwnKey, .. }));
    let keys = match (secret, public, algorithm?) {
        (None, None, _) if has_own_key => Vec::new(),
        (None, None, _) => {
            if issuer.is_some() || !audience.is_empty() {
                from.missing(&settings::LEGACY_SECRET, "a legacy issuer needs it, or legacy.public_key");
            }
            return None;
        }
        (Some(_), Some(_), _) => {
            from.value(&settings::LEGACY_PUBLIC_KEY, "is set beside legacy.secret: set one of them");
            return None;
        }
        (Some(secret), None, algorithm) => match shared_key(algorithm, &secret) {
            Ok(key) => vec![key],
            Err(problem) => {
                let setting =
                    if SHARED.contains(&algorithm) { settings::LEGACY_SECRET } else { settings::LEGACY_ALGORITHM };
                from.value(&setting, problem);
                return None;
            }
        },
        (None, Some(text), algorithm) => match public_keys(algorithm, &text) {
            Ok(keys) => keys,
            Err(problem) => {
                from.value(&settings::LEGACY_PUBLIC_KEY, problem);
                return None;
            }
        },
    };
    Some(LegacyConfig { issuer, audience, leeway_seconds: LEEWAY_SECONDS, keys, sign_in })
}

fn algorithm(text: &str) -> Result<&'static str, String> {
    SHARED
        .iter()
        .chain(&PUBLIC)
        .find(|name| **name == text)
        .copied()
        .ok_or_else(|| format!("must be one of {} or {}", SHARED.join(", "), PUBLIC.join(", ")))
}

fn shared_key(algorithm: &str, secret: &Secret) -> Result<Jwk, String> {
    if !SHARED.contains(&algorithm) {
        return Err(format!("must be one of {} with a shared secret", SHARED.join(", ")));
    }
    let least = match algorithm {
        "HS256" => 32,
        "HS384" => 48,
        _ => 64,
    };
    if secret.expose().len() < least {
        return Err(format!(
            "is shorter than the {least} bytes that {algorithm} needs (RFC 7518 section 3.2): whoever has a token could \
             guess it offline, and the edge refuses such a key"
        ));
    }
    Ok(public_key::oct(algorithm, secret.expose().as_bytes()))
}

fn public_keys(algorithm: &'static str, text: &str) -> Result<Vec<Jwk>, String> {
    if !PUBLIC.contains(&algorithm) {
        return Err(format!("needs legacy.algorithm to be one of {}", PUBLIC.join(", ")));
    }
    if text.starts_with('{') {
        return jwks::parse(text.as_bytes(), jwks::Rules::Algorithm(algorithm)).map_err(|fault| fault.to_string());
    }
    public_key::from_pem(text, algorithm).map(|key| vec![key]).map_err(|fault| fault.to_string())
}

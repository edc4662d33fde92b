//! The settings of the token issuers. Keys are checked here, so that a faulty one stops the start instead of refusing
//! every user later. It must not fetch a key.

use std::time::Duration;

use tollgate_protocol::issuer::{Jwk, MissingParty};

use super::{
    Secret, SharedAlgorithm, SignInConfig, Signing,
    bind::{Binder, duration},
    settings,
    sign_in::sign_in,
};
use crate::clerk::{
    jwks, public_key,
    publishable_key::{self, Environment},
    url::JwksUrl,
};

/// Skew of clocks that is forgiven, in seconds: Clerk's own default.
const LEEWAY_SECONDS: u32 = 5;
/// Algorithms of the older sign-in that take a shared secret.
const SHARED: [&str; 3] = ["HS256", "HS384", "HS512"];
/// Algorithms of the older sign-in that take a public key.
const PUBLIC: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// Whose Clerk session tokens are believed.
#[derive(Debug, Clone)]
pub struct ClerkConfig {
    /// Exact claim `iss`.
    pub issuer: String,
    /// Where the keys come from.
    pub keys: ClerkKeys,
    /// Accepted values of `azp`; empty: not checked.
    pub authorized_parties: Vec<String>,
    /// What an absent `azp` means.
    pub missing_party: MissingParty,
    /// Clock skew in seconds.
    pub leeway_seconds: u32,
    /// Clerk's secret key, for its backend API.
    pub secret_key: Option<Secret>,
}

/// Where the keys of Clerk come from.
#[derive(Debug, Clone)]
pub enum ClerkKeys {
    /// One key from the settings; the network is not asked.
    Fixed(Jwk),
    /// The issuer's key set.
    Fetched {
        /// Where it is.
        url: JwksUrl,
        /// How often it is fetched, give or take a tenth.
        refresh: Duration,
        /// Least time between two fetches that unknown keys ask for.
        min_interval: Duration,
    },
}

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

impl ClerkConfig {
    /// An issuer whose keys are fetched from `issuer` + `/.well-known/jwks.json`, with all defaults.
    ///
    /// # Errors
    /// Says why the address may not be fetched from.
    pub fn of_issuer(issuer: &str) -> Result<Self, String> {
        let url = JwksUrl::of_issuer(issuer).map_err(|fault| fault.to_string())?;
        let keys = ClerkKeys::Fetched { url, refresh: Duration::from_secs(300), min_interval: Duration::from_secs(30) };
        Ok(Self {
            issuer: issuer.to_owned(),
            keys,
            authorized_parties: Vec::new(),
            missing_party: MissingParty::default(),
            leeway_seconds: LEEWAY_SECONDS,
            secret_key: None,
        })
    }
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

pub(super) fn clerk(from: &mut Binder<'_>) -> Option<ClerkConfig> {
    let publishable = from.parsed(&settings::CLERK_PUBLISHABLE_KEY, |text| {
        publishable_key::parse(text).map_err(|fault| fault.to_string())
    });
    let named = from.text(&settings::CLERK_ISSUER);
    let issuer = named.or_else(|| publishable.as_ref().map(|key| key.issuer()));
    let jwks_url =
        from.parsed(&settings::CLERK_JWKS_URL, |text| JwksUrl::parse(text).map_err(|fault| fault.to_string()));
    let jwt_key = from
        .parsed(&settings::CLERK_JWT_KEY, |text| public_key::rsa_for_clerk(text).map_err(|fault| fault.to_string()));
    let authorized_parties = from.list(&settings::CLERK_AUTHORIZED_PARTIES);
    let missing_party = from.parsed(&settings::CLERK_MISSING_PARTY, missing_party).unwrap_or_default();
    let refresh = from.parsed(&settings::CLERK_JWKS_REFRESH, duration);
    let min_interval = from.parsed(&settings::CLERK_JWKS_MIN_INTERVAL, duration);
    let secret_key = from.text(&settings::CLERK_SECRET_KEY).map(Secret::new);
    check_secret_key(from, secret_key.as_ref(), publishable.as_ref().map(|key| key.environment));

    let Some(issuer) = issuer else {
        let needs_issuer = jwks_url.is_some() || jwt_key.is_some() || !authorized_parties.is_empty();
        if needs_issuer && from.text(&settings::CLERK_PUBLISHABLE_KEY).is_none() {
            from.missing(&settings::CLERK_PUBLISHABLE_KEY, "other settings of Clerk need it, or clerk.issuer");
        }
        return None;
    };
    let url = match jwks_url {
        Some(url) => Some(url),
        None if jwt_key.is_some() => None,
        None => match JwksUrl::of_issuer(&issuer) {
            Ok(url) => Some(url),
            Err(fault) => {
                from.value(&settings::CLERK_ISSUER, fault.to_string());
                None
            }
        },
    };
    let keys = match (jwt_key, url) {
        (Some(key), _) => ClerkKeys::Fixed(key),
        (None, Some(url)) => ClerkKeys::Fetched { url, refresh: refresh?, min_interval: min_interval? },
        (None, None) => return None,
    };
    Some(ClerkConfig { issuer, keys, authorized_parties, missing_party, leeway_seconds: LEEWAY_SECONDS, secret_key })
}

fn check_secret_key(from: &mut Binder<'_>, secret: Option<&Secret>, publishable: Option<Environment>) {
    let Some(secret) = secret else { return };
    let environment = match secret.expose() {
        text if text.starts_with("sk_live_") => Environment::Production,
        text if text.starts_with("sk_test_") => Environment::Development,
        _ => return from.value(&settings::CLERK_SECRET_KEY, "must begin with sk_live_ or sk_test_"),
    };
    if publishable.is_some_and(|publishable| publishable != environment) {
        from.value(&settings::CLERK_SECRET_KEY, "is of another Clerk instance (live or test) than the publishable key");
    }
}

fn missing_party(text: &str) -> Result<MissingParty, String> {
    match text {
        "refuse" => Ok(MissingParty::Refuse),
        "accept_from_header" => Ok(MissingParty::AcceptFromHeader),
        "accept" => Ok(MissingParty::Accept),
        _ => Err("must be refuse, accept_from_header or accept".to_owned()),
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

//! The settings of the older sign-in: who signs its tokens, how long they live, what a password costs, how many attempts
//! are let through. It must not hash or sign anything.

use std::time::Duration;

use super::{
    Secret,
    bind::{Binder, lifetime},
    settings,
};

/// How the older sign-in works.
#[derive(Debug, Clone)]
pub struct SignInConfig {
    /// Who signs new tokens.
    pub signing: Signing,
    /// Lifetime of an access token.
    pub access: Duration,
    /// Lifetime of a refresh token that is not used.
    pub refresh: Duration,
    /// What a password costs.
    pub cost: PasswordCost,
    /// How many passwords are looked at in one moment.
    pub password_slots: usize,
    /// Attempts for one account that fail.
    pub per_account: AttemptLimit,
    /// Attempts from one address that fail.
    pub per_address: AttemptLimit,
    /// How many proxies of ours stand before the control plane and append to `x-forwarded-for`.
    pub trusted_hops: usize,
}

/// Who signs new tokens of the older sign-in.
#[derive(Debug, Clone)]
pub enum Signing {
    /// The secret that is shared with the older system, with this algorithm.
    Secret(SharedAlgorithm, Secret),
    /// An Ed25519 key of our own, kept in the store and published.
    OwnKey,
}

/// An algorithm with a shared secret (RFC 7518 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharedAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

impl SharedAlgorithm {
    /// The word in a token's header.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// The algorithm of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Hs256, Self::Hs384, Self::Hs512].into_iter().find(|one| one.as_str() == word)
    }
}

/// Parameters of Argon2id (RFC 9106). The default is what OWASP's password storage cheat sheet asks for at least: two
/// cores carry about 80 of them in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PasswordCost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 }
    }
}

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptLimit {
    /// How many.
    pub most: u32,
    /// In how many seconds.
    pub seconds: u32,
}

impl SignInConfig {
    /// All defaults.
    pub fn new(signing: Signing) -> Self {
        Self {
            signing,
            access: Duration::from_secs(15 * 60),
            refresh: Duration::from_secs(30 * 24 * 3600),
            cost: PasswordCost::default(),
            password_slots: 2,
            per_account: AttemptLimit { most: 20, seconds: 900 },
            per_address: AttemptLimit { most: 200, seconds: 900 },
            trusted_hops: 1,
        }
    }
}

/// Reads the settings. `secret`: the shared secret and its algorithm, where the older system has one.
pub(super) fn sign_in(from: &mut Binder<'_>, secret: Option<(&str, &Secret)>) -> Option<SignInConfig> {
    let shared = secret.and_then(|(word, secret)| Some((SharedAlgorithm::from_word(word)?, secret.clone())));
    let signing = match (from.text(&settings::LEGACY_SIGNING).as_deref(), shared) {
        (None, None) | (Some("off"), _) => None,
        (None | Some("secret"), Some((algorithm, secret))) => Some(Signing::Secret(algorithm, secret)),
        (Some("own_key"), _) => Some(Signing::OwnKey),
        (Some("secret"), None) => {
            from.value(&settings::LEGACY_SIGNING, "is secret, which needs legacy.secret");
            None
        }
        (Some(_), _) => {
            from.value(&settings::LEGACY_SIGNING, "must be secret, own_key or off");
            None
        }
    };
    // All of them are read before any may be found missing: every fault is told.
    let access = from.parsed(&settings::ACCESS_LIFETIME, |text| lifetime(text, 24 * 3600));
    let refresh = from.parsed(&settings::REFRESH_LIFETIME, |text| lifetime(text, 400 * 24 * 3600));
    let cost = password_cost(from);
    let password_slots = from.parsed(&settings::PASSWORD_SLOTS, |text| number(text, 1, 256));
    let per_account = from.parsed(&settings::ACCOUNT_ATTEMPTS, attempts);
    let per_address = from.parsed(&settings::ADDRESS_ATTEMPTS, attempts);
    let trusted_hops = from.parsed(&settings::TRUSTED_HOPS, |text| number(text, 1, 16));
    Some(SignInConfig {
        signing: signing?,
        access: access?,
        refresh: refresh?,
        cost: cost?,
        password_slots: usize::try_from(password_slots?).ok()?,
        per_account: per_account?,
        per_address: per_address?,
        trusted_hops: usize::try_from(trusted_hops?).ok()?,
    })
}

/// Reads what a new password costs.
pub(super) fn password_cost(from: &mut Binder<'_>) -> Option<PasswordCost> {
    let memory_kib = from.parsed(&settings::PASSWORD_MEMORY, |text| number(text, 8, 1 << 20));
    let passes = from.parsed(&settings::PASSWORD_PASSES, |text| number(text, 1, 100));
    let lanes = from.parsed(&settings::PASSWORD_LANES, |text| number(text, 1, 16));
    let cost = PasswordCost { memory_kib: memory_kib?, passes: passes?, lanes: lanes? };
    if cost.memory_kib < cost.lanes.saturating_mul(8) {
        from.value(&settings::PASSWORD_MEMORY, "must be at least 8 for each lane (RFC 9106 section 3.1)");
    }
    Some(cost)
}

fn number(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number: Option<u32> = text.parse().ok();
    number.filter(|number| (least..=most).contains(number)).ok_or_else(|| format!("must be between {least} and {most}"))
}

/// `20/15m`.
fn attempts(text: &str) -> Result<AttemptLimit, String> {
    let problem = || "must be a number of attempts and a time, such as 20/15m".to_owned();
    let (most, time) = text.split_once('/').ok_or_else(problem)?;
    let most = number(most.trim(), 1, 1_000_000)?;
    let seconds = lifetime(time.trim(), 24 * 3600)?.as_secs();
    Ok(AttemptLimit { most, seconds: u32::try_from(seconds).map_err(|_| problem())? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_a_number_and_a_time() {
        assert_eq!(attempts("20/15m"), Ok(AttemptLimit { most: 20, seconds: 900 }));
        assert_eq!(attempts("1 / 1s"), Ok(AttemptLimit { most: 1, seconds: 1 }));
        for bad in ["", "20", "/15m", "0/1m", "x/1m", "1/0s", "1/2d", "1/500ms", "-1/1m"] {
            assert!(attempts(bad).is_err(), "{bad}");
        }
    }
}

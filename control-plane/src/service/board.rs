//! The settings that edges get, as they stand now: issuers with their keys, policy, assertion key. Each state has a
//! digest, which an Envoy hands back with its place in the feed: whoever has another one gets the settings. It must not
//! know who asks.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tollgate_protocol::{
    edge::Settings,
    issuer::{IssuerKind, Jwk},
    policy::Policy,
};

/// The settings and their digest.
#[derive(Debug, Clone)]
pub struct Posted {
    /// What an edge gets.
    pub settings: Arc<Settings>,
    /// Names this state of them.
    pub digest: u64,
}

/// The settings, shared.
#[derive(Debug, Clone)]
pub struct Board {
    posted: Arc<watch::Sender<Posted>>,
}

impl Board {
    /// Begins with these settings.
    pub fn new(settings: Settings) -> Self {
        let digest = digest(&settings);
        Self { posted: Arc::new(watch::Sender::new(Posted { settings: Arc::new(settings), digest })) }
    }

    /// The settings now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.posted.borrow().settings)
    }

    /// The settings as they stand, and a way to hear of changes.
    pub fn watch(&self) -> watch::Receiver<Posted> {
        self.posted.subscribe()
    }

    /// Puts a new policy in place of the former one.
    pub fn set_policy(&self, policy: Policy) {
        self.change(|settings| {
            let differs = settings.policy != policy;
            settings.policy = policy;
            differs
        });
    }

    /// Whether an issuer's keys are other ones than these.
    pub fn has_other_keys(&self, issuer: &str, keys: &[Jwk]) -> bool {
        let settings = self.settings();
        settings.issuers.iter().any(|one| one.issuer.as_deref() == Some(issuer) && one.keys != keys)
    }

    /// Puts a new key set of one issuer in place of the former one. Says whether it differs.
    pub fn set_keys(&self, issuer: &str, keys: &[Jwk]) -> bool {
        self.change(|settings| {
            let mut differs = false;
            for one in settings.issuers.iter_mut().filter(|one| one.issuer.as_deref() == Some(issuer)) {
                differs |= one.keys != keys;
                one.keys = keys.to_vec();
            }
            differs
        })
    }

    /// Puts a new key set of the older sign-in in place of the former one. Says whether it differs.
    pub fn set_legacy_keys(&self, keys: &[Jwk]) -> bool {
        self.change(|settings| {
            let mut differs = false;
            for one in settings.issuers.iter_mut().filter(|one| one.kind == IssuerKind::Legacy) {
                differs |= one.keys != keys;
                one.keys = keys.to_vec();
            }
            differs
        })
    }

    fn change(&self, change: impl FnOnce(&mut Settings) -> bool) -> bool {
        self.posted.send_if_modified(|current| {
            let mut next = Settings::clone(&current.settings);
            let differs = change(&mut next);
            if differs {
                *current = Posted { digest: digest(&next), settings: Arc::new(next) };
            }
            differs
        })
    }
}

/// The first eight bytes of the SHA-256 of the settings: equal settings have equal digests, in every process.
fn digest(settings: &Settings) -> u64 {
    // Settings are plain data and always serialize; if they did not, every digest would be that of nothing.
    let json = serde_json::to_vec(settings).unwrap_or_default();
    let hash: [u8; 32] = Sha256::digest(&json).into();
    hash.iter().take(8).fold(0, |digest, byte| (digest << 8) | u64::from(*byte))
}

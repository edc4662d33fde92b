//! The settings that edges get, as they stand now: issuers with their keys, policy, assertion key. Changes are announced
//! in the feed, so that every Envoy hears of them, and so that a restart with the same settings announces nothing.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tollgate_protocol::{edge::Settings, issuer::Jwk, policy::Policy};

use crate::{app::App, domain::Happening, store::StoreError};

/// The settings, shared.
#[derive(Debug, Clone)]
pub struct Board {
    settings: Arc<watch::Sender<Arc<Settings>>>,
}

impl Board {
    /// Begins with these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(watch::Sender::new(Arc::new(settings))) }
    }

    /// The settings now.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Puts a new policy in place of the former one.
    pub fn set_policy(&self, policy: Policy) {
        self.change(|settings| {
            let differs = settings.policy != policy;
            settings.policy = policy;
            differs
        });
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

    fn change(&self, change: impl FnOnce(&mut Settings) -> bool) -> bool {
        self.settings.send_if_modified(|current| {
            let mut next = Settings::clone(current);
            let differs = change(&mut next);
            if differs {
                *current = Arc::new(next);
            }
            differs
        })
    }

    /// Announces the settings if they are not those that were announced last.
    ///
    /// # Errors
    /// The store fails.
    pub async fn announce(&self, app: &App) -> Result<(), StoreError> {
        let digest = digest(&self.settings());
        if app.store.announced_settings().await?.as_deref() == Some(&digest) {
            return Ok(());
        }
        app.store.append(&Happening::Settings { digest }, app.clock.now()).await
    }

    /// Announces every change, for as long as it is not stopped. A store that is away is tried again.
    pub async fn keep_announcing(self, app: App) {
        let mut changes = self.settings.subscribe();
        loop {
            changes.mark_unchanged();
            while let Err(error) = self.announce(&app).await {
                tracing::warn!(%error, "cannot announce the settings yet");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// What stands for the settings in the feed. The assertion seed in it (256 random bits) keeps anyone from guessing the
/// other secrets by their digest.
fn digest(settings: &Settings) -> String {
    let bytes = serde_json::to_vec(settings).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

//! The key of our own that signs the older sign-in's tokens, and its rotation. What is kept of the keys in a document is
//! their numbers and times; their seeds are secrets of the store. A new key is published before it signs, and an old one
//! is published until its last token is over, so that a rotation refuses nobody. It must not know what is signed.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tollgate_protocol::issuer::Jwk;

use crate::{
    app::App,
    domain::Timestamp,
    random,
    service::{ServiceError, board::Board},
    store::{KeptKeySet, StoreError},
};

/// Under which name the document is kept among the key sets. No issuer is called so: issuers of keys are URLs.
const DOCUMENT: &str = "tollgate:sign-in";
/// How long a key is published before it signs, in seconds: every control plane has read it by then, and every edge
/// has it.
const SPREAD_SECONDS: i64 = 15;
/// How often each control plane looks for keys that another has made.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// What edges forgive about clocks, and some: a key is published so long after its last token is over, in seconds.
const MARGIN_SECONDS: i64 = 60;

/// What is kept of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    number: u32,
    made_at: i64,
}

impl Kept {
    /// From when on it signs, if another signed before it.
    fn signs_from(self) -> Timestamp {
        Timestamp::from_millis(self.made_at).plus_seconds(SPREAD_SECONDS)
    }
}

/// The keys that are still needed, oldest first: the one that signs at `now`, those that come after it, and those
/// before it whose tokens may still be good.
fn needed(keys: &[Kept], now: Timestamp, lifetime_seconds: i64) -> Vec<Kept> {
    let is_needed = |place: usize| match keys.get(place.saturating_add(1)) {
        None => true,
        Some(next) => now < next.signs_from().plus_seconds(lifetime_seconds).plus_seconds(MARGIN_SECONDS),
    };
    keys.iter().enumerate().filter(|(place, _)| is_needed(*place)).map(|(_, key)| *key).collect()
}

/// The key that signs at `now`: the newest that is old enough, or the first.
fn signer(keys: &[Kept], now: Timestamp) -> Option<Kept> {
    keys.iter().rev().find(|key| key.signs_from() <= now).or(keys.first()).copied()
}

/// A key pair.
#[derive(Clone)]
struct Pair {
    kept: Kept,
    key: SigningKey,
    kid: String,
}

impl Pair {
    fn public_jwk(&self) -> Jwk {
        Jwk {
            kty: "OKP".to_owned(),
            alg: "EdDSA".to_owned(),
            kid: Some(self.kid.clone()),
            crv: Some("Ed25519".to_owned()),
            n: None,
            e: None,
            x: Some(URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes())),
            y: None,
            k: None,
        }
    }
}

/// Keys of our own, as this process knows them.
#[derive(Clone)]
pub struct OwnKeys {
    pairs: Arc<watch::Sender<Vec<Pair>>>,
    lifetime_seconds: i64,
}

impl core::fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.pairs.borrow().iter().map(|pair| &pair.kid)).finish()
    }
}

impl OwnKeys {
    /// Takes the keys of the store, and makes one where there is none. `lifetime`: of a token.
    ///
    /// # Errors
    /// The store fails, or there is no randomness.
    pub async fn load(app: &App, lifetime: Duration) -> Result<Self, ServiceError> {
        let lifetime_seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut kept = read(app).await?;
        if kept.is_empty() {
            kept = vec![Kept { number: 1, made_at: app.clock.now().millis() }];
            write(app, &kept).await?;
        }
        let pairs = pairs(app, &kept).await?;
        Ok(Self { pairs: Arc::new(watch::Sender::new(pairs)), lifetime_seconds })
    }

    /// The public keys that are still needed.
    pub fn public(&self, now: Timestamp) -> Vec<Jwk> {
        let pairs = self.pairs.borrow();
        let kept: Vec<Kept> = pairs.iter().map(|pair| pair.kept).collect();
        let needed = needed(&kept, now, self.lifetime_seconds);
        pairs.iter().filter(|pair| needed.contains(&pair.kept)).map(Pair::public_jwk).collect()
    }

    /// Signs with the key that signs now. `text` gets the key's name and gives what is signed; returned are that and the
    /// signature (RFC 8032), base64url.
    pub(super) fn sign(&self, now: Timestamp, text: impl FnOnce(&str) -> String) -> Option<(String, String)> {
        let pairs = self.pairs.borrow();
        let kept: Vec<Kept> = pairs.iter().map(|pair| pair.kept).collect();
        let signer = signer(&kept, now)?;
        let pair = pairs.iter().find(|pair| pair.kept == signer)?;
        let text = text(&pair.kid);
        let signature = URL_SAFE_NO_PAD.encode(pair.key.sign(text.as_bytes()).to_bytes());
        Some((text, signature))
    }

    /// Keeps up with rotations, whichever process makes them, and keeps edges' keys so. `others`: keys of the older
    /// system.
    pub async fn keep_current(self, app: App, board: Board, others: Vec<Jwk>) {
        loop {
            if let Err(error) = self.look(&app).await {
                tracing::warn!(%error, "cannot look for newer signing keys; those that are known go on");
            }
            let mut keys = others.clone();
            keys.extend(self.public(app.clock.now()));
            if board.set_legacy_keys(&keys) {
                let kids: Vec<&str> = keys.iter().filter_map(|key| key.kid.as_deref()).collect();
                tracing::info!(?kids, "signing keys of the older sign-in changed");
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn look(&self, app: &App) -> Result<(), ServiceError> {
        let kept = read(app).await?;
        let known: Vec<Kept> = self.pairs.borrow().iter().map(|pair| pair.kept).collect();
        if !kept.is_empty() && kept != known {
            let pairs = pairs(app, &kept).await?;
            self.pairs.send_replace(pairs);
        }
        Ok(())
    }
}

/// Makes a new signing key, which signs from 15 seconds on; the former one is published until its last token is over.
/// `lifetime`: of a token. Says the name of the new key.
///
/// # Errors
/// The store fails, or there is no randomness.
pub async fn rotate(app: &App, lifetime: Duration) -> Result<String, ServiceError> {
    let now = app.clock.now();
    let mut kept = needed(&read(app).await?, now, i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX));
    let number = kept.last().map_or(1, |last| last.number.saturating_add(1));
    let new = Kept { number, made_at: now.millis() };
    let pair = pair(app, new).await?;
    kept.push(new);
    // Of two rotations at once both take the same number, and so the same seed: one of the times is kept.
    write(app, &kept).await?;
    Ok(pair.kid)
}

async fn read(app: &App) -> Result<Vec<Kept>, ServiceError> {
    let Some(kept) = app.store.key_set(DOCUMENT).await? else { return Ok(Vec::new()) };
    Ok(serde_json::from_str(&kept.document).map_err(|error| StoreError::Corrupt(error.to_string()))?)
}

async fn write(app: &App, kept: &[Kept]) -> Result<(), ServiceError> {
    let document = serde_json::to_string(kept).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(app.store.keep_key_set(DOCUMENT, &KeptKeySet { document, fetched_at: app.clock.now() }).await?)
}

async fn pairs(app: &App, kept: &[Kept]) -> Result<Vec<Pair>, ServiceError> {
    let mut all = Vec::with_capacity(kept.len());
    for kept in kept {
        all.push(pair(app, *kept).await?);
    }
    Ok(all)
}

async fn pair(app: &App, kept: Kept) -> Result<Pair, ServiceError> {
    let name = format!("sign-in-ed25519-{}", kept.number);
    let seed = app.store.secret_or(&name, &random::seed()?).await?;
    let key = SigningKey::from_bytes(&seed);
    let mut kid = URL_SAFE_NO_PAD.encode(Sha256::digest(key.verifying_key().as_bytes()));
    kid.truncate(16);
    Ok(Pair { kept, key, kid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_published_before_it_signs_and_until_its_last_token_is_over() {
        let key = |number, seconds: i64| Kept { number, made_at: seconds * 1000 };
        let keys = [key(1, 0), key(2, 1000), key(3, 5000)];
        let lifetime = 900;
        for (at, expect_signer, expect_needed) in [
            (1000, 1, &[1, 2, 3][..]),
            (1014, 1, &[1, 2, 3]),
            (1015, 2, &[1, 2, 3]),
            (1015 + 900 + 59, 2, &[1, 2, 3]),
            (1015 + 900 + 60, 2, &[2, 3]),
            (5014, 2, &[2, 3]),
            (5015, 3, &[2, 3]),
            (5015 + 960, 3, &[3]),
        ] {
            let now = Timestamp::from_seconds(at);
            assert_eq!(signer(&keys, now).map(|key| key.number), Some(expect_signer), "{at}");
            let needed: Vec<u32> = needed(&keys, now, lifetime).iter().map(|key| key.number).collect();
            assert_eq!(needed, expect_needed, "{at}");
        }
        assert_eq!(signer(&keys[..1], Timestamp::from_seconds(0)), Some(keys[0]), "the first signs at once");
        assert_eq!(signer(&[], Timestamp::from_seconds(0)), None);
    }
}

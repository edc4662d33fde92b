//! Keeps the key sets of issuers fresh: fetched at once, every few minutes, and when a token names an unknown key. A bad
//! answer never replaces a good set, and the last good one survives a restart. Nothing here verifies a token.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tollgate_protocol::issuer::Jwk;

use super::board::Board;
use crate::{
    app::App,
    clerk::{
        fetch::{FetchFault, Fetcher},
        jwks::{self, JwksFault, Rules},
        url::JwksUrl,
    },
    domain::Timestamp,
    metrics::Metrics,
    random,
    store::{KeptKeySet, StoreError},
};

/// How often the kept set's time is written anew while the keys stay the same.
const KEEP_AGAIN_SECONDS: i64 = 300;
/// How long new keys wait until they are kept.
const KEEP_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the kept sets are looked at, for another process may have fetched newer ones.
const KEEP_UP: Duration = Duration::from_secs(3);
/// First wait after a failed fetch; it doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(250);
/// Longest wait after a failed fetch.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// One issuer whose keys are fetched.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Claim `iss`.
    pub issuer: String,
    /// Where its key set is.
    pub url: JwksUrl,
    /// How often it is fetched, give or take a tenth.
    pub refresh: Duration,
    /// Least time between two fetches that unknown keys ask for.
    pub min_interval: Duration,
}

/// How an issuer's key set stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// When it was last good; `None`: there is none.
    pub good_at: Option<Timestamp>,
    /// A fetch has ended since the start, well or badly.
    pub tried: bool,
}

struct Watched {
    config: Fetched,
    asked: Notify,
    standing: watch::Sender<Standing>,
}

/// The issuers whose keys are fetched.
#[derive(Clone)]
pub struct KeySets {
    issuers: Arc<BTreeMap<String, Watched>>,
}

impl core::fmt::Debug for KeySets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.issuers.keys()).finish()
    }
}

/// Why a fetch left everything as it was.
#[derive(Debug, thiserror::Error)]
enum RefreshFault {
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    #[error(transparent)]
    Document(#[from] JwksFault),
}

impl KeySets {
    /// Begins with the last good sets of the store.
    ///
    /// # Errors
    /// The store fails.
    pub async fn load(app: &App, board: &Board, issuers: Vec<Fetched>) -> Result<Self, StoreError> {
        let mut watched = BTreeMap::new();
        for config in issuers {
            let mut standing = Standing::default();
            if let Some(kept) = app.store.key_set(&config.issuer).await? {
                match read(&kept) {
                    Ok(keys) => {
                        board.set_keys(&config.issuer, &keys);
                        standing.good_at = Some(kept.fetched_at);
                    }
                    Err(error) => tracing::warn!(issuer = config.issuer, %error, "the kept key set cannot be read"),
                }
            }
            let entry = Watched { asked: Notify::new(), standing: watch::Sender::new(standing), config };
            watched.insert(entry.config.issuer.clone(), entry);
        }
        Ok(Self { issuers: Arc::new(watched) })
    }

    /// Asks for a fetch of an issuer's set. Many askers make one fetch; unknown issuers are nobody's business.
    pub fn ask(&self, issuer: &str) {
        if let Some(watched) = self.issuers.get(issuer) {
            watched.asked.notify_one();
        }
    }

    /// How each issuer's set stands.
    pub fn standings(&self) -> impl Iterator<Item = (&str, Standing)> {
        self.issuers.iter().map(|(issuer, watched)| (issuer.as_str(), *watched.standing.borrow()))
    }

    /// Waits until each issuer has a set or has been tried: the first settings should not lack keys that are a moment away.
    pub async fn first_round(&self) {
        for watched in self.issuers.values() {
            let mut standing = watched.standing.subscribe();
            // The sender lives as long as `self`, so this never fails.
            let _ = standing.wait_for(|standing| standing.tried || standing.good_at.is_some()).await;
        }
    }

    /// The names of the issuers, for [`Self::keep_fresh`].
    pub fn issuers(&self) -> Vec<String> {
        self.issuers.keys().cloned().collect()
    }

    /// Takes over key sets that another process has fetched later than this one. A store that is away costs the look.
    pub async fn take_over(&self, app: &App, board: &Board) {
        for watched in self.issuers.values() {
            if let Err(error) = watched.take_over(app, board).await {
                tracing::debug!(issuer = watched.config.issuer, %error, "no look at the kept key set");
            }
        }
    }

    /// Does so every few seconds, for as long as it is not stopped.
    pub async fn keep_up(self, app: App, board: Board) {
        loop {
            tokio::time::sleep(KEEP_UP.mul_f64(random::jitter())).await;
            self.take_over(&app, &board).await;
        }
    }

    /// Keeps one issuer's set fresh, for as long as it is not stopped.
    pub async fn keep_fresh(self, issuer: String, app: App, board: Board, fetcher: Fetcher, metrics: Metrics) {
        let Some(watched) = self.issuers.get(&issuer) else { return };
        let mut retry = FIRST_RETRY;
        let mut next_asked: Option<Instant> = None;
        loop {
            let outcome = watched.refresh(&app, &board, &fetcher).await;
            let word = if outcome.is_ok() { "good" } else { "bad" };
            metrics.fetches.with_label_values(&[&issuer, word]).inc();
            let wait = match outcome {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    watched.config.refresh.mul_f64(random::jitter())
                }
                Err(fault) => {
                    tracing::warn!(issuer, url = %watched.config.url, %fault, "key set not fetched, the last good one goes on");
                    let wait = retry.mul_f64(random::jitter());
                    retry = retry.saturating_mul(2).min(LONGEST_RETRY);
                    wait.min(watched.config.refresh)
                }
            };
            watched.standing.send_modify(|standing| standing.tried = true);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = watched.asked.notified() => {
                    // The first to ask is served at once, the next ones together when the interval is over.
                    if let Some(next) = next_asked {
                        tokio::time::sleep_until(next.min(Instant::now() + wait)).await;
                    }
                    next_asked = Some(Instant::now() + watched.config.min_interval);
                }
            }
        }
    }
}

fn read(kept: &KeptKeySet) -> Result<Vec<Jwk>, StoreError> {
    serde_json::from_str(&kept.document).map_err(|error| StoreError::Corrupt(error.to_string()))
}

impl Watched {
    async fn take_over(&self, app: &App, board: &Board) -> Result<(), StoreError> {
        let issuer = &self.config.issuer;
        let Some(kept) = app.store.key_set(issuer).await? else { return Ok(()) };
        if self.standing.borrow().good_at.is_some_and(|good_at| good_at >= kept.fetched_at) {
            return Ok(());
        }
        let keys = read(&kept)?;
        // Asked again at the very change, for this process may have fetched a newer one meanwhile.
        self.standing.send_if_modified(|standing| {
            let newer = standing.good_at.is_none_or(|good_at| good_at < kept.fetched_at);
            if newer {
                standing.good_at = Some(kept.fetched_at);
                if board.set_keys(issuer, &keys) {
                    tracing::info!(issuer, "new key set, from another process");
                }
            }
            newer
        });
        Ok(())
    }

    async fn refresh(&self, app: &App, board: &Board, fetcher: &Fetcher) -> Result<(), RefreshFault> {
        let document = fetcher.fetch(&self.config.url).await?;
        let keys = jwks::parse(&document, Rules::Clerk)?;
        let now = app.clock.now();
        let issuer = &self.config.issuer;
        let kept_at = self.standing.borrow().good_at;
        let differs = board.has_other_keys(issuer, &keys);
        if differs {
            let kids: Vec<&str> = keys.iter().filter_map(|key| key.kid.as_deref()).collect();
            tracing::info!(issuer, ?kids, "new key set");
        }
        let due = kept_at.is_none_or(|at| at.plus_seconds(KEEP_AGAIN_SECONDS) <= now);
        if differs || due {
            // Before any edge hears of them: one that goes over to another process finds them there, too.
            let _ = tokio::time::timeout(KEEP_TIMEOUT, self.keep(app, &keys, now)).await;
        }
        self.standing.send_modify(|standing| {
            standing.good_at = standing.good_at.max(Some(now));
            board.set_keys(issuer, &keys);
        });
        Ok(())
    }

    /// A store that is away costs the copy, not the keys in use; the next fetch tries again.
    async fn keep(&self, app: &App, keys: &[Jwk], now: Timestamp) {
        let kept = match serde_json::to_string(keys) {
            Ok(document) => {
                app.store.keep_key_set(&self.config.issuer, &KeptKeySet { document, fetched_at: now }).await
            }
            Err(error) => Err(StoreError::Corrupt(error.to_string())),
        };
        if let Err(error) = kept {
            tracing::warn!(issuer = self.config.issuer, %error, "the key set could not be kept");
        }
    }
}

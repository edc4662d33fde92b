//! What an Envoy is told: settings when they changed, users and keys that it must look at anew, and when to ask again.
//! Thousands of Envoys hear of one change at one moment, so what they are told is read and written down once for all who
//! stand at the same place. It must not know HTTP.

mod fresh;
mod once;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tollgate_protocol::{
    Code, Cursor,
    edge::{Change, SYNC_HOLD_SECONDS, SyncAnswer},
};

use self::{fresh::Fresh, once::Once};
use crate::{
    app::App,
    domain::{FeedEntry, Happening, Timestamp},
    metrics::Metrics,
    random,
    service::{
        board::{Board, Posted},
        key_sets::KeySets,
        webhooks,
    },
    store::{FeedPage, StoreError},
};

/// Most changes of one answer.
const PAGE: usize = 5_000;
/// How long the very first settings wait for key sets that are being fetched.
const FIRST_KEYS_WAIT: Duration = Duration::from_secs(2);
/// How long the feed remembers.
const KEEP_SECONDS: i64 = 24 * 3600;
/// How many entries it remembers in any case.
const KEEP_ENTRIES: u64 = 10_000;
/// How often the rest is forgotten.
const PRUNE_INTERVAL: Duration = Duration::from_secs(600);

/// The feed and what its answers are made of.
#[derive(Debug, Clone)]
pub struct Feed {
    app: App,
    board: Board,
    key_sets: KeySets,
    stopping: watch::Receiver<bool>,
    metrics: Metrics,
    made: Arc<Made>,
}

/// What was made last for Envoys, for the next ones who need the same. `newest` is the number that the store's news had
/// before the store was read: who has seen no later number than that misses nothing by an older reading.
#[derive(Debug, Default)]
struct Made {
    /// Pages by cursor and `newest`.
    pages: Once<(Cursor, u64), Arc<FeedPage>>,
    /// Answers with news by the first number that they tell, their cursor, and whether settings are in them: those who
    /// stand at different places before the same changes are told the same.
    news: Once<(Option<u64>, Cursor, bool), Told>,
    /// The newest place, for who knows none: at least as new as their question, whatever the news say by then.
    heads: Fresh<Cursor>,
    /// Answers with everything, by the newest place and the digest of the settings.
    resets: Once<(Cursor, u64), Told>,
}

/// An answer to `sync` as it is sent: a [`SyncAnswer`] in JSON.
#[derive(Debug, Clone)]
pub struct Told {
    /// The JSON.
    pub json: Arc<[u8]>,
    /// Where an Envoy stands that was given everything; `None` where it was not.
    pub reset: Option<Cursor>,
}

impl Told {
    fn new(answer: &SyncAnswer) -> Result<Self, StoreError> {
        let json = serde_json::to_vec(answer).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(Self { json: json.into(), reset: answer.reset.then(|| answer.cursor.clone()) })
    }
}

/// How long a poll is held: a little less than it may be, and each one another time. Thousands of Envoys that have come back at
/// one moment, or were told the same change, would else all ask again in the same second, for ever.
fn hold() -> Duration {
    Duration::from_secs(SYNC_HOLD_SECONDS).div_f64(1.1).mul_f64(random::jitter())
}

impl Feed {
    /// Puts the parts together. `stopping` becomes true when the server is to stop.
    pub fn new(app: App, board: Board, key_sets: KeySets, stopping: watch::Receiver<bool>, metrics: Metrics) -> Self {
        Self { app, board, key_sets, stopping, metrics, made: Arc::default() }
    }

    /// Answers one `sync`: at once when there is news, else when there is some, or when it has been held long enough.
    ///
    /// # Errors
    /// The store fails.
    pub async fn sync(&self, cursor: Option<Cursor>) -> Result<Told, StoreError> {
        let hold = tokio::time::sleep(hold());
        tokio::pin!(hold);
        let mut stopping = self.stopping.clone();
        let mut news = self.app.store.news();
        let mut board = self.board.watch();
        // Other settings than ours: perhaps another process has newer keys, which it keeps in the store.
        if cursor.as_ref().and_then(|cursor| cursor.settings) != Some(board.borrow().digest) {
            self.key_sets.take_over(&self.app, &self.board).await;
        }
        let Some(mut cursor) = cursor else {
            return self.reset().await;
        };
        let mut waited = false;
        loop {
            // Marked as seen before the feed is read, so that what comes in between ends the wait.
            let newest = *news.borrow_and_update();
            let posted = board.borrow_and_update().clone();
            let told = cursor.settings;
            match &*self.page(&cursor, newest).await? {
                FeedPage::Lost(_) => return self.reset().await,
                FeedPage::Entries(entries, place) if entries.is_empty() && told == Some(posted.digest) => {
                    cursor = Cursor { settings: told, ..place.clone() };
                }
                FeedPage::Entries(entries, place) => {
                    if waited {
                        self.measure_lag(entries);
                    }
                    let cursor = Cursor { settings: Some(posted.digest), ..place.clone() };
                    let with_settings = told != cursor.settings;
                    let key = (entries.first().map(|entry| entry.seq), cursor.clone(), with_settings);
                    let settings = with_settings.then_some(&posted);
                    return self.made.news.get(key, || async { Told::new(&answer(entries, cursor, settings)) }).await;
                }
            }
            let idle = SyncAnswer {
                cursor: cursor.clone(),
                reset: false,
                settings: None,
                changes: Vec::new(),
                revocations: Vec::new(),
            };
            let is_news = tokio::select! {
                () = &mut hold => false,
                // An error says that the server is gone: no more to wait for either way.
                _ = stopping.wait_for(|stopping| *stopping) => false,
                changed = news.changed() => changed.is_ok(),
                changed = board.changed() => changed.is_ok(),
            };
            if !is_news {
                return Told::new(&idle);
            }
            waited = true;
        }
    }

    /// What followed a cursor, as it was read when the store's news had this number, or later.
    async fn page(&self, cursor: &Cursor, newest: u64) -> Result<Arc<FeedPage>, StoreError> {
        // Settings make no difference to what happened.
        let key = (Cursor { settings: None, ..cursor.clone() }, newest);
        self.made.pages.get(key, || async { self.app.store.since(cursor, PAGE).await.map(Arc::new) }).await
    }

    /// How long ago it was that what is told now happened. An Envoy that was away hears of older changes, too: that is no
    /// lag of ours.
    fn measure_lag(&self, entries: &[FeedEntry]) {
        let now = self.app.clock.now();
        for at in entries.iter().filter_map(|entry| entry.at) {
            let millis = now.millis().saturating_sub(at.millis()).max(0);
            self.metrics.sync_lag.observe(millis as f64 / 1000.0);
        }
    }

    /// Everything, for an Envoy that knows nothing.
    async fn reset(&self) -> Result<Told, StoreError> {
        let head = self.made.heads.get(|| self.app.store.head()).await?;
        let key = (head.clone(), self.board.watch().borrow().digest);
        self.made.resets.get(key, || async { Told::new(&self.everything(head).await?) }).await
    }

    /// The place was read before the settings and the revocations: a change in between is told again, never missed.
    async fn everything(&self, head: Cursor) -> Result<SyncAnswer, StoreError> {
        // Keys that are still being fetched after this time are pushed when they come.
        let _ = tokio::time::timeout(FIRST_KEYS_WAIT, self.key_sets.first_round()).await;
        let revocations = self.app.store.revocations(self.app.clock.now()).await?;
        let posted = self.board.watch().borrow().clone();
        let cursor = Cursor { settings: Some(posted.digest), ..head };
        let settings = Some((*posted.settings).clone());
        Ok(SyncAnswer { cursor, reset: true, settings, changes: Vec::new(), revocations })
    }

    /// Forgets what is old, for as long as it is not stopped.
    pub async fn keep_pruned(app: App) {
        loop {
            let before = Timestamp::from_millis(app.clock.now().millis()).plus_seconds(-KEEP_SECONDS);
            match app.store.prune(before, KEEP_ENTRIES).await {
                Ok(0) => {}
                Ok(gone) => tracing::info!(gone, "old feed entries forgotten"),
                Err(error) => tracing::warn!(%error, "the feed could not be pruned"),
            }
            let now = app.clock.now();
            for (what, pruned) in [
                ("revocations", app.store.prune_revocations(now).await),
                ("sessions", app.store.prune_sessions(now).await),
                ("deliveries", webhooks::prune(&app).await),
                ("nodes that reported", app.store.prune_watched(before).await),
            ] {
                match pruned {
                    Ok(0) => {}
                    Ok(gone) => tracing::info!(gone, "{what} that are over forgotten"),
                    Err(error) => tracing::warn!(%error, "{what} that are over could not be forgotten"),
                }
            }
            tokio::time::sleep(PRUNE_INTERVAL).await;
        }
    }
}

/// What has happened, and the settings if the Envoy has others: each control plane compares for itself, so two of them
/// with different settings, or one that has fetched newer keys than the other, never leave an Envoy with old ones.
fn answer(entries: &[FeedEntry], cursor: Cursor, settings: Option<&Posted>) -> SyncAnswer {
    let change = |&FeedEntry { seq, ref happening, .. }: &FeedEntry| match happening {
        Happening::User(id) => Change::User { id: id.as_str().to_owned(), seq },
        Happening::Key(hash) => Change::Key { hash: *hash, seq, refused: None },
        Happening::KeyRevoked(hash) => Change::Key { hash: *hash, seq, refused: Some(Code::ApiKeyRevoked) },
        Happening::Revoked(revocation) => Change::Revoked { revocation: revocation.clone(), seq },
        Happening::Recall(id) => Change::Recall { id: id.as_str().to_owned(), seq },
        Happening::Unknown => Change::Unknown,
    };
    let settings = settings.map(|posted| (*posted.settings).clone());
    let changes = entries.iter().map(change).collect();
    SyncAnswer { cursor, reset: false, settings, changes, revocations: Vec::new() }
}

//! What an Envoy is told: settings when they changed, users and keys that it must look at anew, and when to ask again.
//! It must not know HTTP.

use std::time::Duration;

use tokio::sync::watch;
use tollgate_protocol::{
    Code, Cursor,
    edge::{Change, SYNC_HOLD_SECONDS, SyncAnswer},
};

use crate::{
    app::App,
    domain::{FeedEntry, Happening, Timestamp},
    metrics::Metrics,
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
}

impl Feed {
    /// Puts the parts together. `stopping` becomes true when the server is to stop.
    pub fn new(app: App, board: Board, key_sets: KeySets, stopping: watch::Receiver<bool>, metrics: Metrics) -> Self {
        Self { app, board, key_sets, stopping, metrics }
    }

    /// Answers one `sync`: at once when there is news, else when there is some, or when it has been held long enough.
    ///
    /// # Errors
    /// The store fails.
    pub async fn sync(&self, cursor: Option<Cursor>) -> Result<SyncAnswer, StoreError> {
        let hold = tokio::time::sleep(Duration::from_secs(SYNC_HOLD_SECONDS));
        tokio::pin!(hold);
        let mut stopping = self.stopping.clone();
        let mut news = self.app.store.news();
        let mut board = self.board.watch();
        // Other settings than ours: perhaps another process has newer keys, which it keeps in the store.
        if cursor.as_ref().and_then(|cursor| cursor.settings) != Some(board.borrow().digest) {
            self.key_sets.take_over(&self.app, &self.board).await;
        }
        let Some(mut cursor) = cursor else {
            return self.reset(self.app.store.head().await?).await;
        };
        let mut waited = false;
        loop {
            // Marked as seen before the feed is read, so that what comes in between ends the wait.
            news.mark_unchanged();
            let posted = board.borrow_and_update().clone();
            let told = cursor.settings;
            match self.app.store.since(&cursor, PAGE).await? {
                FeedPage::Lost(head) => return self.reset(head).await,
                FeedPage::Entries(entries, place) if entries.is_empty() && told == Some(posted.digest) => {
                    cursor = Cursor { settings: told, ..place };
                }
                FeedPage::Entries(entries, place) => {
                    if waited {
                        self.measure_lag(&entries);
                    }
                    return Ok(answer(entries, place, told, &posted));
                }
            }
            let idle = SyncAnswer {
                cursor: cursor.clone(),
                reset: false,
                settings: None,
                changes: Vec::new(),
                revocations: Vec::new(),
            };
            tokio::select! {
                () = &mut hold => return Ok(idle),
                // An error says that the server is gone: no more to wait for either way.
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(idle),
                changed = news.changed() => if changed.is_err() { return Ok(idle) },
                changed = board.changed() => if changed.is_err() { return Ok(idle) },
            }
            waited = true;
        }
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

    /// Everything, for an Envoy that knows nothing. The place was read before the settings and the revocations: a change in
    /// between is told again, never missed.
    async fn reset(&self, head: Cursor) -> Result<SyncAnswer, StoreError> {
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
fn answer(entries: Vec<FeedEntry>, place: Cursor, told: Option<u64>, posted: &Posted) -> SyncAnswer {
    let change = |FeedEntry { seq, happening, .. }| match happening {
        Happening::User(id) => Change::User { id: id.as_str().to_owned(), seq },
        Happening::Key(hash) => Change::Key { hash, seq, refused: None },
        Happening::KeyRevoked(hash) => Change::Key { hash, seq, refused: Some(Code::ApiKeyRevoked) },
        Happening::Revoked(revocation) => Change::Revoked { revocation, seq },
        Happening::Recall(id) => Change::Recall { id: id.as_str().to_owned(), seq },
        Happening::Unknown => Change::Unknown,
    };
    let settings = (told != Some(posted.digest)).then(|| (*posted.settings).clone());
    let cursor = Cursor { settings: Some(posted.digest), ..place };
    let changes = entries.into_iter().map(change).collect();
    SyncAnswer { cursor, reset: false, settings, changes, revocations: Vec::new() }
}

//! The feed as this process has it: what the watcher has read, in a ring, for those who ask. There is no collection of
//! it: a place in the feed is a cluster time of MongoDB, the same in every process. It must not know how it is read.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use mongodb::bson;
use tokio::sync::watch;
use tollgate_protocol::Cursor;

use super::{
    MongoStore,
    ring::{CAPACITY, Page, Ring},
};
use crate::{
    domain::{Happening, Timestamp},
    store::{FeedPage, FeedStore, Heard, StoreError},
};

/// How long a change that was acknowledged waits until this process has read it.
const OWN_CHANGE_WAIT: Duration = Duration::from_secs(2);
/// How far another process may be ahead of this one: a place from farther on is none that this store ever gave.
const MOST_AHEAD_SECONDS: u64 = 60;

/// A cluster time as a place in the feed.
pub(super) fn place_of(time: bson::Timestamp) -> u64 {
    (u64::from(time.time) << 32) | u64::from(time.increment)
}

/// A place in the feed as a cluster time.
pub(super) fn time_of(place: u64) -> bson::Timestamp {
    let half = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    bson::Timestamp { time: half(place >> 32), increment: half(place) }
}

/// What this process knows of the feed.
#[derive(Debug)]
pub(super) struct Feed {
    epoch: String,
    ring: RwLock<Ring>,
    /// The position, and it wakes those who wait for something to do.
    news: watch::Sender<u64>,
    /// The position, and it wakes with every step.
    read: watch::Sender<u64>,
    heard: Heard,
}

impl Feed {
    /// Knows nothing from before `place`.
    pub(super) fn beginning_at(epoch: String, place: u64) -> Arc<Self> {
        let ring = RwLock::new(Ring::beginning_at(place, CAPACITY));
        Arc::new(Self {
            epoch,
            ring,
            news: watch::Sender::new(place),
            read: watch::Sender::new(place),
            heard: Heard::default(),
        })
    }

    /// When it was last read to its end.
    pub(super) const fn heard(&self) -> &Heard {
        &self.heard
    }

    /// How far it was read.
    pub(super) fn position(&self) -> u64 {
        *self.read.borrow()
    }

    /// Adds everything that happened at `seq`; it may be nothing that anybody must hear of.
    pub(super) fn push(&self, seq: u64, at: Option<Timestamp>, happened: Vec<Happening>) {
        let news = !happened.is_empty();
        if self.change(news, |ring| ring.push(seq, at, happened)) {
            tracing::warn!(
                place = seq,
                "something came after its place was passed: edges are told to forget everything"
            );
        }
    }

    /// Adds what happened, at the next number. Only where nobody else gives numbers.
    pub(super) fn push_next(&self, happened: Vec<Happening>) -> u64 {
        self.change(true, |ring| {
            let _ = ring.push(ring.position().saturating_add(1), None, happened);
            ring.position()
        })
    }

    /// Nothing more will come up to `place`. Nobody is woken for that.
    pub(super) fn advance(&self, place: u64) {
        self.change(false, |ring| ring.advance(place));
    }

    /// Something up to `place` may have been missed: who asks from before it must forget everything.
    pub(super) fn lose(&self, place: u64) {
        self.change(true, |ring| ring.lose(place));
    }

    fn change<T>(&self, news: bool, work: impl FnOnce(&mut Ring) -> T) -> T {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut ring);
        // Under the lock, so that the numbers are told in their order.
        // The position first: who is woken finds it at least there.
        self.read.send_replace(ring.position());
        self.news.send_if_modified(|known| {
            *known = ring.position();
            news
        });
        done
    }

    /// The cursor of a place.
    pub(super) fn cursor(&self, place: u64) -> Cursor {
        Cursor::new(self.epoch.clone(), place)
    }

    /// Waits until `place` was read, a bounded time.
    pub(super) async fn reached(&self, place: u64) {
        let mut read = self.read.subscribe();
        let reached = read.wait_for(|position| *position >= place);
        if tokio::time::timeout(OWN_CHANGE_WAIT, reached).await.is_err() {
            tracing::warn!("a change was acknowledged but not heard of within {OWN_CHANGE_WAIT:?}");
        }
    }

    fn since(&self, cursor: &Cursor, limit: usize) -> FeedPage {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let lost = || FeedPage::Lost(self.cursor(ring.position()));
        let ahead = (cursor.seq >> 32).saturating_sub(ring.position() >> 32);
        if cursor.epoch != self.epoch || ahead > MOST_AHEAD_SECONDS {
            return lost();
        }
        match ring.after(cursor.seq, limit) {
            Page::Entries(entries, place) => FeedPage::Entries(entries, self.cursor(place)),
            Page::Lost => lost(),
        }
    }

    fn prune(&self, place: u64, at_least: u64) -> u64 {
        let at_least = usize::try_from(at_least).unwrap_or(usize::MAX);
        let gone = self.change(false, |ring| ring.prune(place, at_least));
        u64::try_from(gone).unwrap_or(u64::MAX)
    }
}

#[async_trait]
impl FeedStore for MongoStore {
    /// The place up to which this process has read the stream, not the newest one there is. Everything up to it is
    /// committed by a majority, and readings of users and keys ask the primary for at least this place
    /// (`MongoStore::session`): an answer that is made from such a reading is at least as new as this place, and a
    /// change that the feed tells later outdates it.
    async fn head(&self) -> Result<Cursor, StoreError> {
        Ok(self.feed.cursor(self.feed.position()))
    }

    async fn since(&self, cursor: &Cursor, limit: usize) -> Result<FeedPage, StoreError> {
        Ok(self.feed.since(cursor, limit))
    }

    async fn prune(&self, before: Timestamp, at_least: u64) -> Result<u64, StoreError> {
        let place = match self.is_replicated() {
            true => before.unix_seconds().min(u64::from(u32::MAX)) << 32,
            // Numbers are no times there; the ring is bounded anyway.
            false => 0,
        };
        Ok(self.feed.prune(place, at_least))
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.feed.news.subscribe()
    }

    fn heard(&self) -> &Heard {
        self.feed.heard()
    }
}

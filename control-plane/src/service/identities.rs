//! Who a credential belongs to, out of the shared cache where it can be, else out of the store. What lies in the cache
//! carries the place of the feed as of which it was read, and is believed only while the feed of this replica has named
//! neither its user nor its key since: so it does not matter who wrote it, when, or in which order. Nothing here decides
//! who anybody is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use prometheus::IntCounterVec;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tollgate_protocol::{
    Cursor, KeyHash,
    edge::{Outcome, ResolveAnswer, ResolveRequest},
};

use super::{ServiceError, resolve};
use crate::{
    app::App,
    cache::{NameKey, Seal, SharedCache},
    domain::{Happening, Timestamp, UserId},
    metrics::Metrics,
    random,
    store::{FeedPage, StoreError},
};

/// The name of the secret in the store.
const SECRET: &str = "shared_identities";
/// Entries of the feed that are read at once.
const PAGE: usize = 5_000;
/// So many pages are read to catch up; who is farther behind begins anew.
const MOST_PAGES: usize = 8;
/// Most names of the feed that are remembered.
const REMEMBERED: usize = 100_000;
/// How far the clocks of two replicas may differ, in seconds.
const CLOCKS_DIFFER_SECONDS: i64 = 5;

/// Finds out who it is.
#[derive(Debug, Clone)]
pub struct Identities {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    cache: SharedCache,
    lifetime: Duration,
    names: NameKey,
    seal: Seal,
    known: Mutex<Option<Known>>,
    outcomes: IntCounterVec,
}

/// What lies in the cache.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// When it was put there.
    at: i64,
    answer: ResolveAnswer,
}

/// Why an answer of the cache is not used.
enum Unused {
    /// There is none.
    Miss,
    /// It is too old, or the feed has named its user or key.
    Outdated,
    /// It was not written by one of us, or by another version.
    Unreadable,
    /// The cache does not answer.
    Away,
    /// The feed cannot be read.
    NoFeed,
}

impl Unused {
    const fn as_str(&self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Outdated => "outdated",
            Self::Unreadable => "unreadable",
            Self::Away => "away",
            Self::NoFeed => "no_feed",
        }
    }
}

impl Identities {
    /// Without a shared cache.
    pub const fn of_the_store() -> Self {
        Self { shared: None }
    }

    /// With one, in which an answer is good for `lifetime`. All replicas of one store have the same secret in it.
    ///
    /// # Errors
    /// The store fails; the metrics exist already.
    pub async fn load(
        app: &App,
        cache: SharedCache,
        lifetime: Duration,
        metrics: &Metrics,
    ) -> Result<Self, IdentitiesFault> {
        let secret = app.store.secret_or(SECRET, &random::seed().map_err(ServiceError::from)?).await;
        let secret = secret.map_err(ServiceError::from)?;
        let help = "Look-ups of identities in the shared cache.";
        let outcomes = metrics.counters("tollgate_shared_identities_total", help, &["outcome"])?;
        let names = NameKey::new(&secret, b"identities");
        let seal = Seal::new(&secret, b"identities");
        let shared = Shared { cache, lifetime, names, seal, known: Mutex::new(None), outcomes };
        Ok(Self { shared: Some(Arc::new(shared)) })
    }

    /// Finds out who it is: as [`resolve::resolve`], which is asked where the cache does not know.
    ///
    /// # Errors
    /// The store fails.
    pub async fn resolve(&self, app: &App, request: &ResolveRequest) -> Result<ResolveAnswer, ServiceError> {
        let Some(shared) = &self.shared else { return resolve::resolve(app, request).await };
        // All of the request: what is found may depend on each of its members.
        let Ok(text) = serde_json::to_vec(request) else { return resolve::resolve(app, request).await };
        let name = format!("identity:{}", shared.names.of(&text));
        match shared.find(app, &name, request).await {
            Ok(answer) => {
                shared.outcomes.with_label_values(&["hit"]).inc();
                return Ok(answer);
            }
            Err(unused) => shared.outcomes.with_label_values(&[unused.as_str()]).inc(),
        }
        let answer = resolve::resolve(app, request).await?;
        Arc::clone(shared).keep(name, &answer, app.clock.now());
        Ok(answer)
    }
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentitiesFault {
    /// No secret can be had.
    #[error(transparent)]
    Secret(#[from] ServiceError),
    /// The metrics contradict each other.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

impl Shared {
    /// An answer of the cache that is still true.
    async fn find(&self, app: &App, name: &str, request: &ResolveRequest) -> Result<ResolveAnswer, Unused> {
        let found = self.cache.get(name).await.map_err(|_| Unused::Away)?.ok_or(Unused::Miss)?;
        let plain = self.seal.open(name, &found).ok_or(Unused::Unreadable)?;
        let Kept { at, answer } = serde_json::from_slice(&plain).map_err(|_| Unused::Unreadable)?;
        let now = app.clock.now();
        let at = Timestamp::from_millis(at);
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        if at.plus_seconds(lifetime) <= now || now.plus_seconds(CLOCKS_DIFFER_SECONDS) < at {
            return Err(Unused::Outdated);
        }
        let Outcome::Identity(identity) = &answer.outcome else { return Err(Unused::Unreadable) };
        // From the end of a key on the store says why.
        let ends = identity.key.as_ref().and_then(|key| key.expires_at);
        if ends.is_some_and(|ends| ends <= now.unix_seconds()) {
            return Err(Unused::Outdated);
        }
        let mut subjects = vec![Subject::User(UserId::new(&identity.user_id))];
        match request {
            ResolveRequest::ApiKey { hash } => subjects.push(Subject::Key(*hash)),
            // Found by an e-mail address, and then somebody got that very text as an id.
            ResolveRequest::Legacy { subject, .. } => subjects.push(Subject::User(UserId::new(subject))),
            ResolveRequest::Clerk { .. } => {}
        }
        let as_of = self.still_true(app, &answer.as_of, &subjects).await?;
        Ok(ResolveAnswer { as_of, ..answer })
    }

    /// As of which place what was true at `as_of` is known to be true.
    async fn still_true(&self, app: &App, as_of: &Cursor, subjects: &[Subject]) -> Result<Cursor, Unused> {
        let mut known = self.known.lock().await;
        let known = match known.take() {
            Some(earlier) => known.insert(earlier.caught_up(app).await.map_err(|_| Unused::NoFeed)?),
            None => known.insert(Known::beginning_at(app.store.head().await.map_err(|_| Unused::NoFeed)?)),
        };
        if as_of.epoch != known.place.epoch || as_of.seq < known.floor {
            return Err(Unused::Outdated);
        }
        let named = |subject: &Subject| known.named.get(subject).is_some_and(|seq| *seq > as_of.seq);
        if subjects.iter().any(named) {
            return Err(Unused::Outdated);
        }
        // Another replica may be ahead of this one.
        let seq = as_of.seq.max(known.place.seq);
        Ok(Cursor { seq, ..known.place.clone() })
    }

    /// Puts an answer into the cache, off the road of the request. Refusals are left out: they are made good by changes
    /// that name nobody the refused one is known by.
    fn keep(self: Arc<Self>, name: String, answer: &ResolveAnswer, now: Timestamp) {
        if !matches!(answer.outcome, Outcome::Identity(_)) || self.cache.away().is_some() {
            return;
        }
        let Ok(plain) = serde_json::to_vec(&Kept { at: now.millis(), answer: answer.clone() }) else { return };
        tokio::spawn(async move {
            if let Some(sealed) = self.seal.seal(&name, &plain) {
                // Away: then the next one asks the store, too.
                let _ = self.cache.put(&name, &sealed, self.lifetime).await;
            }
        });
    }
}

/// Somebody or something that the feed names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    User(UserId),
    Key(KeyHash),
}

/// What the feed of this replica has named. Forgetting makes more answers outdated, never fewer.
#[derive(Debug)]
struct Known {
    /// How far it was read.
    place: Cursor,
    /// What is true as of a place before this one cannot be judged.
    floor: u64,
    /// When each was named last.
    named: HashMap<Subject, u64>,
}

impl Known {
    fn beginning_at(place: Cursor) -> Self {
        Self { floor: place.seq, place, named: HashMap::new() }
    }

    /// The same, with everything that the feed has told up to now. An error loses what was known: the next one begins
    /// anew.
    async fn caught_up(mut self, app: &App) -> Result<Self, StoreError> {
        for _ in 0..MOST_PAGES {
            match app.store.since(&self.place, PAGE).await? {
                FeedPage::Lost(head) => return Ok(Self::beginning_at(head)),
                FeedPage::Entries(entries, place) => {
                    let is_last = entries.len() < PAGE;
                    for entry in entries {
                        self.take(entry.seq, entry.happening);
                    }
                    self.place = place;
                    if is_last {
                        return Ok(self);
                    }
                }
            }
        }
        Ok(Self::beginning_at(app.store.head().await?))
    }

    fn take(&mut self, seq: u64, happening: Happening) {
        let subject = match happening {
            Happening::User(id) => Subject::User(id),
            Happening::Key(hash) | Happening::KeyRevoked(hash) => Subject::Key(hash),
            // Of sessions, tokens and signing keys: edges hold them against identities themselves.
            Happening::Revoked(_) => return,
            // Of tokens that Envoys hold: who somebody is has not changed.
            Happening::Recall(_) => return,
            // It may be about anybody.
            Happening::Unknown => {
                self.floor = self.floor.max(seq);
                return;
            }
        };
        if self.named.len() >= REMEMBERED {
            self.named.clear();
            self.floor = self.floor.max(seq);
        }
        self.named.insert(subject, seq);
    }
}

//! What edges tell of refusals: counts of what is only watched go into the store, single requests are remembered here for
//! some minutes, for whoever asks why. It must not judge them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tollgate_protocol::refusals::{MAX_REFUSALS, MAX_SAMPLES, RefusalReport, Refused, WatchedCount};

use super::{InputFault, ServiceError};
use crate::{
    app::App,
    domain::Timestamp,
    store::{StoreError, Watched},
};

/// How long a refusal is remembered.
const KEEP_SECONDS: i64 = 600;
/// Most refusals that are remembered: about 20 MB.
const MOST: usize = 50_000;
/// Longest text of a report, in bytes.
const LONGEST: usize = 256;

/// The single refusals of the last minutes. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    known: HashMap<String, Refused>,
    /// Ids, and when they were told, the oldest first.
    order: VecDeque<(Timestamp, String)>,
}

impl Memory {
    fn forget(&mut self, before: Timestamp) {
        while let Some((told, _)) = self.order.front()
            && (*told < before || self.order.len() > MOST)
        {
            if let Some((_, id)) = self.order.pop_front() {
                self.known.remove(&id);
            }
        }
    }
}

impl Refusals {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report in. One that is told again changes nothing.
    ///
    /// # Errors
    /// It is not as reports are, or the store fails: then nothing was counted.
    pub async fn take(&self, app: &App, report: RefusalReport) -> Result<(), ServiceError> {
        if let Some(fault) = fault(&report) {
            return Err(ServiceError::Invalid(vec![fault]));
        }
        let now = app.clock.now();
        let RefusalReport { node, batch, watched, refused } = report;
        {
            let mut memory = self.memory();
            for one in refused {
                let id = one.request_id.clone();
                if memory.known.insert(id.clone(), one).is_none() {
                    memory.order.push_back((now, id));
                }
            }
            memory.forget(now.plus_seconds(-KEEP_SECONDS));
        }
        if !watched.is_empty() {
            let counts: Vec<Watched> = watched.into_iter().map(counted).collect();
            app.store.add_watched(&node, batch, &counts, now).await?;
        }
        Ok(())
    }

    /// What was told of a request, if it was not long ago.
    pub fn find(&self, app: &App, id: &str) -> Option<Refused> {
        let mut memory = self.memory();
        memory.forget(app.clock.now().plus_seconds(-KEEP_SECONDS));
        memory.known.get(id).cloned()
    }
}

fn counted(count: WatchedCount) -> Watched {
    let at = |seconds: u64| Timestamp::from_millis(i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX));
    Watched {
        route: count.route,
        code: count.code.as_str().to_owned(),
        count: count.count,
        first: at(count.first),
        last: at(count.last),
        samples: count.samples,
    }
}

fn fault(report: &RefusalReport) -> Option<InputFault> {
    let word = |text: &str| (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let line = |text: &str| text.len() <= LONGEST && !text.chars().any(char::is_control);
    let is_count = |count: &WatchedCount| {
        count.count > 0
            && line(&count.route)
            && count.samples.len() <= MAX_SAMPLES
            && count.samples.iter().all(|id| word(id))
    };
    let is_refused = |one: &Refused| {
        word(&one.request_id) && line(&one.route) && line(&one.method) && one.user_id.as_deref().is_none_or(line)
    };
    let fault = |field, problem| Some(InputFault { field, problem });
    if !word(&report.node) || report.batch == 0 {
        return fault("node", "and batch name a worker and a number from 1");
    }
    if report.watched.len() > MAX_REFUSALS || !report.watched.iter().all(is_count) {
        return fault("watched", "is not a list of at most 512 counts");
    }
    if report.refused.len() > MAX_REFUSALS || !report.refused.iter().all(is_refused) {
        return fault("refused", "is not a list of at most 512 requests");
    }
    None
}

/// One page of what rules that are only watched would have refused, and after which route and reason the next begins.
///
/// # Errors
/// The store fails.
pub async fn watched(
    app: &App,
    after: Option<&(String, String)>,
    limit: usize,
) -> Result<(Vec<Watched>, Option<(String, String)>), StoreError> {
    let mut found = app.store.watched(after, limit.saturating_add(1)).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| (last.route.clone(), last.code.clone()));
    Ok((found, next))
}

/// Begins to count anew.
///
/// # Errors
/// The store fails.
pub async fn forget(app: &App) -> Result<u64, StoreError> {
    app.store.forget_watched(&app.stamp()).await
}

//! Who a new Clerk user is, asked at Clerk, for tokens do not say it: once, when the user is made, and only for as long
//! as an edge waits. Whatever goes wrong, the user is made without. Nothing here knows a store.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

use crate::{
    clerk::{
        backend::{Backend, LookupFault, TIMEOUT},
        fetch::FetchFault,
        url::ApiUrl,
    },
    config::Secret,
    domain::{ClerkIdentity, clerk::ClerkProfile},
    metrics::Metrics,
};

/// Most look-ups of one instance at a time.
const SLOTS: usize = 8;
/// Most users of one instance that are being looked up or wait for it; more are made without.
const WAITING: usize = 256;
/// How long Clerk is left alone after a failure: a crowd of new users does not wait for it one after the other.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it is left alone where it refuses our key.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// Longest time that a `Retry-After` is believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

type Answer = Option<Option<ClerkProfile>>;

/// One instance whose users can be looked up.
struct Instance {
    backend: Backend,
    slots: Semaphore,
    /// Until when it is not asked.
    quiet_until: Mutex<Option<Instant>>,
    flights: Mutex<HashMap<String, watch::Receiver<Answer>>>,
    metrics: Metrics,
}

/// The users of all instances for which there is a secret key. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Directory {
    instances: Arc<BTreeMap<String, Arc<Instance>>>,
}

impl core::fmt::Debug for Directory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.instances.keys()).finish()
    }
}

impl Directory {
    /// Of each instance its issuer, the address of its Backend API and its secret key.
    ///
    /// # Errors
    /// [`FetchFault`] where no client can be made.
    pub fn new<'c>(
        instances: impl Iterator<Item = (&'c str, &'c ApiUrl, &'c Secret)>,
        metrics: &Metrics,
    ) -> Result<Self, FetchFault> {
        let one = |(issuer, url, secret): (&str, &ApiUrl, &Secret)| {
            let instance = Instance {
                backend: Backend::new(url.clone(), secret)?,
                slots: Semaphore::new(SLOTS),
                quiet_until: Mutex::default(),
                flights: Mutex::default(),
                metrics: metrics.clone(),
            };
            Ok((issuer.to_owned(), Arc::new(instance)))
        };
        Ok(Self { instances: Arc::new(instances.map(one).collect::<Result<_, FetchFault>>()?) })
    }

    /// What Clerk says of a user, if it says so in time. Many who ask at once for the same user make one look-up.
    pub async fn profile(&self, identity: &ClerkIdentity) -> Option<ClerkProfile> {
        let instance = self.instances.get(&identity.issuer)?;
        let mut answer = Arc::clone(instance).flight(identity)?;
        // The look-up ends by itself within this time; an error says that it was dropped at the end of the program.
        let answered = timeout(TIMEOUT, answer.wait_for(Option::is_some)).await.ok()?.ok()?;
        answered.clone().flatten()
    }
}

impl Instance {
    /// The look-up of this user, begun where there is none.
    fn flight(self: Arc<Self>, identity: &ClerkIdentity) -> Option<watch::Receiver<Answer>> {
        let quiet = *self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |outcome: &str| self.metrics.lookups.with_label_values(&[outcome]).inc();
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&identity.id) {
            return Some(flight.clone());
        }
        if quiet.is_some_and(|until| Instant::now() < until) {
            count("paused");
            return None;
        }
        if flights.len() >= WAITING {
            count("busy");
            return None;
        }
        let (sender, receiver) = watch::channel(None);
        flights.insert(identity.id.clone(), receiver.clone());
        drop(flights);
        let identity = identity.clone();
        // A task of its own: whoever asked first may go away.
        tokio::spawn(async move {
            let found = timeout(TIMEOUT, self.look_up(&identity)).await.unwrap_or_else(|_| {
                self.pause(PAUSE);
                tracing::warn!(issuer = identity.issuer, "Clerk has not said in time who a new user is");
                self.metrics.lookups.with_label_values(&["late"]).inc();
                None
            });
            self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&identity.id);
            sender.send_replace(Some(found));
        });
        Some(receiver)
    }

    async fn look_up(&self, identity: &ClerkIdentity) -> Option<ClerkProfile> {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await.ok()?;
        let (outcome, found) = match self.backend.user(identity).await {
            Ok(profile) => ("found", Some(profile)),
            Err(fault) => {
                tracing::warn!(issuer = identity.issuer, %fault, "Clerk has not said who a new user is");
                (self.failed(&fault), None)
            }
        };
        self.metrics.lookups.with_label_values(&[outcome]).inc();
        found
    }

    fn failed(&self, fault: &LookupFault) -> &'static str {
        match fault {
            LookupFault::Status { status: 404, .. } => "unknown",
            LookupFault::Status { retry_after: Some(retry_after), .. } => {
                self.pause((*retry_after).min(LONGEST_PAUSE));
                "limited"
            }
            LookupFault::Status { status: 401 | 403, .. } => {
                self.pause(REFUSED_PAUSE);
                "refused"
            }
            LookupFault::Status { .. } | LookupFault::Transport(_) => {
                self.pause(PAUSE);
                "failed"
            }
            LookupFault::TooLarge | LookupFault::NotTheUser => "failed",
        }
    }

    fn pause(&self, length: Duration) {
        let until = Instant::now().checked_add(length);
        let mut quiet_until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        *quiet_until = (*quiet_until).max(until);
    }
}

//! Events that Clerk sends: believed by their signature alone, taken once, applied in the order in which they happened.
//! It must not know how a request arrives, nor a database.

use std::{collections::BTreeMap, sync::Arc};

use super::ServiceError;
use crate::{
    app::App,
    clerk::{
        event::{self, Event, NoEvent},
        svix::{Headers, SignatureFault, SigningSecret},
    },
    domain::{
        Actor, UserId,
        clerk::{ClerkEvent, ClerkOutcome},
    },
    metrics::Metrics,
    random,
    store::StoreError,
};

/// How often a race with others about the same accounts is run again.
const TURNS: usize = 4;
/// How long a delivery is remembered, in seconds: Svix tries for 28 hours, and an operator may send one again for a week.
const REMEMBERED_SECONDS: i64 = 30 * 24 * 3600;

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub enum WebhookFault {
    /// It is not believed.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// It is believed, and makes no sense.
    #[error(transparent)]
    NoEvent(#[from] NoEvent),
    /// It could not be taken now.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// One instance that sends events.
#[derive(Debug)]
pub struct Sender {
    issuer: String,
    secrets: Vec<SigningSecret>,
}

/// The instances that send events, by name. The first one has none.
#[derive(Debug, Clone, Default)]
pub struct Webhooks {
    senders: Arc<BTreeMap<String, Sender>>,
}

impl Webhooks {
    /// Of each instance its name, its issuer and its signing secrets. Where there is no secret, nothing is believed.
    pub fn new(instances: impl Iterator<Item = (String, String, Vec<SigningSecret>)>) -> Self {
        let sender = |(name, issuer, secrets)| (name, Sender { issuer, secrets });
        let senders = instances.map(sender).filter(|(_, sender)| !sender.secrets.is_empty()).collect();
        Self { senders: Arc::new(senders) }
    }

    /// The instance of a name.
    pub fn sender(&self, name: &str) -> Option<&Sender> {
        self.senders.get(name)
    }
}

impl Sender {
    /// Takes what was delivered.
    ///
    /// # Errors
    /// [`WebhookFault`] says why it was not taken.
    pub async fn take(
        &self,
        app: &App,
        metrics: &Metrics,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Result<(), WebhookFault> {
        let count = |event: &str, outcome: &str| metrics.webhooks.with_label_values(&[event, outcome]).inc();
        let now = app.clock.now();
        headers.verify(&self.secrets, body, now).inspect_err(|fault| count("none", fault.as_str()))?;
        let event = event::parse(&self.issuer, body, now).inspect_err(|_| count("none", "no_event"))?;
        let Event::News(kind, news) = event else {
            count("other", "ignored");
            return Ok(());
        };
        let event = ClerkEvent { issuer: self.issuer.clone(), delivery: headers.id.to_owned(), news };
        let taken = self.apply(app, &event).await;
        let (kind, delivery) = (kind.as_str(), &event.delivery);
        match taken {
            Ok(outcome) => {
                count(kind, outcome.as_str());
                match &outcome {
                    ClerkOutcome::Conflict | ClerkOutcome::Changed { address_kept: true, .. } => {
                        tracing::warn!(
                            kind,
                            delivery,
                            outcome = outcome.as_str(),
                            "the address belongs to another account"
                        );
                    }
                    _ => tracing::info!(kind, delivery, outcome = outcome.as_str(), "event of Clerk"),
                }
                Ok(())
            }
            Err(error) => {
                count(kind, "error");
                Err(error.into())
            }
        }
    }

    async fn apply(&self, app: &App, event: &ClerkEvent) -> Result<ClerkOutcome, ServiceError> {
        let app = app.acting(Actor::Clerk, app.request_id());
        for _ in 0..TURNS {
            let fresh = UserId::new(random::id("usr_")?);
            match app.store.take_event(event, &fresh, &app.stamp()).await {
                Err(StoreError::Conflict(_) | StoreError::NotFound) => {}
                taken_or_failed => return Ok(taken_or_failed?),
            }
        }
        Err(ServiceError::Conflict("others kept changing this account"))
    }
}

/// Forgets deliveries that nobody sends again.
///
/// # Errors
/// The store fails.
pub async fn prune(app: &App) -> Result<u64, StoreError> {
    app.store.prune_deliveries(app.clock.now().plus_seconds(-REMEMBERED_SECONDS)).await
}

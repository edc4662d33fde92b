//! How often somebody has tried in vain, over all replicas. It must not know what is tried, nor give it away: names are
//! e-mail addresses and such, and whoever reads the shared cache sees only keyed hashes of them.

use std::time::Duration;

use async_trait::async_trait;

use super::attempts::{Counters, InMemory};
use crate::{
    app::App,
    cache::{NameKey, SharedCache},
    config::AttemptLimit,
    domain::Timestamp,
    random,
    service::ServiceError,
};

/// The name of the secret in the store.
const SECRET: &str = "shared_counters";

/// Counts here and, while it answers, in the shared cache. Each attempt is counted here in any case: when the cache goes
/// away, or comes back empty, nobody who has tried here begins anew.
#[derive(Debug)]
pub struct Replicated {
    here: InMemory,
    cache: SharedCache,
    names: NameKey,
}

impl Replicated {
    /// Counts in this cache. All replicas of one store have the same secret in it.
    ///
    /// # Errors
    /// The store fails.
    pub async fn load(app: &App, cache: SharedCache) -> Result<Self, ServiceError> {
        let secret = app.store.secret_or(SECRET, &random::seed()?).await?;
        Ok(Self { here: InMemory::default(), cache, names: NameKey::new(&secret, b"attempts") })
    }

    fn key(&self, name: &str) -> String {
        format!("attempts:{}", self.names.of(name.as_bytes()))
    }
}

#[async_trait]
impl Counters for Replicated {
    async fn take(&self, name: &str, limit: AttemptLimit, now: Timestamp) -> Result<(), u32> {
        self.here.take(name, limit, now).await?;
        let window = Duration::from_secs(u64::from(limit.seconds));
        match self.cache.take(&self.key(name), limit.most, window).await {
            Ok(None) | Err(_) => Ok(()),
            Ok(Some(left)) => {
                self.here.give_back(name).await;
                Err(u32::try_from(left.as_secs()).unwrap_or(u32::MAX).saturating_add(1))
            }
        }
    }

    async fn give_back(&self, name: &str) {
        self.here.give_back(name).await;
        // Away: then it is counted once too often, for the limit's time at most.
        let _ = self.cache.give_back(&self.key(name)).await;
    }
}

//! Values that replicas share for a short while, in a Redis. It is never needed: a request waits for it a few
//! milliseconds at most, and after the first answer that does not come nobody waits at all until it is back. Nothing
//! here knows what a value means, and nobody else names the driver.

mod buckets;
mod metrics;
mod seal;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, Script, aio::MultiplexedConnection};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use tracing::Instrument as _;

use self::metrics::CacheMetrics;
pub use self::{
    buckets::Take,
    seal::{NameKey, Seal},
};
use crate::{config::RedisConfig, metrics::Metrics, random};

/// How long a connection may take to be there: requests do not wait for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it is left alone after it has failed, give or take a tenth. One request makes several calls within this
/// time, so that it meets a Redis that fails again and again once, not each time.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is asked for a sign of life: so it is mostly this that finds it dead, not a request.
const ASK: Duration = Duration::from_secs(1);
/// Begins every key.
const PREFIX: &str = "tollgate:";

/// Counts one more, unless there are so many already: -1, or for how many milliseconds there are too many.
const TAKE: &str = "
local taken = tonumber(redis.call('GET', KEYS[1]) or '0')
local left = redis.call('PTTL', KEYS[1])
if taken >= tonumber(ARGV[1]) and left >= 0 then return left end
redis.call('INCR', KEYS[1])
if left < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return -1";
/// Counts one less.
const GIVE_BACK: &str = "
if tonumber(redis.call('GET', KEYS[1]) or '0') > 0 then redis.call('DECR', KEYS[1]) end
return 0";

/// Redis does not answer, not in time, or not with what was asked for: go on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shared cache is away")]
pub struct Away;

/// The address is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("redis.url (TOLLGATE_REDIS_URL) cannot be read by the driver")]
pub struct UnusableAddress;

/// How it stands.
#[derive(Clone)]
enum Standing {
    /// Nothing was tried yet.
    Unknown,
    /// It answers on this connection, which has this number.
    Up(u64, MultiplexedConnection),
    /// It does not.
    Away(String),
}

/// The shared cache. Cloning shares it.
#[derive(Clone)]
pub struct SharedCache {
    inner: Arc<Inner>,
}

struct Inner {
    standing: Mutex<Standing>,
    lost: Notify,
    connections: AtomicU64,
    timeout: Duration,
    take: Script,
    give_back: Script,
    buckets: Script,
    metrics: CacheMetrics,
}

impl core::fmt::Debug for SharedCache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SharedCache").finish_non_exhaustive()
    }
}

impl SharedCache {
    /// The cache, and the task that keeps it connected. Waits for the first attempt to connect; where it fails, things
    /// begin without.
    ///
    /// # Errors
    /// [`UnusableAddress`]; the metrics exist already.
    pub async fn start(
        config: &RedisConfig,
        metrics: &Metrics,
    ) -> Result<(Self, impl Future<Output = ()> + Send + use<>), StartFault> {
        // An error says that a provider was installed before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::open(config.url.expose()).map_err(|_| UnusableAddress)?;
        let inner = Inner {
            standing: Mutex::new(Standing::Unknown),
            lost: Notify::new(),
            connections: AtomicU64::new(0),
            timeout: config.timeout,
            take: Script::new(TAKE),
            give_back: Script::new(GIVE_BACK),
            buckets: buckets::script(),
            metrics: CacheMetrics::new(metrics)?,
        };
        let cache = Self { inner: Arc::new(inner) };
        let name = config.url.to_string();
        let first = cache.connect(&client, &name).await;
        Ok((cache.clone(), cache.keep_connected(client, name, first)))
    }

    /// Why it is away; `None` while it answers.
    pub fn away(&self) -> Option<String> {
        match &*self.inner.standing() {
            Standing::Unknown => Some("not connected yet".to_owned()),
            Standing::Up(..) => None,
            Standing::Away(why) => Some(why.clone()),
        }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Away> {
        let key = format!("{PREFIX}{key}");
        self.call("get", async move |mut redis| redis::cmd("GET").arg(key).query_async(&mut redis).await).await
    }

    /// Puts a value in place of the former one, for so long.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn put(&self, key: &str, value: &[u8], lifetime: Duration) -> Result<(), Away> {
        let (key, millis) = (format!("{PREFIX}{key}"), millis(lifetime));
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("PX").arg(millis);
        self.call("put", async move |mut redis| command.query_async(&mut redis).await).await
    }

    /// Counts one of this name, in one step for all replicas. The count begins with the first one and is forgotten
    /// after `window`. `Some`: there were `most` already, and the count is forgotten after so long.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn take(&self, key: &str, most: u32, window: Duration) -> Result<Option<Duration>, Away> {
        let (key, millis, script) = (format!("{PREFIX}{key}"), millis(window), self.inner.take.clone());
        let work = async move |mut redis: MultiplexedConnection| {
            let left: i64 = script.key(key).arg(most).arg(millis).invoke_async(&mut redis).await?;
            Ok(u64::try_from(left).ok().map(Duration::from_millis))
        };
        self.call("take", work).await
    }

    /// Takes one count back.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn give_back(&self, key: &str) -> Result<(), Away> {
        let (key, script) = (format!("{PREFIX}{key}"), self.inner.give_back.clone());
        self.call("give_back", async move |mut redis| script.key(key).invoke_async(&mut redis).await).await
    }

    async fn ping(&self) -> Result<String, Away> {
        self.call("ping", async |mut redis| redis::cmd("PING").query_async(&mut redis).await).await
    }

    /// Makes one call, a bounded time. Whatever goes wrong ends the connection for everyone.
    async fn call<T, W, F>(&self, operation: &'static str, work: W) -> Result<T, Away>
    where
        W: FnOnce(MultiplexedConnection) -> F,
        F: Future<Output = RedisResult<T>>,
    {
        let inner = &self.inner;
        let (number, connection) = match &*inner.standing() {
            Standing::Up(number, connection) => (*number, connection.clone()),
            Standing::Unknown | Standing::Away(_) => {
                inner.metrics.count(operation, "skipped");
                return Err(Away);
            }
        };
        let began = Instant::now();
        let span = tracing::debug_span!("cache", otel.name = operation, otel.kind = "client", db.system.name = "redis");
        let answer = timeout(inner.timeout, work(connection)).instrument(span).await;
        inner.metrics.observe(operation, began.elapsed());
        let (outcome, why) = match answer {
            Ok(Ok(value)) => {
                inner.metrics.count(operation, "answered");
                return Ok(value);
            }
            Ok(Err(error)) => ("failed", described(&error)),
            Err(_) => ("slow", format!("no answer within {:?}", inner.timeout)),
        };
        inner.metrics.count(operation, outcome);
        self.lose(number, why);
        Err(Away)
    }

    /// Ends a connection. Others that have met the same failure may have done so already.
    fn lose(&self, number: u64, why: String) {
        let mut standing = self.inner.standing();
        if matches!(&*standing, Standing::Up(current, _) if *current == number) {
            tracing::warn!(why, "the shared cache is away; going on without it");
            self.inner.metrics.up.set(0);
            *standing = Standing::Away(why);
            self.inner.lost.notify_one();
        }
    }

    /// Tries to connect. Says whether it is connected.
    async fn connect(&self, client: &Client, name: &str) -> bool {
        let connected = timeout(CONNECT_TIMEOUT, open(client)).await;
        let mut standing = self.inner.standing();
        let why = match connected {
            Ok(Ok(connection)) => {
                tracing::info!(redis = name, "the shared cache is there");
                self.inner.metrics.up.set(1);
                *standing = Standing::Up(self.inner.connections.fetch_add(1, Ordering::Relaxed), connection);
                return true;
            }
            Ok(Err(error)) => described(&error),
            Err(_) => format!("no connection within {CONNECT_TIMEOUT:?}"),
        };
        if !matches!(&*standing, Standing::Away(known) if *known == why) {
            tracing::warn!(redis = name, why, "cannot connect to the shared cache; going on without it");
        }
        self.inner.metrics.up.set(0);
        *standing = Standing::Away(why);
        false
    }

    async fn keep_connected(self, client: Client, name: String, mut connected: bool) {
        loop {
            while connected {
                connected = tokio::select! {
                    () = self.inner.lost.notified() => false,
                    () = tokio::time::sleep(ASK) => self.ping().await.is_ok(),
                };
            }
            tokio::time::sleep(PAUSE.mul_f64(random::jitter())).await;
            connected = self.connect(&client, &name).await;
        }
    }
}

impl Inner {
    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] UnusableAddress),
    /// The metrics contradict each other.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

/// Connects, signs in, and asks for a sign of life.
async fn open(client: &Client) -> RedisResult<MultiplexedConnection> {
    // Our own timeouts hold for every call.
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("PING").query_async::<String>(&mut connection).await?;
    Ok(connection)
}

/// What went wrong, in words of ours: what a server says may quote what it was sent, a password among it.
fn described(error: &RedisError) -> String {
    if error.is_connection_refusal() {
        "connection refused".to_owned()
    } else if error.is_connection_dropped() {
        "connection closed".to_owned()
    } else {
        error.category().to_owned()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

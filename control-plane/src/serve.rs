//! Puts the control plane together: store, keys, policy, tasks, two listeners; and takes it apart again. It must not know
//! a route or a rule.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tollgate_protocol::{
    edge::Settings,
    issuer::{ClaimNames, Issuer, IssuerKind, Jwk, MissingParty},
};

use crate::{
    app::App,
    assertion::Assertions,
    cache::{self, SharedCache},
    clerk::fetch::{FetchFault, Fetcher},
    config::{ClerkConfig, ClerkKeys, Config, LegacyConfig, settings},
    descriptors,
    domain::Actor,
    feed::Feed,
    http::{
        self, Parts, Readiness, Shared,
        tls::{TlsFault, TlsWatch},
    },
    metrics::Metrics,
    service::{
        ServiceError,
        board::Board,
        credits,
        directory::Directory,
        identities::{Identities, IdentitiesFault},
        key_sets::{Fetched, KeySets},
        policies::{self, Policies, PoliciesFault},
        refusals::Refusals,
        seen::Seen,
        shared_limits::SharedLimits,
        sign_in::{Counters, InMemory, Replicated, SignIn, SignInFault},
        webhooks::Webhooks,
    },
    store::StoreError,
};

/// How long requests in flight may take when the server stops.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be had.
    #[error("cannot listen on {address} ({key}, {env}): {source}{}", hint(.source))]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// The setting's key.
        key: &'static str,
        /// The setting's name in the environment.
        env: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot be used.
    #[error("cannot open the store (store, TOLLGATE_STORE): {0}")]
    Store(#[from] StoreError),
    /// The listeners cannot speak TLS.
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] TlsFault),
    /// The assertion key cannot be had.
    #[error("cannot load the assertion key: {0}")]
    AssertionKey(#[source] ServiceError),
    /// The older sign-in cannot be had.
    #[error("cannot prepare the sign-in: {0}")]
    SignIn(#[from] SignInFault),
    /// The rules for routes cannot be used.
    #[error(transparent)]
    Policy(#[from] PoliciesFault),
    /// Key sets could not be fetched.
    #[error("cannot fetch key sets: {0}")]
    Fetcher(#[from] FetchFault),
    /// The shared cache cannot be had: not that it is away.
    #[error("cannot use Redis: {0}")]
    Cache(#[from] cache::StartFault),
    /// Nor its secret.
    #[error("cannot use Redis: {0}")]
    Identities(#[from] IdentitiesFault),
    /// The metrics contradict each other.
    #[error("cannot register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::AddrInUse => "; another program has this port: stop it, or set another one",
        _ => "",
    }
}

/// A control plane that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the public API listens.
    pub api_addr: SocketAddr,
    /// Where the edge API listens.
    pub edge_addr: SocketAddr,
    stopping: watch::Sender<bool>,
    servers: JoinSet<()>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Stops: long polls are answered at once, requests in flight may finish within ten seconds.
    pub async fn shutdown(mut self) {
        self.stopping.send_replace(true);
        while self.servers.join_next().await.is_some() {}
        self.tasks.shutdown().await;
    }
}

/// Starts the control plane.
///
/// # Errors
/// [`StartError`] says what is in the way.
pub async fn start(config: Config) -> Result<Running, StartError> {
    let connections = descriptors::raise();
    let (api_listener, api_addr) = bind(config.api_listen, &settings::API_LISTEN)?;
    let (edge_listener, edge_addr) = bind(config.edge_listen, &settings::EDGE_LISTEN)?;
    let metrics = Metrics::new()?;
    let client_certificates = config.tls.as_ref().is_some_and(|files| files.client_ca.is_some());
    let (tls_watch, tls) = config.tls.clone().map(TlsWatch::open).transpose()?.unzip();
    let secrets =
        config.clerks().filter_map(|clerk| Some((&*clerk.issuer, &clerk.api_url, clerk.secret_key.as_ref()?)));
    let directory = Directory::new(secrets, &metrics)?;
    let app = App::open(&config).await?.with_directory(directory);
    let assertions = Assertions::load(&app).await.map_err(StartError::AssertionKey)?;
    let (in_force, policy, policy_file) = policies::load(&app, &config).await?;
    let mut tasks = JoinSet::new();
    let mut shared_cache = None;
    let mut identities = Identities::of_the_store();
    let mut counters: Arc<dyn Counters> = Arc::new(InMemory::default());
    if let Some(redis) = &config.redis {
        let (cache, connecting) = SharedCache::start(redis, &metrics).await?;
        tasks.spawn(connecting);
        counters = Arc::new(Replicated::load(&app, cache.clone()).await.map_err(SignInFault::from)?);
        shared_cache = Some(cache.clone());
        identities = Identities::load(&app, cache, redis.identities_for, &metrics).await?;
    }
    let sign_in = SignIn::load(&app, config.legacy.as_ref(), counters).await?;
    let own_keys = sign_in.as_ref().map(|sign_in| sign_in.public_keys(app.clock.now())).unwrap_or_default();
    let board = Board::new(Settings {
        issuers: issuers(&config, &own_keys),
        policy,
        accept_imported_keys: config.accept_imported_keys,
        assertion: Some(assertions.for_edges()),
    });
    let key_sets = KeySets::load(&app, &board, fetched(&config)).await?;
    let (stopping, stop) = watch::channel(false);

    if !key_sets.issuers().is_empty() {
        let fetcher = Fetcher::new()?;
        tasks.spawn(key_sets.clone().keep_up(app.clone(), board.clone()));
        for issuer in key_sets.issuers() {
            let (app, board, fetcher) = (app.clone(), board.clone(), fetcher.clone());
            tasks.spawn(key_sets.clone().keep_fresh(issuer, app, board, fetcher, metrics.clone()));
        }
    }
    if let Some(watch) = tls_watch {
        tasks.spawn(watch.watch(metrics.clone()));
    }
    let policies = Policies::new(board.clone(), metrics.clone(), in_force);
    match policy_file {
        Some(file) => tasks.spawn(file.watch(policies.clone())),
        None => tasks.spawn(policies.clone().keep_up(app.clone())),
    };
    tasks.spawn(Feed::keep_pruned(app.clone()));
    let settling = app.acting(Actor::System, None);
    tasks.spawn(credits::keep_settled(settling, metrics.clone()));
    if let Some(keys) = sign_in.as_ref().and_then(SignIn::own_keys) {
        let others = config.legacy.as_ref().map(|legacy| legacy.keys.clone()).unwrap_or_default();
        tasks.spawn(keys.clone().keep_current(app.clone(), board.clone(), others));
    }
    let (seen, notes) = Seen::start(app.clone());
    tasks.spawn(notes);

    let feed = Feed::new(app.clone(), board.clone(), key_sets.clone(), stop.clone(), metrics.clone());
    let webhooks = Webhooks::new(
        config.clerks().map(|clerk| (clerk.name.clone(), clerk.issuer.clone(), clerk.webhook_secrets.clone())),
    );
    let edge_secret = config.edge_secret;
    let shared = Shared::new(Parts {
        app,
        shared_limits: SharedLimits::new(shared_cache.clone()),
        cache: shared_cache,
        readiness: Readiness::default(),
        identities,
        board,
        policies,
        refusals: Refusals::default(),
        key_sets,
        feed,
        assertions,
        edge_secret,
        client_certificates,
        sign_in,
        webhooks,
        seen,
        metrics,
    });
    let mut servers = JoinSet::new();
    servers.spawn(http::server::serve(
        api_listener,
        connections.api,
        tls.clone(),
        http::api::router(shared.clone()),
        stop.clone(),
        STOP_DEADLINE,
    ));
    let edge_router = http::edge::router(shared);
    servers.spawn(http::server::serve(edge_listener, connections.edge, tls, edge_router, stop, STOP_DEADLINE));
    tracing::info!(api = %api_addr, edge = %edge_addr, envoys = connections.edge, "control plane listens");
    Ok(Running { api_addr, edge_addr, stopping, servers, tasks })
}

fn bind(address: SocketAddr, setting: &settings::Setting) -> Result<(TcpListener, SocketAddr), StartError> {
    let fault = |source| StartError::Listen { address, key: setting.key, env: setting.env, source };
    let listener = http::server::listen(address).map_err(fault)?;
    let bound = listener.local_addr().map_err(fault)?;
    Ok((listener, bound))
}

/// Whose tokens edges believe. `own_keys`: keys of our own with which the older sign-in signs.
pub(crate) fn issuers(config: &Config, own_keys: &[Jwk]) -> Vec<Issuer> {
    let legacy = config.legacy.iter().map(|legacy| legacy_issuer(legacy, own_keys));
    config.clerks().map(clerk_issuer).chain(legacy).collect()
}

fn clerk_issuer(clerk: &ClerkConfig) -> Issuer {
    let keys = match &clerk.keys {
        ClerkKeys::Fixed(key) => vec![key.clone()],
        ClerkKeys::Fetched { .. } => Vec::new(),
    };
    Issuer {
        kind: IssuerKind::Clerk,
        issuer: Some(clerk.issuer.clone()),
        authorized_parties: clerk.authorized_parties.clone(),
        missing_party: clerk.missing_party,
        audience: Vec::new(),
        leeway_seconds: clerk.leeway_seconds,
        max_lifetime_seconds: None,
        claims: ClaimNames::default(),
        keys,
    }
}

fn legacy_issuer(legacy: &LegacyConfig, own_keys: &[Jwk]) -> Issuer {
    Issuer {
        kind: IssuerKind::Legacy,
        issuer: legacy.issuer.clone(),
        authorized_parties: Vec::new(),
        missing_party: MissingParty::default(),
        audience: legacy.audience.clone(),
        leeway_seconds: legacy.leeway_seconds,
        max_lifetime_seconds: None,
        claims: ClaimNames::default(),
        keys: legacy.keys.iter().chain(own_keys).cloned().collect(),
    }
}

fn fetched(config: &Config) -> Vec<Fetched> {
    config
        .clerks()
        .filter_map(|clerk| match &clerk.keys {
            ClerkKeys::Fixed(_) => None,
            ClerkKeys::Fetched { url, refresh, min_interval } => Some(Fetched {
                issuer: clerk.issuer.clone(),
                url: url.clone(),
                refresh: *refresh,
                min_interval: *min_interval,
            }),
        })
        .collect()
}

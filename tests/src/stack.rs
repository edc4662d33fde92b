//! Everything at once, as it is shipped: Envoy with the filter, the control plane, an issuer, a backend, all on ports
//! and in a folder of their own. Dropping it ends all of it. It must not know what a test wants to show.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tollgate::{
    app::App,
    clerk::url::JwksUrl,
    config::{ClerkConfig, ClerkKeys, Config, LegacyConfig, Secret, StoreLocation},
    dev::{
        echo::Echo,
        issuer::Issuer,
        mint::{ClerkToken, IssuerKey, LegacyToken},
        shipped,
    },
    domain::User,
    service::{
        keys::{self, Issued, NewKey},
        users::{self, NewUser},
    },
};
use tollgate_protocol::issuer::Jwk;

use crate::{
    control_plane::{ControlPlane, Kind},
    echo::Seen,
    envoy::{Envoy, Surroundings},
    http::{self, Answer, Request},
    ports,
    wait::{PATIENCE, until},
};

/// The issuer of Clerk tokens, claim `iss`.
pub const ISSUER: &str = "https://issuer.test";
/// The web app, claim `azp`.
pub const PARTY: &str = "https://app.test";
pub(crate) const LEGACY_SECRET: &str = "legacy-secret-of-the-tests-0123456789";
const EDGE_SECRET: &str = "edge-secret-of-the-tests-0123456789";

/// What is different from the usual.
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker threads of Envoy.
    pub workers: u16,
    /// Where the control plane runs.
    pub control_plane: Kind,
    /// Start Envoy alone; the control plane's ports are free until [`Stack::start_control_plane`].
    pub control_plane_later: bool,
    /// Settings of the filter, one `name: value` each.
    pub filter_settings: Vec<String>,
    /// Values of `aud` of which legacy tokens need one.
    pub legacy_audience: Vec<String>,
    /// Keys of the legacy issuer, instead of the shared secret.
    pub legacy_keys: Vec<Jwk>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 2,
            control_plane: Kind::Inside,
            control_plane_later: false,
            filter_settings: Vec::new(),
            legacy_audience: Vec::new(),
            legacy_keys: Vec::new(),
        }
    }
}

/// Everything, running.
#[derive(Debug)]
pub struct Stack {
    /// Envoy with the filter.
    pub envoy: Envoy,
    /// The issuer of Clerk tokens.
    pub issuer: Issuer,
    /// The settings of the control plane.
    pub config: Config,
    control_plane: Option<ControlPlane>,
    kind: Kind,
    app: App,
    _echo: Echo,
    // The last one: the folder goes when nobody writes into it any more.
    dir: TempDir,
}

impl Stack {
    /// Starts everything and waits until the filter decides.
    ///
    /// # Panics
    /// If a part does not start.
    pub async fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let listener = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.set_nonblocking(true).expect("a listener");
            listener
        };
        let echo = Echo::start(listener()).expect("the backend");
        let issuer = Issuer::start(listener(), ISSUER, new_key(), None).expect("the issuer");
        let config = config(&dir, &options, &issuer);
        let app = App::open(&config).await.expect("the store");
        let control_plane = match options.control_plane_later {
            true => None,
            false => Some(ControlPlane::start(options.control_plane, &config, log(&dir)).await),
        };
        let around = Surroundings {
            dir: dir.path().to_owned(),
            workers: options.workers,
            api_port: config.api_listen.port(),
            edge_port: config.edge_listen.port(),
            backend_port: echo.addr.port(),
            edge_secret: EDGE_SECRET.to_owned(),
            filter_settings: options.filter_settings,
        };
        let envoy = Envoy::start(&around).await;
        let kind = options.control_plane;
        let stack = Self { envoy, issuer, config, control_plane, kind, app, _echo: echo, dir };
        if stack.control_plane.is_some() {
            stack.wait_for_settings().await;
        }
        stack
    }

    /// Waits until every worker of Envoy answers something other than `not_ready`.
    async fn wait_for_settings(&self) {
        let ready = || async {
            let answer = self.send(&Request::get("/public/ready")).await;
            (answer.status == 200).then_some(())
        };
        until("the filter has settings", PATIENCE, ready).await;
    }

    /// Starts the control plane at its former ports.
    ///
    /// # Panics
    /// If it does not start, or runs already.
    pub async fn start_control_plane(&mut self) {
        assert!(self.control_plane.is_none(), "the control plane runs");
        self.control_plane = Some(ControlPlane::start(self.kind, &self.config, log(&self.dir)).await);
    }

    /// Ends the control plane.
    ///
    /// # Panics
    /// If it does not run, or does not end.
    pub async fn stop_control_plane(&mut self) {
        self.control_plane.take().expect("the control plane runs").stop().await;
    }

    /// Makes the control plane stand still, or go on. See [`ControlPlane::freeze`].
    ///
    /// # Panics
    /// If it does not run as a program.
    pub fn freeze_control_plane(&self, frozen: bool) {
        self.control_plane.as_ref().expect("the control plane runs").freeze(frozen);
    }

    /// Sends one request through Envoy, on a connection of its own.
    ///
    /// # Panics
    /// If there is no answer.
    pub async fn send(&self, request: &Request) -> Answer {
        http::send(self.envoy.addr, request).await.expect("an answer")
    }

    /// Sends one request that the backend shall see.
    ///
    /// # Panics
    /// If it is not let through.
    pub async fn seen(&self, request: &Request) -> Seen {
        Seen::of(&self.send(request).await)
    }

    /// A new user of the store, as the older sign-in has made them.
    ///
    /// # Panics
    /// If the store does not take it.
    pub async fn user(&self, email: &str) -> User {
        self.named_user(email, "Ada").await
    }

    /// The same with a name.
    ///
    /// # Panics
    /// If the store does not take it.
    pub async fn named_user(&self, email: &str, name: &str) -> User {
        let new = NewUser { email: Some(email.to_owned()), email_verified: true, name: Some(name.to_owned()) };
        users::create(&self.app, &new).await.expect("a user")
    }

    /// The store behind everything.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Issues an API key.
    ///
    /// # Panics
    /// If it cannot be issued.
    pub async fn api_key(&self, user: &User, scopes: &[&str]) -> Issued {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let new = NewKey { name: "test".to_owned(), scopes, expires_at: None };
        keys::issue(&self.app, &user.id, &new).await.expect("a key")
    }

    /// A good Clerk token of a person, not signed yet.
    pub fn clerk(&self, email: &str) -> ClerkToken {
        ClerkToken::for_person(ISSUER, email, self.now()).party(PARTY)
    }

    /// Signs a Clerk token with the issuer's key.
    ///
    /// # Panics
    /// If it cannot be signed.
    pub fn sign(&self, token: &ClerkToken) -> String {
        token.sign(&self.issuer.key().expect("a key")).expect("a signature")
    }

    /// A good Clerk token of a person, signed.
    pub fn clerk_jwt(&self, email: &str) -> String {
        self.sign(&self.clerk(email))
    }

    /// A good legacy token, not signed yet.
    pub fn legacy(&self, subject: &str) -> LegacyToken {
        LegacyToken::for_user(subject, self.now())
    }

    /// Signs a legacy token with the shared secret.
    pub fn sign_legacy(&self, token: &LegacyToken) -> String {
        token.sign(LEGACY_SECRET.as_bytes())
    }

    /// A good legacy token, signed.
    pub fn legacy_jwt(&self, subject: &str) -> String {
        self.sign_legacy(&self.legacy(subject))
    }

    /// The time, in unix seconds.
    pub fn now(&self) -> u64 {
        use tollgate::clock::{Clock as _, SystemClock};
        SystemClock.now().unix_seconds()
    }

    /// The control plane's metrics.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn metrics(&self) -> String {
        let answer = crate::control_plane::get(self.config.edge_listen, "/metrics").await.expect("metrics");
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    /// The sum of all samples of a counter of the control plane whose line holds every one of `labels`.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn counted(&self, name: &str, labels: &[&str]) -> f64 {
        let metrics = self.metrics().await;
        let ours =
            metrics.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let ours = ours.filter(|line| labels.iter().all(|label| line.contains(label)));
        ours.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }
}

/// A new key for an issuer.
///
/// # Panics
/// If none can be made.
pub fn new_key() -> IssuerKey {
    IssuerKey::generate().expect("a key")
}

fn log(dir: &TempDir) -> PathBuf {
    dir.path().join("control-plane.log")
}

fn config(dir: &TempDir, options: &Options, issuer: &Issuer) -> Config {
    let policy = dir.path().join("policy.toml");
    std::fs::write(&policy, shipped::POLICY).expect("the policy");
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut clerk = ClerkConfig::of_issuer(ISSUER).expect("an issuer");
    clerk.authorized_parties = vec![PARTY.to_owned()];
    clerk.keys = ClerkKeys::Fetched {
        url: JwksUrl::parse(issuer.jwks_url()).expect("an address"),
        refresh: Duration::from_secs(300),
        min_interval: Duration::from_millis(100),
    };
    let mut legacy = LegacyConfig::shared("HS256", &Secret::new(LEGACY_SECRET), None).expect("a secret");
    legacy.audience.clone_from(&options.legacy_audience);
    if !options.legacy_keys.is_empty() {
        legacy.keys.clone_from(&options.legacy_keys);
    }
    let mut config = Config::new(StoreLocation::Sqlite(dir.path().join("tollgate.db")), Secret::new(EDGE_SECRET));
    config.api_listen = local(ports::free());
    config.edge_listen = local(ports::free());
    config.clerk = Some(clerk);
    config.legacy = Some(legacy);
    config.policy_file = Some(policy);
    config
}

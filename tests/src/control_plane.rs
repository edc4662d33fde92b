//! The real control plane, inside the test's process or as a program of its own that can be killed. It must not know
//! Envoy.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tollgate::{
    config::{ClerkKeys, Config, SignInConfig, Signing, StoreLocation, settings},
    serve,
};

use crate::{
    http::{self, Request},
    stack::{LEGACY_SECRET, WEBHOOK_SECRET},
    wait::{PATIENCE, until},
};

/// Where the control plane runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// In the test's process.
    #[default]
    Inside,
    /// As the program `TOLLGATE_BIN`, which can be killed.
    Program,
}

/// A running control plane.
pub enum ControlPlane {
    /// In this process.
    Inside(Box<serve::Running>),
    /// A child; killed when this is dropped.
    Program(Box<Child>),
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlPlane")
    }
}

/// The program `tollgate`.
///
/// # Panics
/// If nobody said where it is.
pub fn program() -> PathBuf {
    let path = std::env::var_os("TOLLGATE_BIN").map(PathBuf::from);
    path.expect("TOLLGATE_BIN is not set: it names the program `tollgate`; `make test` builds it and sets this")
}

impl ControlPlane {
    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(kind: Kind, config: &Config, log: PathBuf) -> Self {
        let started = match kind {
            Kind::Inside => {
                Self::Inside(Box::new(serve::start(config.clone()).await.expect("the control plane starts")))
            }
            Kind::Program => Self::Program(Box::new(command(config, log).spawn().expect("TOLLGATE_BIN starts"))),
        };
        let ready = || async { (get(config.edge_listen, "/readyz").await?.status == 200).then_some(()) };
        until("the control plane is ready", PATIENCE, ready).await;
        started
    }

    /// The process, where it is a program of its own.
    pub fn process(&self) -> Option<u32> {
        match self {
            Self::Inside(_) => None,
            Self::Program(child) => child.id(),
        }
    }

    /// Stops the program where it stands, or lets it go on: it is there and does not answer.
    ///
    /// # Panics
    /// If it does not run as a program.
    pub fn freeze(&self, frozen: bool) {
        let Self::Program(child) = self else { panic!("only a program can be frozen") };
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("it runs");
        kill_process(pid, if frozen { Signal::STOP } else { Signal::CONT }).expect("a signal");
    }

    /// Asks the program to end, in the orderly way, and waits until it has.
    ///
    /// # Panics
    /// If it does not run as a program, or does not end well.
    pub async fn terminate(self) {
        let Self::Program(mut child) = self else { panic!("only a program can be asked to end") };
        let pid = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("it runs");
        kill_process(pid, Signal::TERM).expect("a signal");
        let status = tokio::time::timeout(Duration::from_secs(20), child.wait()).await.expect("it ends");
        assert!(status.expect("a status").success(), "it ends well");
    }

    /// Ends it: in the orderly way inside, with SIGKILL as a program.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn stop(self) {
        match self {
            Self::Inside(running) => {
                tokio::time::timeout(Duration::from_secs(10), running.shutdown())
                    .await
                    .expect("the control plane ends");
            }
            Self::Program(mut child) => child.kill().await.expect("the control plane is killed"),
        }
    }
}

/// One answer of the edge listener; `None` while nobody answers.
pub async fn get(addr: SocketAddr, path: &str) -> Option<http::Answer> {
    http::send(addr, &Request::get(path)).await.ok()
}

/// `tollgate serve` with these settings.
fn command(config: &Config, log: PathBuf) -> Command {
    let mut command = tool(config);
    let log = std::fs::OpenOptions::new().append(true).create(true).open(log).expect("a log file");
    command
        .arg("serve")
        .stdin(Stdio::null())
        .stderr(log.try_clone().expect("a log file"))
        .stdout(log)
        .kill_on_drop(true);
    command
}

/// `tollgate` with these settings, given through the environment; the arguments are to come.
///
/// # Panics
/// If nobody said where it is.
pub fn tool(config: &Config) -> Command {
    let mut command = Command::new(program());
    let mut set = |setting: &settings::Setting, value: String| {
        command.env(setting.env, value);
    };
    let store = match &config.store {
        StoreLocation::Sqlite(file) => format!("sqlite://{}", file.display()),
        StoreLocation::Mongo(url) => url.expose().to_owned(),
    };
    set(&settings::STORE, store);
    set(&settings::API_LISTEN, config.api_listen.to_string());
    set(&settings::EDGE_LISTEN, config.edge_listen.to_string());
    set(&settings::EDGE_SECRET, config.edge_secret.expose().to_owned());
    if let Some(tls) = &config.tls {
        set(&settings::TLS_CERTIFICATE, tls.certificate.display().to_string());
        set(&settings::TLS_KEY, tls.key.display().to_string());
        if let Some(authorities) = &tls.client_ca {
            set(&settings::TLS_CLIENT_CA, authorities.display().to_string());
        }
    }
    set(&settings::LOG_FORMAT, "json".to_owned());
    set(&settings::LOG_FILTER, config.log_filter.clone());
    if let Some(redis) = &config.redis {
        set(&settings::REDIS_URL, redis.url.expose().to_owned());
    }
    if let Some(otlp) = &config.otlp {
        set(&settings::OTLP_ENDPOINT, otlp.to_string());
    }
    if let Some(policy) = &config.policy_file {
        set(&settings::POLICY_FILE, policy.display().to_string());
    }
    if let Some(clerk) = &config.clerk {
        set(&settings::CLERK_ISSUER, clerk.issuer.clone());
        set(&settings::CLERK_AUTHORIZED_PARTIES, clerk.authorized_parties.join(","));
        if !clerk.webhook_secrets.is_empty() {
            set(&settings::CLERK_WEBHOOK_SECRETS, WEBHOOK_SECRET.to_owned());
        }
        if let Some(key) = &clerk.secret_key {
            set(&settings::CLERK_SECRET_KEY, key.expose().to_owned());
            set(&settings::CLERK_API_URL, clerk.api_url.to_string());
        }
        if let ClerkKeys::Fetched { url, refresh, min_interval } = &clerk.keys {
            set(&settings::CLERK_JWKS_URL, url.to_string());
            set(&settings::CLERK_JWKS_REFRESH, format!("{}ms", refresh.as_millis()));
            set(&settings::CLERK_JWKS_MIN_INTERVAL, format!("{}ms", min_interval.as_millis()));
        }
    }
    if let Some(legacy) = &config.legacy {
        set(&settings::LEGACY_SECRET, LEGACY_SECRET.to_owned());
        set(&settings::LEGACY_AUDIENCE, legacy.audience.join(","));
        if let Some(SignInConfig { signing: Signing::OwnKey, .. }) = &legacy.sign_in {
            set(&settings::LEGACY_SIGNING, "own_key".to_owned());
        }
    }
    command
}

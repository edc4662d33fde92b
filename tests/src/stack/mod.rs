//! Everything at once, as it is shipped: Envoy with the filter, the control plane, an issuer, a backend, all on ports
//! and in a folder of their own. Dropping it ends all of it. It must not know what a test wants to show.

mod options;
mod people;

use std::path::PathBuf;

pub use options::{ISSUER, LEGACY_SECRET, Options, PARTY, WEBHOOK_SECRET};
pub use people::{new_key, user_with_password};
use tempfile::TempDir;
use tollgate::{
    app::App,
    config::Config,
    dev::{echo::Echo, issuer::Issuer, shipped},
    service::policies,
};

use crate::{
    control_plane::{ControlPlane, Kind},
    echo::Seen,
    envoy::{Envoy, Surroundings},
    http::{self, Answer, Request},
    wait::{PATIENCE, until},
};
use options::{EDGE_SECRET, config};

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
        if options.policy_in_store {
            policies::put(&app, shipped::POLICY, None).await.expect("the rules");
        }
        let control_plane = match options.control_plane_later {
            true => None,
            false => Some(ControlPlane::start(options.control_plane, &config, log(&dir)).await),
        };
        let around = Surroundings {
            dir: dir.path().to_owned(),
            workers: options.workers,
            api_port: config.api_listen.port(),
            edge_port: config.edge_listen.port(),
            backend_port: options.backend_port.unwrap_or(echo.addr.port()),
            edge_secret: EDGE_SECRET.to_owned(),
            filter_settings: options.filter_settings,
            trusted_hops: options.trusted_hops,
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
            (answer.status != 503).then_some(())
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

    /// Writes other rules into the file that the control plane watches.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write_policy(&self, text: &str) {
        let file = self.config.policy_file.as_ref().expect("a policy file");
        std::fs::write(file, text).expect("the rules are written");
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

fn log(dir: &TempDir) -> PathBuf {
    dir.path().join("control-plane.log")
}

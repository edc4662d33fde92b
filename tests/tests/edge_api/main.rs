//! The edge API on real listeners: settings and changes, look-ups, key sets of issuers that misbehave, start and stop.

mod crowd;
mod fake_issuer;
mod key_sets;
mod listeners;
mod resolve;
mod sync;
mod tls;

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use tollgate::{
    app::App,
    config::{ClerkConfig, Config, Secret, StoreLocation},
    serve::{self, Running},
};
use tollgate_protocol::{
    Cursor,
    edge::{Outcome, ResolveAnswer, SyncAnswer},
};
use tollgate_tests::http::{Answer, Request, send};

pub(crate) const SECRET: &str = "edge-secret-of-the-tests";
pub(crate) const CLERK: &str = "https://clerk.test";

/// A control plane of its own, with its data in a folder of its own.
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) running: Running,
    _folder: tempfile::TempDir,
}

/// Settings with ports that are free and data in a fresh folder.
pub(crate) fn config() -> (Config, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = StoreLocation::Sqlite(folder.path().join("tollgate.db"));
    let mut config = Config::new(store, Secret::new(SECRET));
    config.api_listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.edge_listen = config.api_listen;
    (config, folder)
}

/// Clerk with a key set at `url`, fetched so often.
pub(crate) fn clerk(url: &str, refresh: Duration, min_interval: Duration) -> ClerkConfig {
    let mut clerk = ClerkConfig::of_issuer(CLERK).expect("an issuer");
    let url = tollgate::clerk::url::JwksUrl::parse(url).expect("a URL");
    clerk.keys = tollgate::config::ClerkKeys::Fetched { url, refresh, min_interval };
    clerk
}

impl Server {
    pub(crate) async fn start(config: Config, folder: tempfile::TempDir) -> Self {
        let running = serve::start(config.clone()).await.expect("it starts");
        Self { config, running, _folder: folder }
    }

    pub(crate) async fn plain() -> Self {
        let (config, folder) = config();
        Self::start(config, folder).await
    }

    /// Stops and starts again on the same data.
    pub(crate) async fn restart(self) -> Self {
        let Self { config, running, _folder } = self;
        running.shutdown().await;
        Self::start(config, _folder).await
    }

    pub(crate) async fn stop(self) {
        self.running.shutdown().await;
    }

    /// Another process's handle on the same data.
    pub(crate) async fn other_process(&self) -> App {
        App::open(&self.config).await.expect("the store opens")
    }

    pub(crate) async fn edge(&self, request: Request) -> Answer {
        send(self.running.edge_addr, &request.bearer(SECRET)).await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.edge(Request::post(path, body.to_string()).header("Content-Type", "application/json")).await
    }

    pub(crate) async fn sync(&self, cursor: Option<&Cursor>) -> SyncAnswer {
        let path = match cursor {
            Some(cursor) => format!("/edge/v1/sync?cursor={cursor}&node=n1"),
            None => "/edge/v1/sync?node=n1".to_owned(),
        };
        let answer = self.edge(Request::get(&path)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("a sync answer")
    }

    pub(crate) async fn resolve(&self, body: Value) -> Outcome {
        let answer = self.post("/edge/v1/resolve", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice::<ResolveAnswer>(&answer.body).expect("a resolve answer").outcome
    }

    /// The keys of the Clerk issuer that edges get now.
    pub(crate) async fn kids(&self) -> Vec<String> {
        let settings = self.sync(None).await.settings.expect("settings");
        let issuer = settings.issuers.into_iter().find(|issuer| issuer.issuer.as_deref() == Some(CLERK));
        issuer.expect("the issuer").keys.into_iter().filter_map(|key| key.kid).collect()
    }
}

/// Claims of a Clerk token.
pub(crate) fn clerk_claims(subject: &str, email: Option<&str>, verified: bool) -> Value {
    let mut claims = json!({"credential": "clerk", "issuer": CLERK, "subject": subject, "email_verified": verified});
    if let Some(email) = email {
        claims["email"] = json!(email);
    }
    claims
}

//! What an operator sees: metrics, traces, logs, readiness; and that no secret is in any of them.

mod collector;
mod logs;
mod metrics;
mod ready;
mod secrets;
mod traces;

use std::{net::SocketAddr, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use tollgate::{
    clock::{Clock as _, SystemClock},
    config::{Config, LegacyConfig, Secret, StoreLocation},
    domain::User,
};
use tollgate_protocol::edge::{AssertionKey, SyncAnswer};
use tollgate_tests::{
    control_plane::{ControlPlane, Kind},
    http::{Answer, Request, send},
    ports,
    stack::LEGACY_SECRET,
};

const EDGE_SECRET: &str = "edge-secret-of-the-tests-kV7Qm2Zx9RtB";

/// Settings with ports that are free and data in a fresh folder.
fn config(folder: &tempfile::TempDir) -> Config {
    let local = || SocketAddr::from(([127, 0, 0, 1], ports::free()));
    let mut config = Config::new(StoreLocation::Sqlite(folder.path().join("tollgate.db")), Secret::new(EDGE_SECRET));
    (config.api_listen, config.edge_listen) = (local(), local());
    config.legacy = Some(LegacyConfig::shared("HS256", &Secret::new(LEGACY_SECRET), None).expect("a secret"));
    config
}

/// The program, with its log in a file.
struct Program {
    config: Config,
    control_plane: ControlPlane,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Program {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = config(&folder);
        change(&mut config);
        let log = folder.path().join("log");
        let control_plane = ControlPlane::start(Kind::Program, &config, log.clone()).await;
        Self { config, control_plane, log, _folder: folder }
    }

    async fn api(&self, request: Request) -> Answer {
        send(self.config.api_listen, &request).await.expect("an answer")
    }

    async fn edge(&self, request: Request) -> Answer {
        send(self.config.edge_listen, &request).await.expect("an answer")
    }

    async fn resolve(&self, question: Value) -> Answer {
        self.edge(post("/edge/v1/resolve", &question).bearer(EDGE_SECRET)).await
    }

    /// An assertion, as an edge makes them.
    async fn assertion(&self, user: &User) -> String {
        let answer = self.edge(Request::get("/edge/v1/sync?node=n1").bearer(EDGE_SECRET)).await;
        let answer: SyncAnswer = serde_json::from_slice(&answer.body).expect("a sync answer");
        assertion(&answer.settings.and_then(|settings| settings.assertion).expect("an assertion key"), user)
    }

    /// The lines of the log so far.
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.log).expect("a log");
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}"))).collect()
    }
}

fn assertion(key: &AssertionKey, user: &User) -> String {
    let now = SystemClock.now().unix_seconds();
    let claims = json!({
        "iss": "tollgate-edge", "aud": "tollgate", "sub": user.id.as_str(), "iat": now, "exp": now + 30,
        "method": "legacy",
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "EdDSA", "kid": key.kid, "typ": "JWT"})), part(&claims));
    let seed = URL_SAFE_NO_PAD.decode(&key.seed).expect("base64url");
    let key = SigningKey::from_bytes(&seed.try_into().expect("32 bytes"));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes()))
}

fn post(path: &str, body: &Value) -> Request {
    Request::post(path, body.to_string()).header("Content-Type", "application/json")
}

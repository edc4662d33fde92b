//! Credits on real control planes: the public API, the edge API, and the ledger when everything goes wrong at once.

mod api;
mod chaos;
mod edge;
mod node;

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use tollgate::{
    app::App,
    clock::{Clock as _, SystemClock},
    config::{Config, Secret, StoreLocation},
    domain::{User, UserId},
    serve::{self, Running},
    service::users,
};
use tollgate_protocol::edge::{AssertionKey, SyncAnswer};
use tollgate_tests::http::{Answer, Request, send};

pub(crate) const SECRET: &str = "edge-secret-of-the-tests";

/// Signs as an edge does.
#[derive(Clone)]
pub(crate) struct Signer {
    key: SigningKey,
    kid: String,
}

impl Signer {
    fn new(key: AssertionKey) -> Self {
        let seed = URL_SAFE_NO_PAD.decode(key.seed).expect("base64url");
        Self { key: SigningKey::from_bytes(&seed.try_into().expect("32 bytes")), kid: key.kid }
    }

    /// The key that a control plane gives its edges.
    pub(crate) async fn of(edge: SocketAddr) -> Self {
        let sync = send(edge, &Request::get("/edge/v1/sync").bearer(SECRET)).await.expect("an answer");
        let sync: SyncAnswer = serde_json::from_slice(&sync.body).expect("a sync answer");
        Self::new(sync.settings.and_then(|settings| settings.assertion).expect("an assertion key"))
    }

    /// An assertion that somebody has asked with a key of these scopes.
    pub(crate) fn assertion(&self, user: &UserId, scopes: &[&str]) -> String {
        let now = SystemClock.now().unix_seconds();
        let claims = json!({
            "iss": "tollgate-edge", "aud": "tollgate", "sub": user.as_str(), "iat": now, "exp": now + 30,
            "method": "api_key", "role": "user", "scopes": scopes,
        });
        let header = json!({"alg": "EdDSA", "kid": self.kid, "typ": "JWT"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(signed.as_bytes()).to_bytes();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A control plane in this process, with a user.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) app: App,
    pub(crate) signer: Signer,
    pub(crate) ada: User,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = StoreLocation::Sqlite(folder.path().join("tollgate.db"));
        let mut config = Config::new(store, Secret::new(SECRET));
        config.api_listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.edge_listen = config.api_listen;
        change(&mut config);
        let app = App::open(&config).await.expect("the store opens");
        let running = serve::start(config).await.expect("it starts");
        let signer = Signer::of(running.edge_addr).await;
        let ada = users::ensure(&app, "ada@example.com", true, Some("Ada")).await.expect("a user");
        Self { running, app, signer, ada, _folder: folder }
    }

    /// Asks the public API as Ada, with these scopes.
    pub(crate) async fn ask(&self, request: Request, scopes: &[&str]) -> Answer {
        let request = request.header("x-auth-assertion", self.signer.assertion(&self.ada.id, scopes));
        send(self.running.api_addr, &request).await.expect("an answer")
    }

    /// Asks the edge API.
    pub(crate) async fn edge(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path, body.to_string()).header("Content-Type", "application/json");
        send(self.running.edge_addr, &request.bearer(SECRET)).await.expect("an answer")
    }
}

/// The members in which an answer finds faults, sorted.
pub(crate) fn faults(answer: &Answer) -> Vec<String> {
    let problem = answer.json();
    assert_eq!((answer.status, problem["code"].as_str()), (400, Some("invalid_request")), "{}", answer.text());
    let faults = problem["faults"].as_array().expect("faults");
    let mut found: Vec<String> = faults.iter().filter_map(|fault| fault["field"].as_str().map(str::to_owned)).collect();
    found.sort_unstable();
    found
}

//! Walks every route of the public API with every kind of assertion that must not be believed, and shows what the right
//! one may and may not do.

mod admin;
mod assertion;
mod forward;
mod keys;
mod matrix;
mod openapi;
mod policy;

use std::net::SocketAddr;

use assertion::Signer;
use serde_json::{Value, json};
use tollgate::{
    app::App,
    config::{Config, LegacyConfig, PasswordCost, Secret, StoreLocation},
    domain::{Role, User, UserPatch},
    http::api::{OPEN_ROUTES, ROUTES},
    serve::{self, Running},
    service::{
        credits::balance,
        keys::{Issued, NewKey, issue, list},
        users,
    },
};
use tollgate_protocol::edge::SyncAnswer;
use tollgate_tests::http::{Answer, Request, send};

const SECRET: &str = "edge-secret-of-the-tests";
/// A request of which an Envoy has told that it was refused.
const DENIED: &str = "denied-request";
const LEGACY_SECRET: &str = "legacy-secret-of-the-tests-0123456789";

/// A control plane with two users who have a key each.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) app: App,
    pub(crate) signer: Signer,
    pub(crate) ada: User,
    pub(crate) bob: User,
    pub(crate) boss: User,
    pub(crate) adas_key: Issued,
    pub(crate) bobs_key: Issued,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The store, for another process.
    pub(crate) fn store(&self) -> StoreLocation {
        StoreLocation::Sqlite(self.folder.path().join("tollgate.db"))
    }

    /// With other settings.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = StoreLocation::Sqlite(folder.path().join("tollgate.db"));
        let mut config = Config::new(store, Secret::new(SECRET));
        config.api_listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.edge_listen = config.api_listen;
        let mut legacy = LegacyConfig::shared("HS256", &Secret::new(LEGACY_SECRET), None).expect("a secret");
        if let Some(sign_in) = &mut legacy.sign_in {
            // What a password costs is not what is tested here.
            sign_in.cost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };
        }
        config.legacy = Some(legacy);
        change(&mut config);
        let app = App::open(&config).await.expect("the store opens");
        let running = serve::start(config).await.expect("it starts");
        let sync = send(running.edge_addr, &Request::get("/edge/v1/sync").bearer(SECRET)).await.expect("an answer");
        let sync: SyncAnswer = serde_json::from_slice(&sync.body).expect("a sync answer");
        let signer = Signer::new(sync.settings.and_then(|settings| settings.assertion).expect("an assertion key"));
        let report = json!({"node": "n", "batch": 1, "refused": [{"request_id": DENIED, "at": 1_800_000_000,
            "code": "role_required", "method": "GET", "route": "/a", "carrier": "token", "user_id": "usr_1"}]});
        let report = Request::post("/edge/v1/refusals", report.to_string()).bearer(SECRET);
        let told =
            send(running.edge_addr, &report.header("Content-Type", "application/json")).await.expect("an answer");
        assert_eq!(told.status, 200, "{}", told.text());
        let ada = users::ensure(&app, "ada@example.com", true, Some("Ada")).await.expect("a user");
        let bob = users::ensure(&app, "bob@example.com", true, Some("Bob")).await.expect("a user");
        let boss = users::ensure(&app, "boss@example.com", true, Some("Boss")).await.expect("a user");
        let admin = UserPatch { role: Some(Role::Admin), ..UserPatch::default() };
        let boss = users::update(&app, &boss.id, &admin, None).await.expect("an administrator");
        let new = NewKey { name: "laptop".into(), scopes: vec!["a:read".into()], expires_at: None, rate: None };
        let adas_key = issue(&app, &ada.id, &new).await.expect("a key");
        let bobs_key = issue(&app, &bob.id, &new).await.expect("a key");
        Self { running, app, signer, ada, bob, boss, adas_key, bobs_key, folder }
    }

    /// What an edge says about Ada, signed in with Clerk.
    pub(crate) fn adas_claims(&self) -> Value {
        self.claims_of(&self.ada)
    }

    /// What an edge says about somebody who is signed in with Clerk.
    pub(crate) fn claims_of(&self, user: &User) -> Value {
        let now = self.signer.now();
        json!({
            "iss": "tollgate-edge", "aud": "tollgate", "sub": user.id.as_str(), "iat": now, "exp": now + 30,
            "method": "clerk", "role": "user", "email": "ada@example.com", "name": "Ada", "sid": "sess_1",
            "scopes": ["tokens:consume"],
        })
    }

    pub(crate) async fn ask(&self, request: Request) -> Answer {
        send(self.running.api_addr, &request).await.expect("an answer")
    }

    /// A request for a route of the table, aimed at what is Ada's, with a good body where one belongs.
    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let body = good_body(method, path).map(|body| body.to_string());
        self.request_with(method, path, body.as_deref())
    }

    /// The same with any body.
    pub(crate) fn request_with(&self, method: &str, path: &str, body: Option<&str>) -> Request {
        let id = match path {
            path if path.starts_with("/api/admin/users") => self.ada.id.as_str(),
            path if path.starts_with("/api/sessions") => "sess_1",
            path if path.starts_with("/api/admin/denials") => DENIED,
            _ => self.adas_key.key.id.as_str(),
        };
        let target = path.replace("{id}", id);
        // Routes that need no key of their own ignore it.
        let request = Request::new(method, &target).header("Idempotency-Key", "once");
        match body {
            Some(body) => request.body(body.as_bytes()).header("Content-Type", "application/json"),
            None => request,
        }
    }
}

/// What a route of the table is asked with; `None`: it takes no body.
pub(crate) fn good_body(method: &str, path: &str) -> Option<Value> {
    match (method, path) {
        ("GET" | "DELETE", _) | (_, "/auth/logout" | "/api/admin/users/{id}/logout") => None,
        ("PUT", _) => Some(json!({"policy": "default = \"authenticate\""})),
        ("PATCH", _) => Some(json!({"name": "changed"})),
        (_, path) if path.ends_with("/rotate") => Some(json!({"overlap_seconds": 60})),
        (_, "/api/admin/revocations") => Some(json!({"what": "token", "id": "jti_1"})),
        (_, "/api/tokens/consume") => Some(json!({"amount": 1})),
        (_, path) if path.ends_with("/grant") || path.ends_with("/adjust") => Some(json!({"amount": 1})),
        _ => Some(json!({"name": "made by an intruder"})),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_believes_anything_but_a_valid_assertion() {
    let world = World::start().await;
    let attempts = assertion::attempts(&world.signer, &world.adas_claims());
    let mut asked = 0;
    for (method, path) in ROUTES {
        for (what, headers) in &attempts {
            let mut request = world.request(method.as_str(), path);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let answer = world.ask(request).await;
            assert_eq!(answer.status, 401, "{method} {path} with {what}: {}", answer.text());
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
            assert_eq!(answer.json()["code"], "assertion_required", "{method} {path} with {what}");
            assert!(answer.header("www-authenticate").is_some(), "{what}");
            asked += 1;
        }
    }
    let keys = list(&world.app, &world.ada.id).await.expect("keys");
    assert_eq!(keys.len(), 1, "nothing was made and nothing revoked");
    let balance = balance(&world.app, &world.ada.id).await.expect("a balance");
    assert_eq!(balance.account.remaining, 10_000, "nothing was used");
    println!("{asked} requests: {} routes with {} kinds of bad assertions each", ROUTES.len(), attempts.len());
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_believes_the_valid_one() {
    let world = World::start().await;
    for (method, path) in ROUTES {
        let who = if path.starts_with("/api/admin") { &world.boss } else { &world.ada };
        let token = world.signer.sign(&world.claims_of(who));
        // What else is in the request does not count.
        let request = world.request(method.as_str(), path).header("x-auth-assertion", &token);
        let request = request.header("x-auth-user-id", world.bob.id.as_str()).header("x-auth-role", "admin");
        let answer = world.ask(request).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text());
        if *path == "/api/me" {
            assert_eq!(answer.json()["id"], world.ada.id.as_str());
            assert_eq!(answer.json()["role"], "user", "the store says so, whatever the header says");
        }
    }
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_routes_tell_public_keys_only() {
    let world = World::start().await;
    for (method, path) in OPEN_ROUTES {
        let answer = world.ask(Request::new(method.as_str(), path)).await;
        // Without a signing secret there are no webhooks.
        let expected = match *path {
            path if path.starts_with("/webhooks/") => 404,
            path if path.starts_with("/auth/") => 415,
            _ => 200,
        };
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text());
    }
    let answer = world.ask(Request::get("/.well-known/jwks.json")).await;
    let set = answer.json();
    let key = &set["keys"][0];
    assert_eq!(
        (answer.status, &key["x"], &key["kid"]),
        (200, &world.signer.public().into(), &world.signer.kid().into())
    );
    let members: Vec<&str> = key.as_object().expect("a key").keys().map(String::as_str).collect();
    assert_eq!(members, ["alg", "crv", "kid", "kty", "x"]);
    for (method, path) in
        [("GET", "/"), ("GET", "/api"), ("GET", "/api/keys/"), ("DELETE", "/api/me"), ("GET", "/metrics")]
    {
        let status = world.ask(Request::new(method, path)).await.status;
        assert!(matches!(status, 404 | 405), "{method} {path}: {status}");
    }
    world.running.shutdown().await;
}

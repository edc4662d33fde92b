//! The older sign-in on a real listener: logins, refresh tokens, logouts, sessions, and what none of them may tell.

mod passwords;
mod sessions;
mod tokens;

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use tollgate::{
    app::App,
    clock::{Clock as _, SystemClock},
    config::{Config, LegacyConfig, PasswordCost, Secret, SignInConfig, StoreLocation},
    domain::User,
    serve::{self, Running},
};
use tollgate_protocol::edge::{AssertionKey, SyncAnswer};
use tollgate_tests::{
    http::{Answer, Request, send},
    stack::user_with_password,
};

const EDGE_SECRET: &str = "edge-secret-of-the-tests";
const LEGACY_SECRET: &str = "legacy-secret-of-the-tests-0123456789";
const PASSWORD: &str = "correct horse battery staple";

/// A control plane on data of its own.
struct World {
    config: Config,
    running: Running,
    app: App,
    assertion: AssertionKey,
    _folder: tempfile::TempDir,
}

/// Passwords that cost next to nothing: what is tested is not their cost.
const CHEAP: PasswordCost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };

impl World {
    async fn start() -> Self {
        Self::with(|_, _| {}).await
    }

    /// With other settings.
    async fn with(change: impl FnOnce(&mut LegacyConfig, &mut SignInConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = StoreLocation::Sqlite(folder.path().join("tollgate.db"));
        let mut config = Config::new(store, Secret::new(EDGE_SECRET));
        config.api_listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.edge_listen = config.api_listen;
        let mut legacy = LegacyConfig::shared("HS256", &Secret::new(LEGACY_SECRET), None).expect("a secret");
        let mut sign_in = legacy.sign_in.take().expect("a sign-in");
        sign_in.cost = CHEAP;
        change(&mut legacy, &mut sign_in);
        legacy.sign_in = Some(sign_in);
        config.legacy = Some(legacy);
        let running = serve::start(config.clone()).await.expect("it starts");
        let app = App::open(&config).await.expect("the store opens");
        let assertion = sync(running.edge_addr).await.settings.and_then(|settings| settings.assertion);
        Self { config, running, app, assertion: assertion.expect("an assertion key"), _folder: folder }
    }

    /// A user; `None`: without a password.
    async fn user(&self, email: &str, password: Option<&str>) -> User {
        user_with_password(&self.config, email, password).await
    }

    /// The same as the store has them now.
    async fn now(&self, user: &User) -> User {
        tollgate::service::users::get(&self.app, &user.id).await.expect("a user")
    }

    async fn ask(&self, request: Request) -> Answer {
        send(self.running.api_addr, &request).await.expect("an answer")
    }

    /// From an address, as Envoy says.
    async fn post_from(&self, address: &str, path: &str, body: Value) -> Answer {
        let request = Request::post(path, body.to_string()).header("Content-Type", "application/json");
        self.ask(request.header("x-forwarded-for", address).header("User-Agent", "test/1.0")).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_from("203.0.113.9", path, body).await
    }

    async fn try_login(&self, email: &str, password: &str) -> Answer {
        self.post("/auth/login", json!({ "email": email, "password": password })).await
    }

    /// Signs in, and gives what the client gets.
    async fn login(&self, email: &str) -> Value {
        let answer = self.try_login(email, PASSWORD).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.json()
    }

    async fn try_refresh(&self, token: &Value) -> Answer {
        self.post("/auth/refresh", json!({ "refresh_token": token })).await
    }

    async fn refresh(&self, tokens: &Value) -> Value {
        let answer = self.try_refresh(&tokens["refresh_token"]).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// A request as an edge forwards it, for a credential of this kind and session.
    async fn as_user(&self, user: &User, method: &str, session: Option<&str>, request: Request) -> Answer {
        let now = SystemClock.now().unix_seconds();
        let mut claims = json!({
            "iss": "tollgate-edge", "aud": "tollgate", "sub": user.id.as_str(), "iat": now, "exp": now + 30,
            "method": method,
        });
        if let Some(session) = session {
            claims["sid"] = json!(session);
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "EdDSA", "kid": self.assertion.kid, "typ": "JWT"});
        let signed = format!("{}.{}", part(&header), part(&claims));
        let seed = URL_SAFE_NO_PAD.decode(&self.assertion.seed).expect("base64url");
        let key = SigningKey::from_bytes(&seed.try_into().expect("32 bytes"));
        let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).to_bytes());
        self.ask(request.header("x-auth-assertion", format!("{signed}.{signature}"))).await
    }

    async fn stop(self) {
        self.running.shutdown().await;
    }
}

async fn sync(edge: SocketAddr) -> SyncAnswer {
    let request = Request::get("/edge/v1/sync?node=n1").bearer(EDGE_SECRET);
    let answer = send(edge, &request).await.expect("an answer");
    serde_json::from_slice(&answer.body).expect("a sync answer")
}

/// The claims of a token, not verified.
fn claims(token: &Value) -> Value {
    part(token, 1)
}

/// A part of a token.
fn part(token: &Value, place: usize) -> Value {
    let text = token.as_str().expect("a token").split('.').nth(place).expect("a part");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).expect("base64url")).expect("JSON")
}

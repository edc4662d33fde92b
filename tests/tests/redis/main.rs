//! Control planes that share a real Redis, on SQLite and on MongoDB: what it is good for, and that it is never needed.

mod attempts;
mod identities;
mod limits;
mod outages;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate::{
    app::App,
    config::{Config, LegacyConfig, PasswordCost, RedisConfig, Secret, StoreLocation},
    domain::User,
    serve::{self, Running},
    service::{
        keys::{self, Issued, NewKey},
        users,
    },
};
use tollgate_protocol::{
    Identity,
    edge::{Outcome, ResolveAnswer, SyncAnswer},
};
use tollgate_tests::{
    http::{Answer, Request, send},
    mongod::{self, Cluster},
    wait::{PATIENCE, until},
};

const SECRET: &str = "edge-secret-of-the-tests";
const LEGACY_SECRET: &str = "legacy-secret-of-the-tests-0123456789";
/// Passwords that cost next to nothing: what is tested is not their cost.
const CHEAP: PasswordCost = PasswordCost { memory_kib: 64, passes: 1, lanes: 1 };

/// Held by whoever measures, against all others.
static QUIET: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// Several control planes on one store.
struct World {
    config: Config,
    replicas: Vec<Running>,
    app: App,
    _folder: tempfile::TempDir,
    _cluster: Option<std::sync::Arc<Cluster>>,
}

/// Where the data is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Sqlite,
    Mongo,
}

impl World {
    /// One control plane for each of these; `None`: without Redis.
    async fn start(kind: Kind, replicas: &[Option<RedisConfig>]) -> Self {
        Self::limited(kind, replicas, 10_000).await
    }

    /// The same, and so many logins of one account may fail.
    async fn limited(kind: Kind, replicas: &[Option<RedisConfig>], attempts: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (location, cluster) = match kind {
            Kind::Sqlite => (StoreLocation::Sqlite(folder.path().join("tollgate.db")), None),
            Kind::Mongo => {
                let cluster = Cluster::shared().await;
                (cluster.location(&mongod::fresh_name()), Some(cluster))
            }
        };
        let mut config = Config::new(location, Secret::new(SECRET));
        config.api_listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.edge_listen = config.api_listen;
        let mut legacy = LegacyConfig::shared("HS256", &Secret::new(LEGACY_SECRET), None).expect("a secret");
        let sign_in = legacy.sign_in.as_mut().expect("a sign-in");
        sign_in.cost = CHEAP;
        sign_in.per_account.most = attempts;
        config.legacy = Some(legacy);
        let mut running = Vec::new();
        for redis in replicas {
            let config = Config { redis: redis.clone(), ..config.clone() };
            running.push(serve::start(config).await.expect("it starts"));
        }
        let app = App::open(&config).await.expect("the store opens");
        Self { config, replicas: running, app, _folder: folder, _cluster: cluster }
    }

    async fn user(&self, email: &str) -> User {
        users::ensure(&self.app, email, true, Some("Ada")).await.expect("a user")
    }

    async fn key(&self, user: &User) -> Issued {
        let new = NewKey { name: "ci".into(), scopes: vec![], expires_at: None, rate: None };
        keys::issue(&self.app, &user.id, &new).await.expect("a key")
    }

    async fn edge(&self, replica: usize, request: Request) -> Answer {
        send(self.replicas[replica].edge_addr, &request.bearer(SECRET)).await.expect("an answer")
    }

    async fn resolve(&self, replica: usize, question: &Value) -> ResolveAnswer {
        let request =
            Request::post("/edge/v1/resolve", question.to_string()).header("Content-Type", "application/json");
        let answer = self.edge(replica, request).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("an answer")
    }

    async fn login(&self, replica: usize, email: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "password": password }).to_string();
        let request = Request::post("/auth/login", body).header("Content-Type", "application/json");
        let request = request.header("x-forwarded-for", "203.0.113.9");
        send(self.replicas[replica].api_addr, &request).await.expect("an answer")
    }

    /// Everything that edges get who know nothing.
    async fn sync(&self, replica: usize) -> SyncAnswer {
        let answer = self.edge(replica, Request::get("/edge/v1/sync?node=n1")).await;
        serde_json::from_slice(&answer.body).expect("a sync answer")
    }

    /// The sum of the samples of a metric whose line holds every one of `labels`.
    async fn counted(&self, replica: usize, name: &str, labels: &[&str]) -> f64 {
        let answer = self.edge(replica, Request::get("/metrics")).await;
        let text = String::from_utf8(answer.body).expect("text");
        let ours = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
        let ours = ours.filter(|line| labels.iter().all(|label| line.contains(label)));
        ours.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    async fn hits(&self, replica: usize) -> f64 {
        self.counted(replica, "tollgate_shared_identities_total", &["\"hit\""]).await
    }

    /// Waits until a replica has Redis, or has it no more.
    async fn wait_for_redis(&self, replica: usize, up: bool) {
        let is = || async { ((self.counted(replica, "tollgate_redis_up", &[]).await > 0.5) == up).then_some(()) };
        until(if up { "Redis is there" } else { "Redis is away" }, PATIENCE, is).await;
    }

    async fn stop(self) {
        for running in self.replicas {
            running.shutdown().await;
        }
    }
}

fn key_question(key: &Issued) -> Value {
    json!({ "credential": "api_key", "hash": key.key.hash })
}

fn legacy_question(user: &User) -> Value {
    json!({ "credential": "legacy", "subject": user.id.as_str() })
}

#[track_caller]
fn identity(answer: ResolveAnswer) -> Identity {
    match answer.outcome {
        Outcome::Identity(identity) => identity,
        Outcome::Refused(code) => panic!("refused: {code}"),
    }
}

//! What Clerk sends and what it is asked, on real listeners: webhooks that are forged, doubled, late or out of order, over
//! both kinds of store; users looked up at their creation, from a Backend API that misbehaves; several instances.

mod backend;
mod fake_api;
mod forged;
mod instances;
mod order;

use std::{net::SocketAddr, sync::Arc};

use serde_json::{Value, json};
use tollgate::{
    app::App,
    clerk::svix::SigningSecret,
    clock::{Clock as _, SystemClock},
    config::{ClerkConfig, ClerkKeys, Config, Secret, StoreLocation},
    domain::{ClerkIdentity, User, UserFilter},
    serve::{self, Running},
    store::Store,
};
use tollgate_protocol::{
    Identity,
    edge::{Outcome, ResolveAnswer, SyncAnswer},
    issuer::Jwk,
};
use tollgate_tests::{
    http::{Answer, Request, send},
    mongod::{self, Cluster},
    svix::Delivery,
};

const EDGE_SECRET: &str = "edge-secret-of-the-tests";
pub(crate) const CLERK: &str = "https://clerk.test";
pub(crate) const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
pub(crate) const FORMER_SECRET: &str = "whsec_plJ3nmyCDGBKInavdOK15jsl";
pub(crate) const PATH: &str = "/webhooks/clerk";

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Mongo,
}

/// A control plane on data of its own.
pub(crate) struct World {
    pub(crate) running: Running,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) location: StoreLocation,
    _folder: tempfile::TempDir,
    _cluster: Option<Arc<Cluster>>,
}

/// An instance of Clerk whose keys are nobody's business here.
pub(crate) fn instance(issuer: &str) -> ClerkConfig {
    let mut clerk = ClerkConfig::of_issuer(issuer).expect("an issuer");
    let (n, e) = (Some("AQAB".repeat(86)), Some("AQAB".into()));
    let (kty, alg) = ("RSA".into(), "RS256".into());
    clerk.keys = ClerkKeys::Fixed(Jwk { kty, alg, kid: None, crv: None, n, e, x: None, y: None, k: None });
    clerk
}

pub(crate) fn secrets(texts: &[&str]) -> Vec<SigningSecret> {
    texts.iter().map(|text| SigningSecret::parse(text).expect("a secret")).collect()
}

impl World {
    /// With webhooks of one instance, which has two secrets for a while.
    pub(crate) async fn start(kind: Kind) -> Self {
        let mut clerk = instance(CLERK);
        clerk.webhook_secrets = secrets(&[FORMER_SECRET, SECRET]);
        Self::with(kind, vec![clerk]).await
    }

    pub(crate) async fn with(kind: Kind, mut clerks: Vec<ClerkConfig>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (location, cluster) = match kind {
            Kind::Sqlite => (StoreLocation::Sqlite(folder.path().join("tollgate.db")), None),
            Kind::Mongo => {
                let cluster = Cluster::shared().await;
                (cluster.location(&mongod::fresh_name()), Some(cluster))
            }
        };
        let mut config = Config::new(location.clone(), Secret::new(EDGE_SECRET));
        config.api_listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.edge_listen = config.api_listen;
        config.clerk = Some(clerks.remove(0));
        config.more_clerk = clerks;
        let running = serve::start(config).await.expect("it starts");
        let store = tollgate::store::open(&location).await.expect("the store opens");
        Self { running, store, location, _folder: folder, _cluster: cluster }
    }

    /// A use case's view of the data.
    pub(crate) fn app(&self) -> App {
        App::with(Arc::clone(&self.store), Arc::new(SystemClock))
    }

    pub(crate) async fn ask(&self, request: Request) -> Answer {
        send(self.running.api_addr, &request).await.expect("an answer")
    }

    /// Delivers an event as Clerk does, and says with which status it was answered.
    pub(crate) async fn deliver(&self, id: &str, event: &Value) -> u16 {
        self.ask(Delivery::new(id, now(), event).signed(PATH, SECRET)).await.status
    }

    pub(crate) async fn resolve(&self, claims: &Value) -> Outcome {
        let request = Request::post("/edge/v1/resolve", claims.to_string()).header("Content-Type", "application/json");
        let answer = send(self.running.edge_addr, &request.bearer(EDGE_SECRET)).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice::<ResolveAnswer>(&answer.body).expect("a resolve answer").outcome
    }

    /// Everything that an Envoy is told.
    pub(crate) async fn sync(&self) -> SyncAnswer {
        let request = Request::get("/edge/v1/sync").bearer(EDGE_SECRET);
        let answer = send(self.running.edge_addr, &request).await.expect("an answer");
        serde_json::from_slice(&answer.body).expect("a sync answer")
    }

    pub(crate) async fn linked(&self, issuer: &str, id: &str) -> Option<User> {
        let identity = ClerkIdentity { issuer: issuer.into(), id: id.into() };
        self.store.user_by_clerk(&identity).await.expect("read")
    }

    pub(crate) async fn everybody(&self) -> Vec<User> {
        self.store.users(&UserFilter::default(), None, 100).await.expect("read")
    }

    /// One sample of the metrics; 0 where there is none.
    pub(crate) async fn counted(&self, sample: &str) -> f64 {
        let answer = send(self.running.edge_addr, &Request::get("/metrics")).await.expect("metrics");
        let text = String::from_utf8(answer.body).expect("text");
        let line = text.lines().find_map(|line| line.strip_prefix(sample)).map(str::trim);
        line.map_or(0.0, |value| value.parse().expect("a number"))
    }
}

pub(crate) fn now() -> u64 {
    SystemClock.now().unix_seconds()
}

/// A moment in this year, so many seconds after another, as Clerk writes it.
fn moment(seconds: i64) -> i64 {
    1_790_000_000_000 + seconds * 1000
}

/// A user as Clerk writes one, with a verified address.
pub(crate) fn user(id: &str, email: &str, seconds: i64) -> Value {
    json!({
        "object": "user", "id": id, "primary_email_address_id": "idn_1", "first_name": "Ada", "last_name": null,
        "email_addresses": [{
            "id": "idn_1", "email_address": email, "verification": {"status": "verified", "strategy": "email_code"},
        }],
        "image_url": "https://img.test/a", "has_image": true, "banned": false, "locked": false,
        "private_metadata": {"note": "nobody-may-log-this"}, "created_at": moment(0), "updated_at": moment(seconds),
    })
}

pub(crate) fn event(kind: &str, data: &Value) -> Value {
    json!({"object": "event", "type": kind, "data": data, "timestamp": moment(0), "instance_id": "ins_1"})
}

pub(crate) fn deleted(id: &str) -> Value {
    event("user.deleted", &json!({"object": "user", "id": id, "deleted": true}))
}

/// Claims of a token that says no address, as Clerk's tokens do where nobody has changed them.
pub(crate) fn claims(subject: &str) -> Value {
    json!({"credential": "clerk", "issuer": CLERK, "subject": subject, "email_verified": false})
}

pub(crate) fn identity(outcome: Outcome) -> Identity {
    match outcome {
        Outcome::Identity(identity) => identity,
        Outcome::Refused(code) => panic!("refused: {code}"),
    }
}

//! Control planes as programs on a store, and keys that can be revoked at them. It must not know who listens.

use std::{net::SocketAddr, sync::Arc};

use tempfile::TempDir;
use tokio::time::Instant;
use tollgate::{
    app::App,
    clock::{Clock as _, SystemClock},
    config::{Config, Secret, StoreLocation},
    service::{
        keys::{self, NewKey},
        users,
    },
};
use tollgate_benches::assertion::Signer;
use tollgate_protocol::edge::{SYNC_PATH, SyncAnswer};
use tollgate_tests::{
    control_plane::{ControlPlane, Kind},
    http::{Request, send},
    mongod::Cluster,
    ports,
};

/// The edge secret.
pub(crate) const SECRET: &str = "edge-secret-of-the-benchmarks";
/// Keys of one user.
const KEYS: usize = 90;

/// One control plane, which may be away.
pub(crate) struct Replica {
    config: Config,
    running: Option<ControlPlane>,
}

/// A key that can be revoked.
struct Key {
    user: String,
    id: String,
    hash: String,
}

/// Control planes on one store.
pub(crate) struct World {
    /// Name of the store.
    pub(crate) name: &'static str,
    replicas: Vec<Replica>,
    keys: Vec<Key>,
    signer: Option<Signer>,
    _cluster: Option<Arc<Cluster>>,
    folder: TempDir,
}

impl World {
    /// One on SQLite.
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = StoreLocation::Sqlite(folder.path().join("tollgate.db"));
        Self::start("SQLite", store, 1, folder, None).await
    }

    /// Two on a replica set of one real mongod.
    pub(crate) async fn mongodb() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let cluster = Arc::new(Cluster::set(1).await);
        Self::start("MongoDB", cluster.location("fleet"), 2, folder, Some(cluster)).await
    }

    async fn start(
        name: &'static str,
        store: StoreLocation,
        number: usize,
        folder: TempDir,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        let config = || {
            let mut config = Config::new(store.clone(), Secret::new(SECRET));
            config.api_listen = SocketAddr::from(([127, 0, 0, 1], ports::free()));
            config.edge_listen = SocketAddr::from(([127, 0, 0, 1], ports::free()));
            config
        };
        let replicas: Vec<Replica> = (0..number).map(|_| Replica { config: config(), running: None }).collect();
        let keys = keys(&App::open(&replicas[0].config).await.expect("the store opens")).await;
        let mut world = Self { name, replicas, keys, signer: None, _cluster: cluster, folder };
        for number in 0..number {
            world.run(number).await;
        }
        let first = Request::get(SYNC_PATH).bearer(SECRET);
        let first = send(world.edges()[0], &first).await.expect("an answer");
        let first: SyncAnswer = serde_json::from_slice(&first.body).expect("a sync answer");
        world.signer = first.settings.and_then(|settings| settings.assertion).map(Signer::new);
        world
    }

    /// Where Envoys ask.
    pub(crate) fn edges(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|replica| replica.config.edge_listen).collect()
    }

    /// The process of a control plane.
    pub(crate) fn process(&self, replica: usize) -> u32 {
        self.replicas[replica].running.as_ref().and_then(ControlPlane::process).expect("it runs")
    }

    /// Starts a control plane, and waits until it answers.
    pub(crate) async fn run(&mut self, replica: usize) {
        let log = self.folder.path().join(format!("log{replica}"));
        let replica = &mut self.replicas[replica];
        replica.running = Some(ControlPlane::start(Kind::Program, &replica.config, log).await);
    }

    /// Ends one in the orderly way.
    pub(crate) async fn terminate(&mut self, replica: usize) {
        self.replicas[replica].running.take().expect("it runs").terminate().await;
    }

    /// Kills one.
    pub(crate) async fn kill(&mut self, replica: usize) {
        self.replicas[replica].running.take().expect("it runs").stop().await;
    }

    /// Revokes a key at a control plane, as its owner does. Says when that was asked for, and what Envoys are told.
    pub(crate) async fn revoke(&mut self, replica: usize) -> (Instant, String) {
        let key = self.keys.pop().expect("enough keys");
        let request = Request::new("DELETE", &format!("/api/keys/{}", key.id));
        let signer = self.signer.as_ref().expect("an assertion key");
        let request = request.header("x-auth-assertion", signer.sign(&key.user, SystemClock.now().unix_seconds()));
        let asked = Instant::now();
        let answer = send(self.replicas[replica].config.api_listen, &request).await.expect("an answer");
        assert!(answer.status < 300, "{}", answer.text());
        (asked, key.hash)
    }
}

async fn keys(app: &App) -> Vec<Key> {
    let user = users::ensure(app, "fleet@example.com", true, Some("A Name")).await.expect("a user");
    let mut keys = Vec::new();
    for number in 0..KEYS {
        let new = NewKey { name: format!("key {number}"), ..NewKey::default() };
        let issued = keys::issue(app, &user.id, &new).await.expect("a key").key;
        let (user, id) = (user.id.as_str().to_owned(), issued.id.as_str().to_owned());
        keys.push(Key { user, id, hash: issued.hash.to_string() });
    }
    keys
}

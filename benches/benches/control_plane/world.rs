//! A control plane as a program, on a store that is filled. It must not know what is measured.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use tempfile::TempDir;
use tollgate::{
    app::App,
    config::{Config, Secret, StoreLocation},
    service::{
        keys::{self, NewKey},
        users,
    },
};
use tollgate_protocol::{KeyHash, edge::ResolveRequest};
use tollgate_tests::{
    control_plane::{ControlPlane, Kind},
    mongod::Cluster,
    ports,
};

/// The edge secret of every world.
pub(crate) const SECRET: &str = "edge-secret-of-the-benchmarks";
/// The issuer of everyone who is signed in.
pub(crate) const ISSUER: &str = "https://clerk.bench.example";

/// One running control plane.
pub(crate) struct World {
    /// Name of its store.
    pub(crate) name: &'static str,
    /// Its edge listener.
    pub(crate) edge: SocketAddr,
    /// Hashes of keys that are there.
    pub(crate) hashes: Vec<KeyHash>,
    /// Ids of users that are there, and of their keys.
    pub(crate) users: Vec<(String, String)>,
    /// The processes whose time is counted: the control plane, and its database.
    pub(crate) processes: Vec<u32>,
    _control_plane: ControlPlane,
    _cluster: Option<Arc<Cluster>>,
    _folder: TempDir,
}

impl World {
    /// On SQLite.
    pub(crate) async fn sqlite(users: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = StoreLocation::Sqlite(folder.path().join("tollgate.db"));
        Self::start("SQLite", store, users, folder, None).await
    }

    /// On a replica set of one real mongod.
    pub(crate) async fn mongodb(users: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let cluster = Arc::new(Cluster::set(1).await);
        let store = cluster.location("bench");
        Self::start("MongoDB", store, users, folder, Some(cluster)).await
    }

    async fn start(
        name: &'static str,
        store: StoreLocation,
        number: usize,
        folder: TempDir,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        let mut config = Config::new(store, Secret::new(SECRET));
        config.api_listen = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        config.edge_listen = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let (hashes, users) = fill(&App::open(&config).await.expect("the store opens"), number).await;
        let log: PathBuf = folder.path().join("log");
        let control_plane = ControlPlane::start(Kind::Program, &config, log).await;
        let mut processes: Vec<u32> = control_plane.process().into_iter().collect();
        processes.extend(cluster.iter().flat_map(|cluster| cluster.processes()));
        Self {
            name,
            edge: config.edge_listen,
            hashes,
            users,
            processes,
            _control_plane: control_plane,
            _cluster: cluster,
            _folder: folder,
        }
    }
}

async fn fill(app: &App, number: usize) -> (Vec<KeyHash>, Vec<(String, String)>) {
    let (mut hashes, mut ids) = (Vec::new(), Vec::new());
    for number in 0..number {
        let subject = subject(number as u64);
        let email = format!("{subject}@example.com");
        let user = users::ensure(app, &email, true, Some("A Name")).await.expect("a user");
        tollgate::service::resolve::resolve(app, &clerk(number as u64)).await.expect("linked");
        let new = NewKey { name: "editor".into(), scopes: vec!["read".into()], expires_at: None, rate: None };
        let issued = keys::issue(app, &user.id, &new).await.expect("a key");
        hashes.push(issued.key.hash);
        ids.push((user.id.as_str().to_owned(), issued.key.id.as_str().to_owned()));
    }
    (hashes, ids)
}

fn subject(number: u64) -> String {
    format!("user_bench{number:020}")
}

/// Somebody who is signed in with Clerk.
pub(crate) fn clerk(number: u64) -> ResolveRequest {
    ResolveRequest::Clerk {
        issuer: ISSUER.into(),
        subject: subject(number),
        email: Some(format!("{}@example.com", subject(number))),
        email_verified: true,
        name: Some("A Name".into()),
        impersonated: false,
    }
}

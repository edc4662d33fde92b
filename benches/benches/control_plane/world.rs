//! A control plane as a program, on a store that grows. It must not know what is measured.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tollgate::{
    app::App,
    config::{Config, Secret, StoreLocation},
};
use tollgate_benches::{assertion::Signer, process};
use tollgate_protocol::edge::{SYNC_PATH, SyncAnswer};
use tollgate_tests::{
    control_plane::{ControlPlane, Kind},
    http::{self, Request},
    mongod::Cluster,
    ports, wait,
};

use crate::fill::{self, First};

/// The edge secret of every world.
pub(crate) const SECRET: &str = "edge-secret-of-the-benchmarks";
/// Memory for data in mongod, as on a small machine of its own; the harness of the tests gives it less.
const MONGOD_CACHE: &str = "cache_size=2G";
const DATABASE: &str = "bench";

/// Where the people are.
enum Store {
    Sqlite(PathBuf),
    Mongodb(Cluster),
}

/// A store, and the control plane on it while it does not grow.
pub(crate) struct World {
    /// Name of its store.
    pub(crate) name: &'static str,
    /// Its edge listener.
    pub(crate) edge: SocketAddr,
    /// The listener of its public API.
    pub(crate) api: SocketAddr,
    /// How many people are there, numbered from 0.
    pub(crate) people: u64,
    /// Signs for callers of the public API.
    pub(crate) signer: Signer,
    /// The processes whose time is counted: the control plane, and its database.
    processes: Vec<u32>,
    config: Config,
    first: First,
    control_plane: Option<ControlPlane>,
    store: Store,
    folder: TempDir,
}

impl World {
    /// On SQLite.
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tollgate.db");
        Self::new("SQLite", StoreLocation::Sqlite(file.clone()), Store::Sqlite(file), folder).await
    }

    /// On a replica set of one real mongod.
    pub(crate) async fn mongodb() -> Self {
        let cluster = Cluster::set(1).await;
        let admin = cluster.database("admin").await;
        let cache = mongodb::bson::doc! { "setParameter": 1, "wiredTigerEngineRuntimeConfig": MONGOD_CACHE };
        admin.run_command(cache).await.expect("a larger cache");
        let folder = tempfile::tempdir().expect("a folder");
        Self::new("MongoDB", cluster.location(DATABASE), Store::Mongodb(cluster), folder).await
    }

    async fn new(name: &'static str, location: StoreLocation, store: Store, folder: TempDir) -> Self {
        let mut config = Config::new(location, Secret::new(SECRET));
        config.api_listen = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        config.edge_listen = SocketAddr::from(([127, 0, 0, 1], ports::free()));
        let first = First::make(&App::open(&config).await.expect("the store opens")).await;
        let control_plane = start(&config, &folder).await;
        Self {
            name,
            edge: config.edge_listen,
            api: config.api_listen,
            people: 0,
            signer: signer(config.edge_listen).await,
            processes: Vec::new(),
            config,
            first,
            control_plane: Some(control_plane),
            store,
            folder,
        }
    }

    /// Adds people until there are so many. The control plane is away meanwhile: it would be told of each of them.
    pub(crate) async fn grow(&mut self, people: u64) {
        if let Some(control_plane) = self.control_plane.take() {
            control_plane.terminate().await;
        }
        let (numbers, first) = (self.people..people, self.first.clone());
        match &self.store {
            Store::Sqlite(file) => {
                let file = file.clone();
                let filled = tokio::task::spawn_blocking(move || fill::sqlite::fill(&file, &first, numbers)).await;
                filled.expect("it ends").expect("SQLite is filled");
            }
            Store::Mongodb(cluster) => {
                let database = cluster.database(DATABASE).await;
                fill::mongodb::fill(&database, &first, numbers).await.expect("MongoDB is filled");
            }
        }
        self.people = people;
        let control_plane = start(&self.config, &self.folder).await;
        self.processes = control_plane.process().into_iter().collect();
        if let Store::Mongodb(cluster) = &self.store {
            self.processes.extend(cluster.processes());
        }
        self.control_plane = Some(control_plane);
    }

    /// CPU time so far of everything that answers.
    pub(crate) fn cpu(&self) -> Duration {
        self.processes.iter().map(|&process| process::cpu(process)).sum()
    }

    /// Waits until nothing is left to do: a control plane that starts on MongoDB reads what has happened lately.
    pub(crate) async fn settle(&self) {
        let rests = || async {
            let before = self.cpu();
            tokio::time::sleep(Duration::from_millis(300)).await;
            (self.cpu() - before < Duration::from_millis(30)).then_some(())
        };
        wait::until("the control plane rests", Duration::from_secs(60), rests).await;
    }
}

async fn start(config: &Config, folder: &TempDir) -> ControlPlane {
    ControlPlane::start(Kind::Program, config, folder.path().join("log")).await
}

async fn signer(edge: SocketAddr) -> Signer {
    let answer = http::send(edge, &Request::get(SYNC_PATH).bearer(SECRET)).await.expect("an answer");
    let answer: SyncAnswer = serde_json::from_slice(&answer.body).expect("a sync answer");
    Signer::new(answer.settings.and_then(|settings| settings.assertion).expect("a key for assertions"))
}

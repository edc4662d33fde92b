//! What is measured: an issuer, a control plane, people with tokens and keys, one Envoy for each chain. Envoys run on the
//! first core, everything else on the others. It must not know what is compared.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rsa::pkcs8::EncodePublicKey as _;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;
use tempfile::TempDir;
use tollgate::dev::envoy::{Envoy, EnvoyOptions};
use tollgate_tests::{
    envoy::{program, wasm},
    http::{self, Answer, Connection, Request},
    ports,
    stack::{ISSUER, Options, Stack},
    wait::{PATIENCE, until},
};

use crate::{
    authz,
    chain::{Chain, Parts},
    people::{self, Requests},
};

/// How long Envoy may take to start: 10,000 keys are to be read.
const START: Duration = Duration::from_secs(60);
/// The route that is asked, one that users may use with a limit for each of them; one for everybody; and one that nobody
/// may ask twice.
pub(crate) const POLICY: &str = "
[[routes]]
path = \"/api/**\"
roles = [\"user\"]
limits = [\"each\"]
[[routes]]
path = \"/public\"
auth = \"none\"
[[routes]]
path = \"/limited\"
limits = [\"few\"]
[limits.each]
by = \"user\"
rate = \"100000000/min\"
headers = false
[limits.few]
by = \"user\"
rate = \"1/h\"
";

/// An Envoy.
pub(crate) struct Edge {
    envoy: Envoy,
    pub(crate) addr: SocketAddr,
    pub(crate) admin: SocketAddr,
    dir: TempDir,
}

impl Edge {
    pub(crate) fn pid(&self) -> u32 {
        self.envoy.pid().expect("Envoy runs")
    }

    /// Everything it logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.path().join("envoy.log")).expect("a log")).into_owned()
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn send(&self, request: &[u8]) -> Answer {
        let mut connection = Connection::open(self.addr).await.expect("a connection");
        connection.write(request).await.expect("it is sent");
        connection.answer().await.expect("an answer")
    }
}

/// Everything that runs.
pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) parts: Parts,
    pub(crate) requests: Requests,
    /// For modules that are made here.
    pub(crate) folder: TempDir,
    authz: SocketAddr,
    edges: BTreeMap<Chain, Edge>,
}

/// Lets this thread, and what it starts, run on these cores.
pub(crate) fn pin(cores: impl Iterator<Item = usize>) {
    let mut set = CpuSet::new();
    cores.for_each(|core| set.set(core));
    sched_setaffinity(None, &set).expect("cores");
}

/// All cores but the one of Envoys.
pub(crate) fn others() -> std::ops::Range<usize> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if cores > 1 { 1..cores } else { 0..1 }
}

impl World {
    /// Makes people, their tokens and keys. Says how far it is.
    pub(crate) async fn new() -> Self {
        let stack = Stack::start(Options::default()).await;
        let (requests, keys) = people::make(&stack).await;
        let issuer = stack.issuer.key().expect("a key");
        let parts = Parts {
            secret: stack.config.edge_secret.expose().to_owned(),
            key_set: json!({"keys": [issuer.public_jwk()]}).to_string(),
            issuer: ISSUER.to_owned(),
            wasm: wasm().canonicalize().expect("the filter").display().to_string(),
            keys,
            key_headers: 0,
            token_headers: 0,
            floors: BTreeMap::new(),
        };
        let authz = authz::serve().await;
        let world = Self {
            stack,
            parts,
            folder: tempfile::tempdir().expect("a folder"),
            authz,
            edges: BTreeMap::new(),
            requests,
        };
        world.use_policy(POLICY, world.stack.envoy.addr).await;
        world
    }

    /// Gives the control plane other rules, and waits until an Envoy has them: until it opens a path that only they have.
    pub(crate) async fn use_policy(&self, policy: &str, addr: SocketAddr) {
        static VERSION: AtomicUsize = AtomicUsize::new(0);
        let path = format!("/rules/{}", VERSION.fetch_add(1, Ordering::Relaxed));
        self.stack.write_policy(&format!("{policy}\n[[routes]]\npath = \"{path}\"\nauth = \"none\"\n"));
        let open = || async {
            let answer = http::send(addr, &Request::get(&path)).await.expect("an answer");
            (!matches!(answer.status, 403 | 503)).then_some(())
        };
        until("Envoy has other rules", PATIENCE, open).await;
    }

    /// The public half of the issuer's key, in DER.
    pub(crate) fn spki(&self) -> Vec<u8> {
        let key = self.stack.issuer.key().expect("a key").private().to_public_key();
        key.to_public_key_der().expect("DER").into_vec()
    }

    /// The Envoy of a chain.
    pub(crate) fn edge(&self, chain: Chain) -> &Edge {
        &self.edges[&chain]
    }

    /// Ends all Envoys: what is not needed any more must not run beside the others.
    pub(crate) fn end_edges(&mut self) {
        self.edges.clear();
    }

    /// Starts the Envoy of a chain, and waits until it answers a request as it shall.
    pub(crate) async fn start(&mut self, chain: Chain, request: &[u8], status: u16) {
        if self.edges.contains_key(&chain) {
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let (port, admin) = (ports::free(), ports::free());
        let mut filters = String::new();
        for filter in chain.filters(&self.parts) {
            let _ = writeln!(filters, "          - {filter}");
        }
        let text = include_str!("envoy.yaml")
            .replace("ADMIN_PORT", &admin.to_string())
            .replace("ENVOY_PORT", &port.to_string())
            .replace("EDGE_PORT", &self.stack.config.edge_listen.port().to_string())
            .replace("AUTHZ_PORT", &self.authz.port().to_string())
            .replace("FILTERS\n", &filters);
        let config = dir.path().join("envoy.yaml");
        std::fs::write(&config, text).expect("a configuration");
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (program, log) = (program(), dir.path().join("envoy.log"));
        pin(0..1);
        let started = Envoy::start(EnvoyOptions { program, config, log, concurrency: 1, admin: local(admin) });
        pin(others());
        let mut envoy = started.unwrap_or_else(|fault| panic!("{fault}"));
        envoy.wait_ready(START).await.unwrap_or_else(|fault| panic!("{}: {fault}", chain.name()));
        let edge = Edge { envoy, addr: local(port), admin: local(admin), dir };
        let ready = || async { (edge.send(request).await.status == status).then_some(()) };
        until(chain.name(), PATIENCE, ready).await;
        self.edges.insert(chain, edge);
    }
}

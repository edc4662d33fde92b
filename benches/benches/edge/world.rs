//! What is measured: an issuer, a control plane, people with tokens and keys, one Envoy for each chain. Envoys run on the
//! first core, everything else on the others. It must not know what is compared.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, time::Duration};

use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;
use tempfile::TempDir;
use tollgate::dev::{
    envoy::{Envoy, EnvoyOptions},
    mint::tamper,
};
use tollgate_tests::{
    envoy::{program, wasm},
    http::{Connection, Request},
    ports,
    stack::{ISSUER, Options, Stack},
    wait::{PATIENCE, until},
};

use crate::{
    authz,
    cases::Sent,
    chain::{Chain, Parts},
};

/// How long Envoy may take to start: 10,000 keys are to be read.
const START: Duration = Duration::from_secs(60);
const USERS: usize = 500;
const TOKENS: usize = 5_000;
const KEYS: usize = 10_000;
/// The route that is asked: one that users may use, with a limit for each of them.
const POLICY: &str = "
[[routes]]
path = \"/api/**\"
roles = [\"user\"]
limits = [\"each\"]
[limits.each]
by = \"user\"
rate = \"100000000/min\"
headers = false
";

/// An Envoy.
pub(crate) struct Edge {
    envoy: Envoy,
    pub(crate) addr: SocketAddr,
    _dir: TempDir,
}

impl Edge {
    pub(crate) fn pid(&self) -> u32 {
        self.envoy.pid().expect("Envoy runs")
    }
}

/// Everything that runs.
pub(crate) struct World {
    stack: Stack,
    parts: Parts,
    authz: SocketAddr,
    pub(crate) edges: BTreeMap<Chain, Edge>,
    pub(crate) requests: BTreeMap<Sent, Vec<Vec<u8>>>,
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
        println!("making {USERS} users, {TOKENS} tokens and {KEYS} keys");
        let person = |number: usize| format!("user{:03}@example.com", number % USERS);
        let api = |request: Request| request.header("User-Agent", "bench").bytes();
        let mut requests: BTreeMap<Sent, Vec<Vec<u8>>> = BTreeMap::new();
        let mut add = |sent, request| requests.entry(sent).or_default().push(request);
        for number in 0..TOKENS {
            let filling = "x".repeat(120);
            let token = stack.clerk(&person(number)).name("Ada Lovelace").claim("role", "user").claim("fill", filling);
            let good = stack.sign(&token.clone().expires_in(24 * 3600));
            add(Sent::BadSignatures, api(Request::get("/api/a").bearer(&tamper(&good))));
            add(Sent::Tokens, api(Request::get("/api/a").bearer(&good)));
            if number < USERS {
                add(Sent::Expired, api(Request::get("/api/a").bearer(&stack.sign(&token.shifted(-3600)))));
            }
        }
        let mut users = Vec::new();
        for number in 0..KEYS.div_ceil(100) {
            users.push(stack.user(&format!("keys{number}@example.com")).await);
        }
        let mut keys = Vec::new();
        for number in 0..KEYS {
            let user = &users[number % users.len()];
            let key = stack.api_key(user, &[]).await.plain.expose().to_owned();
            add(Sent::Keys, api(Request::get("/api/a").api_key(&key)));
            add(Sent::JunkKeys, api(Request::get("/api/a").api_key(&junk(&key))));
            keys.push((key, user.id.as_str().to_owned()));
        }
        let key_set = json!({"keys": [stack.issuer.key().expect("a key").public_jwk()]}).to_string();
        let parts = Parts {
            secret: stack.config.edge_secret.expose().to_owned(),
            key_set,
            issuer: ISSUER.to_owned(),
            wasm: wasm().canonicalize().expect("the filter").display().to_string(),
            keys,
        };
        stack.write_policy(POLICY);
        let authz = authz::serve().await;
        Self { stack, parts, authz, edges: BTreeMap::new(), requests }
    }

    /// Starts the Envoy of a chain, and waits until it answers as it shall.
    pub(crate) async fn start(&mut self, chain: Chain) {
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
        let edge = Edge { envoy, addr: local(port), _dir: dir };
        let request = self.requests[if chain == Chain::ApiKey { &Sent::Keys } else { &Sent::Tokens }][0].clone();
        let ready = || async {
            let mut connection = Connection::open(edge.addr).await.ok()?;
            connection.write(&request).await.ok()?;
            (connection.answer().await.ok()?.status == 200).then_some(())
        };
        until(chain.name(), PATIENCE, ready).await;
        self.edges.insert(chain, edge);
    }
}

/// A key that only looks like one: its checksum is another.
fn junk(key: &str) -> String {
    let (head, last) = key.split_at(key.len() - 1);
    format!("{head}{}", if last == "A" { "B" } else { "A" })
}

//! A real Envoy with the real filter, configured from the shipped file, and what can be read from it. It must not know
//! what a test wants to show.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tollgate::dev::{
    envoy::{Envoy as Process, EnvoyOptions},
    shipped::EnvoyValues,
};

use crate::{
    http::{self, Request},
    ports,
    wait::{PATIENCE, until},
};

/// How long Envoy may take to start on a busy machine.
const START: Duration = Duration::from_secs(60);
/// The line of the shipped file after which a test puts settings of the filter.
const FILTER_SETTINGS: &str = "                    realm: tollgate\n";

/// The line after which it says how many proxies it trusts.
const REMOTE_ADDRESS: &str = "          use_remote_address: true\n";

/// A running Envoy. It is killed when this is dropped.
#[derive(Debug)]
pub struct Envoy {
    /// Where clients come in.
    pub addr: SocketAddr,
    /// Its admin interface.
    pub admin: SocketAddr,
    dir: PathBuf,
    process: Process,
}

/// What Envoy needs to know of the others.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Folder for configuration and logs.
    pub dir: PathBuf,
    /// Worker threads.
    pub workers: u16,
    /// The control plane's public API.
    pub api_port: u16,
    /// The control plane's edge API.
    pub edge_port: u16,
    /// The backend.
    pub backend_port: u16,
    /// Secret shared with the control plane.
    pub edge_secret: String,
    /// Settings of the filter, one `name: value` each.
    pub filter_settings: Vec<String>,
    /// How many proxies in front of it Envoy trusts (`xff_num_trusted_hops`).
    pub trusted_hops: u32,
}

fn environment(name: &str, what: &str, otherwise: Option<PathBuf>) -> PathBuf {
    let path = std::env::var_os(name).map(PathBuf::from).or(otherwise);
    let path = path
        .unwrap_or_else(|| panic!("{name} is not set: it names {what}. `make setup` brings it, `make test` sets it"));
    assert!(path.exists(), "{} is not there; {name} names {what}: `make setup && make wasm`", path.display());
    path
}

/// The Envoy to test with.
///
/// # Panics
/// If nobody said which, or it is not there.
pub fn program() -> PathBuf {
    environment("TOLLGATE_E2E_ENVOY", "the Envoy to test with", None)
}

/// The filter to test.
///
/// # Panics
/// If it is not built.
pub fn wasm() -> PathBuf {
    environment("TOLLGATE_WASM", "the filter", Some(root().join("dist/tollgate.wasm")))
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Envoy {
    /// Starts Envoy and waits until it takes connections (not until the filter has settings).
    ///
    /// # Panics
    /// If it does not start; with the end of its log.
    pub async fn start(around: &Surroundings) -> Self {
        let (program, wasm) = (program(), wasm());
        let (envoy_port, admin_port) = (ports::free(), ports::free());
        let values = EnvoyValues {
            envoy_port,
            admin_port,
            api_port: around.api_port,
            edge_port: around.edge_port,
            backend_port: around.backend_port,
            access_log: around.dir.join("access.log"),
            wasm,
            edge_secret: around.edge_secret.clone(),
        };
        let mut text = values.render().expect("the shipped file");
        assert_eq!(text.matches(FILTER_SETTINGS).count(), 1, "the shipped file has changed");
        let settings: String =
            around.filter_settings.iter().map(|line| format!("{}{line}\n", " ".repeat(20))).collect();
        text = text.replace(FILTER_SETTINGS, &format!("{FILTER_SETTINGS}{settings}"));
        assert_eq!(text.matches(REMOTE_ADDRESS).count(), 1, "the shipped file has changed");
        let hops = format!("{REMOTE_ADDRESS}          xff_num_trusted_hops: {}\n", around.trusted_hops);
        text = text.replace(REMOTE_ADDRESS, &hops);
        let config = around.dir.join("envoy.yaml");
        std::fs::write(&config, text).expect("Envoy's configuration");

        Self::run(program, config, around.workers, [envoy_port, admin_port]).await
    }

    /// Starts Envoy with a configuration that is written already, in the folder of `config`: ports of clients and of the
    /// admin interface.
    ///
    /// # Panics
    /// If it does not start; with the end of its log.
    pub async fn run(program: PathBuf, config: PathBuf, workers: u16, ports: [u16; 2]) -> Self {
        let [addr, admin] = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let dir = config.parent().expect("a folder").to_owned();
        let options = EnvoyOptions { program, config, log: dir.join("envoy.log"), concurrency: workers, admin };
        let mut process = Process::start(options).unwrap_or_else(|fault| panic!("{fault}"));
        process.wait_ready(START).await.unwrap_or_else(|fault| panic!("{fault}"));
        Self { addr, admin, dir, process }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid().expect("Envoy runs")
    }

    /// Resident memory in kB.
    pub fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("Envoy runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches("kB").trim().parse().expect("a number")
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("envoy.log")).unwrap_or_default()).into_owned()
    }

    /// Every counter and gauge by name.
    pub async fn stats(&self) -> BTreeMap<String, u64> {
        let answer = http::send(self.admin, &Request::get("/stats")).await.expect("stats");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
    }

    /// One counter or gauge; 0 if it is not there (Envoy makes counters when they are first used).
    pub async fn stat(&self, name: &str) -> u64 {
        self.stats().await.get(name).copied().unwrap_or(0)
    }

    /// The page that Prometheus reads.
    pub async fn prometheus(&self) -> String {
        let answer = http::send(self.admin, &Request::get("/stats/prometheus")).await.expect("stats");
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    /// How often a VM was lost or could not be loaded, by whatever name this version of Envoy has for it, and what the
    /// log says about it. Empty: never.
    pub async fn runtime_failures(&self) -> Vec<String> {
        let told =
            |name: &str| name.contains("vm_reload") || name.contains("runtime_error") || name.contains("vm_failed");
        let stats = self.stats().await;
        let wasm = stats.iter().filter(|(name, _)| name.starts_with("wasm.") || name.contains(".wasm."));
        let counted =
            wasm.filter(|(name, count)| **count > 0 && told(name)).map(|(name, count)| format!("{name}: {count}"));
        let words = ["RuntimeError", "panicked", "Uncaught", "wasm log tollgate tollgate: panic", "Function: proxy_on"];
        let log = self.log();
        let logged = log.lines().filter(|line| words.iter().any(|word| line.contains(word))).map(str::to_owned);
        counted.chain(logged).collect()
    }

    /// How many VMs are alive.
    pub async fn active_vms(&self) -> u64 {
        self.stat("wasm.envoy.wasm.runtime.v8.active").await
    }

    /// The access log's entry of a request, by the id that Envoy gave it. Envoy writes the log in batches.
    pub async fn access_entry(&self, request_id: &str) -> Value {
        let path = self.dir.join("access.log");
        let find = || async {
            let text = std::fs::read_to_string(&path).ok()?;
            let mut entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            entries.find(|entry| entry["request_id"] == request_id)
        };
        until(&format!("an access log entry of {request_id}"), PATIENCE, find).await.0
    }

    /// Ends Envoy in the orderly way.
    pub async fn stop(self) {
        self.process.stop().await.expect("Envoy ends");
    }
}

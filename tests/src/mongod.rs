//! Real `mongod`s, each on a port and in a folder of its own, as a replica set or alone. Dropping a cluster ends its
//! servers. It must not know what is kept in them.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use mongodb::{
    Client, Database,
    bson::{Document, doc},
    options::ClientOptions,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tollgate::config::{MongoUrl, StoreLocation};

use crate::{
    ports,
    wait::{PATIENCE, until},
};

const SET: &str = "rs0";
/// How long members of a set miss their primary before they elect another one: short, so that tests are.
const ELECTION_MILLIS: i32 = 2_000;

static SHARED: tokio::sync::Mutex<Weak<Cluster>> = tokio::sync::Mutex::const_new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The program `mongod`: `MONGOD_BIN`, or the one on the path.
pub fn program() -> PathBuf {
    std::env::var_os("MONGOD_BIN").map_or_else(|| PathBuf::from("mongod"), PathBuf::from)
}

/// One server.
#[derive(Debug)]
struct Server {
    port: u16,
    in_set: bool,
    child: Option<Child>,
    // The last one: the folder goes when nobody writes into it any more.
    dir: TempDir,
}

impl Server {
    fn start(in_set: bool) -> Self {
        let mut server = Self { port: ports::free(), in_set, child: None, dir: tempfile::tempdir().expect("a folder") };
        server.run();
        server
    }

    fn run(&mut self) {
        let mut command = Command::new(program());
        command
            .arg("--dbpath")
            .arg(self.dir.path())
            .arg("--logpath")
            .arg(self.dir.path().join("log"))
            .args(["--port", &self.port.to_string(), "--bind_ip", "127.0.0.1", "--nounixsocket"])
            .args(["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if self.in_set {
            command.args(["--replSet", SET, "--oplogSize", "100"]);
        }
        let child = command.spawn().unwrap_or_else(|fault| {
            panic!("{}: {fault}. MONGOD_BIN names mongod 6: `make setup` brings it", program().display())
        });
        self.child = Some(child);
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(|child| Pid::from_raw(i32::try_from(child.id()).ok()?));
        kill_process(pid.expect("it runs"), signal).expect("a signal");
    }

    /// Whether every thread has stopped.
    fn stands_still(&self) -> bool {
        let process = self.child.as_ref().map(Child::id).expect("it runs");
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state comes after the name, which stands in brackets.
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A client of this server alone.
    async fn direct(&self) -> Client {
        let url = format!("mongodb://{}/?directConnection=true", self.address());
        let mut options = ClientOptions::parse(&url).await.expect("an address");
        options.server_selection_timeout = Some(PATIENCE);
        Client::with_options(options).expect("a client")
    }

    async fn hello(&self) -> Option<Document> {
        let asked = async { self.direct().await.database("admin").run_command(doc! { "hello": 1 }).await.ok() };
        // One that stands still does not answer.
        tokio::time::timeout(Duration::from_secs(1), asked).await.ok().flatten()
    }

    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().rev().take(20).rev().copied().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Servers that belong together.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// One server without a replica set.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn standalone() -> Self {
        let cluster = Self { servers: vec![Server::start(false)] };
        cluster.wait_for_primary().await;
        cluster
    }

    /// A replica set of so many servers, with a primary.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn set(members: usize) -> Self {
        let cluster = Self { servers: (0..members).map(|_| Server::start(true)).collect() };
        for server in &cluster.servers {
            until("mongod answers", PATIENCE, || server.hello()).await;
        }
        let members = cluster.servers.iter().zip(0_i32..);
        let members: Vec<Document> = members.map(|(server, id)| doc! { "_id": id, "host": server.address() }).collect();
        let settings = doc! { "electionTimeoutMillis": ELECTION_MILLIS, "heartbeatIntervalMillis": 500 };
        let config = doc! { "_id": SET, "members": members, "settings": settings };
        let first = cluster.servers[0].direct().await;
        let initiated = first.database("admin").run_command(doc! { "replSetInitiate": config }).await;
        initiated.unwrap_or_else(|fault| panic!("{fault}\n{}", cluster.servers[0].log()));
        cluster.wait_for_primary().await;
        cluster
    }

    /// The replica set of one server that all cases of a test program share while one of them holds it.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let started = Arc::new(Self::set(1).await);
        *shared = Arc::downgrade(&started);
        started
    }

    /// The primary's place among the servers, and how long it took to find it.
    ///
    /// # Panics
    /// If there is none for a long time.
    pub async fn wait_for_primary(&self) -> (usize, Duration) {
        let find = || async {
            for (place, server) in self.servers.iter().enumerate().filter(|(_, server)| server.child.is_some()) {
                let hello = server.hello().await;
                if hello.is_some_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or_default()) {
                    return Some(place);
                }
            }
            None
        };
        until("a primary", PATIENCE, find).await
    }

    /// Waits until every server is a primary or follows one.
    ///
    /// # Panics
    /// If one does not for a long time.
    pub async fn wait_for_members(&self) {
        for server in &self.servers {
            let is = |hello: &Document, role| hello.get_bool(role).unwrap_or_default();
            let member = || async {
                let hello = server.hello().await?;
                (is(&hello, "isWritablePrimary") || is(&hello, "secondary")).then_some(())
            };
            until("a member of the set", PATIENCE, member).await;
        }
    }

    /// Makes the primary step down at once, whatever it is doing.
    ///
    /// # Panics
    /// If there is none.
    pub async fn step_down(&self) {
        let (primary, _) = self.wait_for_primary().await;
        let client = self.servers[primary].direct().await;
        let asked = doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 0, "force": true };
        // Older servers close the connection instead of answering.
        let _ = client.database("admin").run_command(asked).await;
    }

    /// Kills the primary with SIGKILL. Says which it was.
    ///
    /// # Panics
    /// If there is none.
    pub async fn kill_primary(&mut self) -> usize {
        let (primary, _) = self.wait_for_primary().await;
        self.servers[primary].kill();
        primary
    }

    /// Makes the primary stand still: it is there and does not answer. Says which it was.
    ///
    /// # Panics
    /// If there is none.
    pub async fn freeze_primary(&self) -> usize {
        let (primary, _) = self.wait_for_primary().await;
        let server = &self.servers[primary];
        server.signal(Signal::STOP);
        // The signal is on its way to each thread; until then one of them may still answer.
        until("it stands still", PATIENCE, || async { server.stands_still().then_some(()) }).await;
        primary
    }

    /// Lets a server go on.
    ///
    /// # Panics
    /// If it does not run.
    pub fn thaw(&self, server: usize) {
        self.servers[server].signal(Signal::CONT);
    }

    /// Starts a killed server again, on its port and in its folder.
    pub fn restart(&mut self, server: usize) {
        self.servers[server].run();
    }

    /// The processes of the servers that run.
    pub fn processes(&self) -> Vec<u32> {
        self.servers.iter().filter_map(|server| server.child.as_ref().map(Child::id)).collect()
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        let hosts: Vec<String> = self.servers.iter().map(Server::address).collect();
        let set = if self.servers[0].in_set { format!("?replicaSet={SET}") } else { String::new() };
        format!("mongodb://{}/{database}{set}", hosts.join(","))
    }

    /// The same, as a setting.
    ///
    /// # Panics
    /// If it is not an address.
    pub fn location(&self, database: &str) -> StoreLocation {
        StoreLocation::Mongo(MongoUrl::parse(&self.url(database)).expect("an address"))
    }

    /// A plain client, as any other program is one.
    ///
    /// # Panics
    /// If the address is none.
    pub async fn database(&self, database: &str) -> Database {
        Client::with_uri_str(self.url(database)).await.expect("a client").database(database)
    }
}

/// A name for a database that no other case has.
pub fn fresh_name() -> String {
    format!("case_{}", DATABASES.fetch_add(1, Ordering::Relaxed))
}

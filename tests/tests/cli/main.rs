//! The program `tollgate` as somebody types it, against SQLite and a real MongoDB: what it prints, how it ends, and what
//! is in the store afterwards.

mod commands;
mod explain;
mod files;
mod lines;
mod round_trip;
mod server;

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
    time::timeout,
};
use tollgate::{
    config::StoreLocation,
    domain::{User, UserFilter},
    store::{self, Store},
};
use tollgate_tests::{
    control_plane::program,
    mongod::{self, Cluster},
};

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store of its own, and the commands that work on it.
pub(crate) struct Shop {
    pub(crate) location: StoreLocation,
    pub(crate) dir: TempDir,
    environment: Vec<(String, String)>,
    _cluster: Option<Arc<Cluster>>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The JSON that was printed, one document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|fault| panic!("{fault}: {self:?}"))
    }

    /// The JSON documents that were printed, one a line.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}")))
            .collect()
    }

    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

impl Shop {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let location = StoreLocation::Sqlite(dir.path().join("tollgate.db"));
        Self { location, dir, environment: Vec::new(), _cluster: None }
    }

    pub(crate) async fn mongo() -> Self {
        let cluster = Cluster::shared().await;
        let dir = tempfile::tempdir().expect("a folder");
        let location = cluster.location(&mongod::fresh_name());
        Self { location, dir, environment: Vec::new(), _cluster: Some(cluster) }
    }

    /// The same with another setting.
    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let store = match &self.location {
            StoreLocation::Sqlite(file) => format!("sqlite://{}", file.display()),
            StoreLocation::Mongo(url) => url.expose().to_owned(),
        };
        let mut command = Command::new(program());
        command.args(args).env_clear().env("TOLLGATE_STORE", store).current_dir(self.dir.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        ended(self.command(args).spawn().expect("it starts")).await
    }

    /// With this text on stdin.
    pub(crate) async fn given(&self, stdin: &str, args: &[&str]) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("it starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        // A command that has ended already does not read.
        let _ = pipe.write_all(stdin.as_bytes()).await;
        drop(pipe);
        ended(child).await
    }

    /// A file in the folder of this shop.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        store::open(&self.location).await.expect("the store opens")
    }

    pub(crate) async fn users(&self) -> Vec<User> {
        everybody(&*self.store().await).await
    }

    /// Makes a user, and says the id.
    pub(crate) async fn user(&self, email: &str) -> String {
        let made = self.run(&["users", "create", email, "--verified", "--json"]).await.ended(0).json();
        made["_id"].as_str().expect("an id").to_owned()
    }
}

pub(crate) async fn everybody(store: &dyn Store) -> Vec<User> {
    store.users(&UserFilter::default(), None, 100_000).await.expect("read")
}

pub(crate) async fn ended(child: Child) -> Ran {
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends in time").expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let ran = Ran { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) };
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    ran
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).expect("a file")
}

macro_rules! on_both_stores {
    ($($module:ident :: $check:ident;)+) => {
        on_both_stores!(@on sqlite: $($module $check)+);
        on_both_stores!(@on mongo: $($module $check)+);
    };
    (@on $kind:ident: $($module:ident $check:ident)+) => {
        mod $kind {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                super::$module::$check(super::Shop::$kind().await).await;
            })+
        }
    };
}

on_both_stores! {
    commands::users_from_making_to_signing_out;
    commands::keys_are_shown_once;
    commands::tokens_add_up;
    commands::lists_come_in_pages_and_all_at_once;
    files::every_bad_line_is_reported_and_the_rest_is_taken_over;
    files::what_is_killed_goes_on_and_doubles_nothing;
    files::keys_come_by_their_hash;
    round_trip::what_is_exported_comes_back;
    server::a_running_server_hears_of_a_command;
    explain::each_step_of_a_decision_is_told;
}

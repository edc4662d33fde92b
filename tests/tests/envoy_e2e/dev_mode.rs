//! `tollgate dev`, as a newcomer types it: it is ready, its credentials are what they say, it keeps its data, and it
//! ends cleanly.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use tollgate_tests::{
    control_plane::program,
    echo::Seen,
    envoy,
    http::{self, Request},
    ports,
    wait::until,
};

const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(8);

/// A running `tollgate dev`. It is killed when this is dropped.
struct Dev {
    child: Child,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
    addr: SocketAddr,
}

/// Ports that stay the same over several starts.
fn options() -> Vec<String> {
    let ports = ["envoy", "admin", "api", "edge", "backend", "issuer"];
    ports.iter().flat_map(|name| [format!("--{name}-port"), ports::free().to_string()]).collect()
}

fn command(data: &Path, options: &[String]) -> Command {
    let mut command = Command::new(program());
    command.arg("dev").args(options).arg("--data").arg(data).arg("--envoy").arg(envoy::program());
    command.arg("--wasm").arg(envoy::wasm()).stdin(Stdio::null()).kill_on_drop(true);
    command
}

impl Dev {
    async fn start(data: &Path, options: &[String]) -> (Self, String) {
        let mut child = command(data, options).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut text = String::new();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                text.push_str(&line);
                text.push('\n');
                if line.starts_with("rules ") {
                    return;
                }
            }
            panic!("it ended:\n{text}");
        };
        timeout(START, ready).await.expect("ready in time");
        let port: u16 = options[1].parse().unwrap();
        (Self { child, lines, addr: SocketAddr::from(([127, 0, 0, 1], port)) }, text)
    }

    fn signal(&self, pid: u32, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
    }

    /// Waits until it ends; returns its exit code and what it printed at last.
    async fn ended(mut self) -> (Option<i32>, String) {
        let end = async {
            let mut text = String::new();
            while let Some(line) = self.lines.next_line().await.unwrap() {
                text.push_str(&line);
            }
            (self.child.wait().await.unwrap().code(), text)
        };
        timeout(END, end).await.expect("it ends in time")
    }
}

async fn credentials(data: &Path, options: &[&str]) -> Value {
    let mut command = Command::new(program());
    let output =
        command.args(["dev", "credentials", "--json", "--data"]).arg(data).args(options).output().await.unwrap();
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What each kind of credential gets: a code, or "ok". A change of the store takes a moment to reach Envoy.
async fn check(addr: SocketAddr, data: &Path, fault: &str, expected: [&str; 3]) {
    let options: Vec<&str> = fault.split_whitespace().collect();
    let all = credentials(data, &options).await;
    let text = |name: &str| all[name].as_str().unwrap().to_owned();
    let requests = [
        Request::get("/api/a").api_key(&text("api_key")),
        Request::get("/api/a").bearer(&text("clerk_jwt")),
        Request::get("/api/a").bearer(&text("legacy_jwt")),
    ];
    for (request, expected) in requests.iter().zip(expected) {
        let as_expected = || async {
            let answer = http::send(addr, request).await.unwrap().json();
            (answer["code"].as_str().unwrap_or("ok") == expected).then_some(())
        };
        until(&format!("{fault}: {expected}"), Duration::from_secs(5), as_expected).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomers_first_minutes() {
    let temp = TempDir::new().unwrap();
    let (data, options) = (temp.path().join("data"), options());
    let (dev, text) = Dev::start(&data, &options).await;
    assert_eq!(text.matches("\nready: ").count(), 1, "{text}");

    // The lines that it printed, as they are.
    let printed: Vec<&str> = text.lines().filter(|line| line.starts_with("curl ")).collect();
    assert_eq!(printed.len(), 4, "{text}");
    for line in printed {
        let header = line.split('\'').nth(1).unwrap();
        let (name, value) = header.split_once(": ").unwrap();
        let answer = http::send(dev.addr, &Request::get("/api/hello").header(name, value)).await.unwrap();
        assert_eq!(Seen::of(&answer).header("x-auth-email"), Some("ada@example.com"), "{line}");
    }

    for (fault, expected) in [
        ("", ["ok", "ok", "ok"]),
        ("--expired", ["api_key_expired", "token_expired", "token_expired"]),
        ("--not-yet-valid", ["ok", "token_not_yet_valid", "token_not_yet_valid"]),
        ("--wrong-party", ["ok", "token_wrong_party", "ok"]),
        ("--wrong-issuer", ["ok", "token_wrong_issuer", "token_wrong_issuer"]),
        ("--wrong-key", ["ok", "token_bad_signature", "token_bad_signature"]),
        ("--unknown-key", ["ok", "token_unknown_key", "ok"]),
        ("--wrong-class", ["ok", "token_wrong_class", "ok"]),
        ("--pending", ["ok", "session_pending", "ok"]),
        ("--unverified-email", ["ok", "email_unverified", "ok"]),
        ("--revoked", ["api_key_revoked", "ok", "ok"]),
        ("--tampered", ["api_key_malformed", "token_bad_signature", "token_bad_signature"]),
        ("--inactive", ["user_inactive", "user_inactive", "user_inactive"]),
        ("--email bob@example.com --name Bob --role admin", ["ok", "ok", "ok"]),
    ] {
        check(dev.addr, &data, fault, expected).await;
    }
    let bob = credentials(&data, &["--email", "bob@example.com"]).await;
    for name in ["api_key", "clerk_jwt", "legacy_jwt"] {
        let request = Request::get("/admin/a").bearer(bob[name].as_str().unwrap());
        let seen = Seen::of(&http::send(dev.addr, &request).await.unwrap());
        assert_eq!(
            (seen.header("x-auth-role"), seen.header("x-auth-user-id")),
            (Some("admin"), bob["user_id"].as_str())
        );
    }

    // A second one is told which port is taken, and by which option it can have another.
    let second = command(&temp.path().join("other"), &options).output().await.unwrap();
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && told.contains("is taken; use --"), "{told}");
    assert!(!temp.path().join("other").exists(), "nothing was begun");

    let pid = dev.child.id().unwrap();
    dev.signal(pid, Signal::INT);
    let (code, last) = dev.ended().await;
    assert_eq!(code, Some(0), "{last}");
    // Envoy is gone as well, and what there was is kept: the same ports, the same people.
    let (dev, _) = Dev::start(&data, &options).await;
    assert_eq!(credentials(&data, &["--email", "bob@example.com"]).await["user_id"], bob["user_id"]);
    let pid = dev.child.id().unwrap();
    dev.signal(pid, Signal::TERM);
    assert_eq!(dev.ended().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_that_ends_is_told_and_ends_everything() {
    let temp = TempDir::new().unwrap();
    let mut command = command(temp.path(), &options());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id().unwrap();
    let envoys = || async {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let ready =
            std::fs::read_to_string(temp.path().join("envoy.log")).ok()?.contains("starting main dispatch loop");
        children.split_whitespace().next().filter(|_| ready)?.parse::<i32>().ok()
    };
    let (envoy, _) = until("Envoy runs", START, envoys).await;
    kill_process(Pid::from_raw(envoy).unwrap(), Signal::KILL).unwrap();
    let mut told = String::new();
    let end = async {
        child.stderr.take().unwrap().read_to_string(&mut told).await.unwrap();
        child.wait().await.unwrap().code()
    };
    let code = timeout(END, end).await.expect("it ends in time");
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("Envoy has ended") && told.contains("envoy.log"), "{told}");
}

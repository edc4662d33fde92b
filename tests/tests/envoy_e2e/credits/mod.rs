//! Tokens in real Envoys: every way to count them, tokens that another Envoy holds, and what stays true while Envoys are
//! killed and the control plane is restarted.

mod backend;
mod chaos;

use std::time::Duration;

use backend::Backend;
use tempfile::TempDir;
use tollgate::{
    dev::shipped,
    domain::{User, UserId, ledger::Account},
    service::{credits, keys},
};
use tollgate_protocol::Code;
use tollgate_tests::{
    control_plane::Kind,
    envoy::{Envoy, Surroundings},
    http::{self, Answer, Request},
    stack::{Options, Stack},
    wait::{PATIENCE, until},
};

use crate::codes::{check, told};

const SECOND: Duration = Duration::from_secs(1);
/// How long a lease of a killed Envoy lasts here, in seconds.
const LEASE_SECONDS: u64 = 5;
const ROUTES: &str = r#"
[[routes]]
path = "/cost/header/**"
cost = { header = "x-tokens-used", at_least = 0, reserve = 20 }
[[routes]]
path = "/cost/trailer/**"
cost = { header = "x-tokens-used", at_least = 0, reserve = 20 }
[[routes]]
path = "/cost/json/**"
cost = { body = "usage.total_tokens", reserve = 20 }
[[routes]]
path = "/cost/events/**"
cost = { body = "usage.total_tokens", reserve = 20 }
[[routes]]
path = "/cost/fixed/**"
cost = 3
[[routes]]
path = "/large/fixed/**"
cost = 90
"#;

/// Several Envoys before one control plane and one backend.
struct Fleet {
    stack: Stack,
    backend: Backend,
    envoys: Vec<(Envoy, TempDir)>,
}

impl Fleet {
    async fn start(envoys: usize, control_plane: Kind) -> Self {
        let stack = Stack::start(Options { control_plane, ..Options::default() }).await;
        stack.write_policy(&format!("{}{ROUTES}", shipped::POLICY));
        let in_force = || async {
            let answer = stack.send(&Request::get("/cost/fixed/3")).await;
            (answer.json()["code"] == "missing_credential").then_some(())
        };
        until("the rules are in force", PATIENCE, in_force).await;
        let mut fleet = Self { stack, backend: Backend::start().await, envoys: Vec::new() };
        for _ in 0..envoys {
            let envoy = fleet.envoy().await;
            fleet.envoys.push(envoy);
        }
        fleet
    }

    /// One more Envoy, which knows the rules.
    async fn envoy(&self) -> (Envoy, TempDir) {
        let dir = tempfile::tempdir().expect("a folder");
        let config = &self.stack.config;
        let around = Surroundings {
            dir: dir.path().to_owned(),
            workers: 2,
            api_port: config.api_listen.port(),
            edge_port: config.edge_listen.port(),
            backend_port: self.backend.addr.port(),
            edge_secret: config.edge_secret.expose().to_owned(),
            filter_settings: vec![format!("credits: {{lease_seconds: {LEASE_SECONDS}, report_ms: 500}}")],
            trusted_hops: 0,
        };
        let envoy = Envoy::start(&around).await;
        let ready = || async {
            let answer = http::send(envoy.addr, &Request::get("/cost/fixed/3")).await.ok()?;
            (answer.status == 401).then_some(())
        };
        until("the filter has rules", PATIENCE, ready).await;
        (envoy, dir)
    }

    async fn send(&self, envoy: usize, request: &Request) -> Answer {
        http::send(self.envoys[envoy].0.addr, request).await.expect("an answer")
    }

    /// A user with so many tokens and a key.
    async fn somebody(&self, name: &str, tokens: i64) -> (User, String) {
        let user = self.stack.user(&format!("{name}@example.com")).await;
        let app = self.stack.app();
        credits::adjust(app, &user.id, tokens - 10_000, &format!("first {name}"), None).await.expect("adjusted");
        let key = self.stack.api_key(&user, &[]).await.plain.expose().to_owned();
        (user, key)
    }

    async fn account(&self, user: &UserId) -> Account {
        credits::balance(self.stack.app(), user).await.expect("a balance").account
    }

    /// Waits until nothing is leased any more, and the ledger of a user adds up.
    async fn settled(&self, user: &UserId) -> Account {
        let none = || async {
            let (tally, account, open) = credits::tally(self.stack.app(), user).await.ok()?;
            // Only sums of a moment in which nothing is posted belong together.
            let is_quiet = open.is_empty() && account.reserved == 0 && tally.faults(&account, 0, &open).is_empty();
            is_quiet.then_some(account)
        };
        until("everything is settled", Duration::from_secs(40), none).await.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_count_is_charged_to_the_token() {
    let fleet = Fleet::start(1, Kind::Inside).await;
    let (user, key) = fleet.somebody("ada", 10_000 - 1).await;
    let mut wanted = 0;
    for tokens in [0_u64, 1, 7, 20] {
        for way in ["header", "trailer", "json", "events", "fixed"] {
            let request =
                Request::get(&format!("/cost/{way}/{tokens}")).api_key(&key).header("accept-encoding", "gzip");
            let answer = fleet.send(0, &request).await;
            assert_eq!(answer.status, 200, "{way}: {}", answer.text());
            assert_eq!(answer.header("x-tokens-used"), None, "it is between backend and filter");
            assert!(!String::from_utf8_lossy(&answer.body).contains("x-tokens-used"), "{way}");
            if way == "events" {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(text.ends_with("data: [DONE]\n\n"), "the stream comes whole: {text}");
            }
            wanted += match way {
                "fixed" => 3,
                "header" | "trailer" => tokens,
                _ => tokens.max(1),
            };
        }
    }
    let account = fleet.settled(&user.id).await;
    let used = u64::try_from(account.used).expect("not below 0");
    assert_eq!((used, account.remaining), (wanted, 9_999 - account.used));
    let usage = credits::daily_usage(fleet.stack.app(), &user.id, "1970-01-01", "2999-12-31").await.expect("usage");
    let (requests, tokens) = usage.iter().fold((0, 0), |sum, day| (sum.0 + day.requests, sum.1 + day.tokens));
    assert_eq!((requests, tokens), (20, account.used), "{usage:?}");
    let keys = keys::list(fleet.stack.app(), &user.id).await.expect("keys");
    assert!(keys[0].last_used_at.is_some(), "{keys:?}");
    assert_eq!(fleet.envoys[0].0.runtime_failures().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_nothing_left_is_refused_before_the_backend_until_there_is_something() {
    let fleet = Fleet::start(1, Kind::Inside).await;
    let (user, key) = fleet.somebody("ada", 7).await;
    let request = Request::get("/cost/fixed/3").api_key(&key);
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(fleet.send(0, &request).await.status);
    }
    assert_eq!(statuses, [200, 200, 402, 402]);
    let answer = fleet.send(0, &request).await;
    let id = check(&fleet.envoys[0].0, "nothing left", &answer, Code::TokensExhausted).await;
    let refused = told(&fleet.stack, &id, Code::TokensExhausted).await;
    assert_eq!(refused.user_id.as_deref(), Some(user.id.as_str()), "{refused:?}");
    let counted = fleet.envoys[0].0.prometheus().await;
    let line = "tollgate_denied_total{code=\"tokens_exhausted\"} 3";
    assert!(counted.lines().any(|known| known == line), "{line}");
    assert_eq!(fleet.backend.counts()[user.id.as_str()], 6, "the backend saw two requests");
    credits::grant(fleet.stack.app(), &user.id, 2, "gift", None).await.expect("given");
    let passes = || async { (fleet.send(0, &request).await.status == 200).then_some(()) };
    let (_, took) = until("tokens that were given count", SECOND, passes).await;
    println!("tokens that were given could be used after {took:?}");
    assert_eq!(fleet.settled(&user.id).await.used, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_another_envoy_holds_are_there_within_a_second() {
    const USERS: usize = 20;
    let fleet = Fleet::start(2, Kind::Inside).await;
    let mut slowest = Duration::ZERO;
    let mut waited = 0;
    for number in 0..USERS {
        let (user, key) = fleet.somebody(&format!("user{number}"), 100).await;
        // Envoy 0 takes a lease, with more than this request needs.
        assert_eq!(fleet.send(0, &Request::get("/cost/fixed/3").api_key(&key)).await.status, 200);
        waited += usize::from(fleet.account(&user.id).await.remaining < 90);
        let began = std::time::Instant::now();
        let answer = fleet.send(1, &Request::get("/large/fixed/90").api_key(&key)).await;
        slowest = slowest.max(began.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    println!(
        "{USERS} requests for tokens of which another Envoy held some ({waited} had to wait): {slowest:?} at most"
    );
    assert!(waited > USERS / 2 && slowest < SECOND, "{waited} waited, {slowest:?}");
}

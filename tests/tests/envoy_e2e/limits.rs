//! Limits in real Envoys: exact over all workers, told to clients, and by an address that a client cannot choose.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tollgate::{
    dev::{echo::Echo, shipped},
    service::keys::{self, NewKey},
};
use tollgate_protocol::Code;
use tollgate_tests::{
    envoy::{Envoy, Surroundings},
    http::{self, Connection, Request},
    stack::{Options, Stack},
    wait::{PATIENCE, until},
};

const WORKERS: u16 = 4;
const LIMITS: &str = r#"
[limits.calls]
by   = "user"
rate = "600/min burst 20"
[limits.slow]
by   = "user"
rate = "1/s"
[limits.visitors]
by      = "address"
rate    = "3/min"
headers = ["retry-after"]
[[routes]]
path   = "/limited/calls"
limits = ["calls"]
[[routes]]
path   = "/limited/slow"
limits = ["slow"]
[[routes]]
path   = "/limited/open"
auth   = "none"
limits = ["visitors"]
"#;

async fn stack() -> Stack {
    let stack = Stack::start(Options { workers: WORKERS, ..Options::default() }).await;
    stack.write_policy(&format!("{}{LIMITS}", shipped::POLICY));
    ready(stack.envoy.addr).await;
    stack
}

/// Waits until the rules are there: a route that no rule names is refused, this one asks for a credential.
async fn ready(envoy: SocketAddr) {
    let request = Request::get("/limited/calls");
    let all = || async {
        for _ in 0..40 {
            if http::send(envoy, &request).await.expect("an answer").status != 401 {
                return None;
            }
        }
        Some(())
    };
    until("every worker has the rules", PATIENCE, all).await;
}

/// The numbers of a linear congruential generator (Knuth, MMIX), the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// For each user, when requests were let through, and how many were refused.
type Seen = BTreeMap<usize, (Vec<Duration>, u64)>;

/// One client: bursts of requests of random users over connections that change, until the time is over.
async fn client(envoy: SocketAddr, keys: Arc<Vec<String>>, mut dice: Dice, began: Instant, lasts: Duration) -> Seen {
    let mut seen = Seen::new();
    while began.elapsed() < lasts {
        let mut connection = Connection::open(envoy).await.expect("a connection");
        for _ in 0..20 {
            let user = dice.below(keys.len());
            for _ in 0..=dice.below(10) {
                let request = Request::get("/limited/calls").api_key(&keys[user]);
                let answer = connection.send(&request).await.expect("an answer");
                let (passed, refused) = seen.entry(user).or_default();
                match answer.status {
                    200 => passed.push(began.elapsed()),
                    429 => *refused += 1,
                    _ => panic!("{}", answer.text()),
                }
            }
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn four_workers_of_two_envoys_let_through_what_each_may() {
    const USERS: usize = 12;
    const CLIENTS: u64 = 6;
    const LASTS: Duration = Duration::from_secs(10);
    const SEED: u64 = 20_261_124;
    let stack = stack().await;
    let dir = tempfile::tempdir().expect("a folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a listener");
    let echo = Echo::start(listener).expect("the backend");
    let around = Surroundings {
        dir: dir.path().to_owned(),
        workers: WORKERS,
        api_port: stack.config.api_listen.port(),
        edge_port: stack.config.edge_listen.port(),
        backend_port: echo.addr.port(),
        edge_secret: stack.config.edge_secret.expose().to_owned(),
        filter_settings: Vec::new(),
    };
    let other = Envoy::start(&around).await;
    ready(other.addr).await;
    let mut keys = Vec::new();
    for number in 0..USERS {
        let user = stack.user(&format!("user{number}@example.com")).await;
        keys.push(stack.api_key(&user, &[]).await.plain.expose().to_owned());
    }
    let keys = Arc::new(keys);
    let mut all = Vec::new();
    for (name, envoy) in [("first", stack.envoy.addr), ("second", other.addr)] {
        let began = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(client(envoy, Arc::clone(&keys), Dice(SEED + number), began, LASTS));
        }
        let mut seen = Seen::new();
        for (user, (passed, refused)) in clients.join_all().await.into_iter().flatten() {
            let sum = seen.entry(user).or_default();
            sum.0.extend(passed);
            sum.1 += refused;
        }
        let (mut least, mut most) = (usize::MAX, 0);
        for (user, (passed, refused)) in &mut seen {
            passed.sort();
            assert!(*refused > 0, "user {user} has never come too often: the load is too small for this test");
            let (first, last) = (passed[0], passed[passed.len() - 1]);
            // What a client sees of the time is a little more than Envoy does: answers come after the decision.
            let allowed = 20.0 + 10.0 * (last - first + Duration::from_millis(100)).as_secs_f64();
            println!(
                "{name} Envoy, user {user}: {} passed in {:.2} s, {refused} refused; at most {allowed:.1} are allowed",
                passed.len(),
                (last - first).as_secs_f64()
            );
            assert!(passed.len() as f64 <= allowed, "user {user}");
            least = least.min(passed.len());
            most = most.max(passed.len());
        }
        println!("{name} Envoy, {WORKERS} workers, seed {SEED}: {least} to {most} of 120 let through for each user");
        all.push(least);
    }
    // A limit that refuses everybody keeps its promise, too: this is the other half.
    assert!(all.iter().all(|least| *least >= 90), "{all:?}");
    for envoy in [&stack.envoy, &other] {
        assert_eq!(envoy.runtime_failures().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_how_it_stands_and_when_to_come_back() {
    let stack = stack().await;
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let request = Request::get("/limited/slow").api_key(&key);
    let first = stack.send(&request).await;
    assert_eq!(first.status, 200, "{}", first.text());
    for (name, value) in [
        ("ratelimit-policy", "\"slow\";q=1;w=1"),
        ("ratelimit", "\"slow\";r=0;t=1"),
        ("x-ratelimit-limit", "1"),
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1"),
    ] {
        assert_eq!(first.header(name), Some(value), "{name}: {:?}", first.headers);
    }
    // One worker after the other is asked; all know that there was one already.
    let refused = || async {
        let answer = stack.send(&request).await;
        (answer.status == 429).then_some(answer)
    };
    let (answer, _) = until("a refusal", PATIENCE, refused).await;
    assert_eq!(answer.json()["code"], Code::RateLimited.as_str());
    assert_eq!((answer.header("retry-after"), answer.header("x-ratelimit-remaining")), (Some("1"), Some("0")));
    let entry = stack.envoy.access_entry(answer.header("x-request-id").expect("an id")).await;
    assert_eq!(entry["details"], "rate_limited", "{entry}");
    let again = || async { (stack.send(&request).await.status == 200).then_some(()) };
    until("the next one", PATIENCE, again).await;
    let open = stack.send(&Request::get("/public/a")).await;
    assert!(open.header("ratelimit").is_none() && open.header("x-ratelimit-limit").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_be_slower_than_its_user() {
    let stack = stack().await;
    let user = stack.user("ada@example.com").await;
    let rate = Some("2/min".to_owned());
    let new = NewKey { name: "slow".to_owned(), scopes: Vec::new(), expires_at: None, rate };
    let slow = keys::issue(stack.app(), &user.id, &new).await.expect("a key").plain.expose().to_owned();
    let quick = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let mut statuses = Vec::new();
    for key in [&slow, &slow, &slow, &slow, &quick, &quick, &quick] {
        statuses.push(stack.send(&Request::get("/api/a").api_key(key)).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429, 200, 200, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_many_by_what_they_say_of_their_address() {
    let stack = stack().await;
    let mut statuses = Vec::new();
    for number in 0..8 {
        let request = Request::get("/limited/open").header("X-Forwarded-For", format!("192.0.2.{number}"));
        let answer = stack.send(&request).await;
        assert!(answer.header("ratelimit").is_none(), "{:?}", answer.headers);
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429, 429, 429, 429]);
}

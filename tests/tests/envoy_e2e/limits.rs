//! Limits in real Envoys: exact over all workers, told to clients, and by an address that a client cannot choose.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tollgate::{
    config::Config,
    dev::{echo::Echo, shipped},
    domain::{Subscription, UserPatch},
    serve::{self, Running},
    service::{
        keys::{self, NewKey},
        users,
    },
};
use tollgate_protocol::{Code, limits::REPORT_SECONDS};
use tollgate_tests::{
    envoy::{Envoy, Surroundings},
    http::{self, Connection, Request},
    redis::Redis,
    stack::{Options, Stack},
    wait::{PATIENCE, until},
};

use crate::codes::{check, told};

const WORKERS: u16 = 4;
const LIMITS: &str = r#"
[limits.calls]
by   = "user"
rate = "600/min burst 20"
[limits.shared]
by    = "user"
scope = "global"
rate  = "600/min burst 20"
[limits.slow]
by   = "user"
rate = "1/s"
[limits.tiered]
by    = "user"
tiers = { free = "2/min", pro = "600/min" }
[limits.visitors]
by      = "address"
rate    = "3/min"
headers = ["retry-after"]
[[routes]]
path   = "/limited/calls"
limits = ["calls"]
[[routes]]
path   = "/limited/shared"
limits = ["shared"]
[[routes]]
path   = "/limited/tiered"
limits = ["tiered"]
[[routes]]
path   = "/limited/slow"
limits = ["slow"]
[[routes]]
path   = "/limited/open"
auth   = "none"
limits = ["visitors"]
"#;

async fn stack() -> Stack {
    limited(Options::default()).await
}

async fn limited(options: Options) -> Stack {
    let stack = Stack::start(Options { workers: WORKERS, ..options }).await;
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

/// Two Envoys with a control plane each, over one store and one Redis.
struct Pair {
    stack: Stack,
    other: Envoy,
    second: Option<Running>,
    redis: Redis,
    keys: Arc<Vec<String>>,
    _echo: Echo,
    _dir: tempfile::TempDir,
}

impl Pair {
    async fn start(users: usize) -> Self {
        let redis = Redis::start().await;
        let stack = limited(Options { redis: Some(redis.patient()), ..Options::default() }).await;
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config { api_listen: anywhere, edge_listen: anywhere, ..stack.config.clone() };
        let second = serve::start(config).await.expect("a second control plane");
        let dir = tempfile::tempdir().expect("a folder");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a listener");
        let echo = Echo::start(listener).expect("the backend");
        let around = Surroundings {
            dir: dir.path().to_owned(),
            workers: WORKERS,
            api_port: second.api_addr.port(),
            edge_port: second.edge_addr.port(),
            backend_port: echo.addr.port(),
            edge_secret: stack.config.edge_secret.expose().to_owned(),
            filter_settings: Vec::new(),
            trusted_hops: 0,
        };
        let other = Envoy::start(&around).await;
        ready(other.addr).await;
        let mut keys = Vec::new();
        for number in 0..users {
            let user = stack.user(&format!("user{number}@example.com")).await;
            keys.push(stack.api_key(&user, &[]).await.plain.expose().to_owned());
        }
        let keys = Arc::new(keys);
        let pair = Self { stack, other, second: Some(second), redis, keys, _echo: echo, _dir: dir };
        for envoy in pair.envoys() {
            for key in pair.keys.iter() {
                let answer = http::send(envoy.addr, &Request::get("/api/a").api_key(key)).await.expect("an answer");
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        }
        pair
    }

    fn envoys(&self) -> [&Envoy; 2] {
        [&self.stack.envoy, &self.other]
    }

    /// Bursts at both Envoys at once, for so long. For each Envoy, path and user, what was let through and refused.
    async fn load(
        &self,
        paths: &'static [&'static str],
        lasts: Duration,
    ) -> BTreeMap<(usize, &'static str, usize), Seen> {
        let mut clients = tokio::task::JoinSet::new();
        let began = Instant::now();
        for (at, envoy) in self.envoys().into_iter().enumerate() {
            for number in 0..CLIENTS {
                let client = Client { envoy: envoy.addr, keys: Arc::clone(&self.keys), paths, began, lasts };
                let dice = Dice(SEED + number);
                clients.spawn(async move { (at, client.run(dice).await) });
            }
        }
        let mut all = BTreeMap::<_, Seen>::new();
        for (at, seen) in clients.join_all().await {
            for ((path, user), seen) in seen {
                let sum = all.entry((at, path, user)).or_default();
                sum.passed.extend(seen.passed);
                sum.refused += seen.refused;
                sum.took.extend(seen.took);
            }
        }
        for envoy in self.envoys() {
            assert_eq!(envoy.runtime_failures().await, Vec::<String>::new());
        }
        all
    }
}

/// When requests that were let through were sent and answered, and how many were refused.
#[derive(Default)]
struct Seen {
    passed: Vec<(Duration, Duration)>,
    refused: u64,
    /// How long each took, whatever came of it.
    took: Vec<Duration>,
}

impl Seen {
    /// Holds what was let through to a burst and a rate for the time in which it was: Envoy has decided all of it after the
    /// first was sent and before the last was answered.
    #[track_caller]
    fn hold(&self, what: &str, burst: f64, per_second: f64) -> usize {
        assert!(self.refused > 0, "{what} has never come too often: the load is too small for this test");
        let first = self.passed.iter().map(|(sent, _)| *sent).min().unwrap_or_default();
        let lasted = self.passed.iter().map(|(_, answered)| *answered).max().unwrap_or_default() - first;
        // Envoy's clock is read in milliseconds.
        let allowed = burst + per_second * (lasted + Duration::from_millis(1)).as_secs_f64();
        println!(
            "{what}: {} passed in {:.2} s, {} refused; at most {allowed:.1} are allowed",
            self.passed.len(),
            lasted.as_secs_f64(),
            self.refused
        );
        assert!(self.passed.len() as f64 <= allowed, "{what}");
        self.passed.len()
    }
}

/// One client: bursts of requests of random users over connections that change, until the time is over.
struct Client {
    envoy: SocketAddr,
    keys: Arc<Vec<String>>,
    paths: &'static [&'static str],
    began: Instant,
    lasts: Duration,
}

impl Client {
    async fn run(self, mut dice: Dice) -> BTreeMap<(&'static str, usize), Seen> {
        let mut all = BTreeMap::<_, Seen>::new();
        while self.began.elapsed() < self.lasts {
            let mut connection = Connection::open(self.envoy).await.expect("a connection");
            for _ in 0..20 {
                let (user, path) = (dice.below(self.keys.len()), self.paths[dice.below(self.paths.len())]);
                let seen = all.entry((path, user)).or_default();
                for _ in 0..=dice.below(10) {
                    let sent = Instant::now();
                    let answer =
                        connection.send(&Request::get(path).api_key(&self.keys[user])).await.expect("an answer");
                    seen.took.push(sent.elapsed());
                    match answer.status {
                        200 => seen.passed.push((sent.duration_since(self.began), self.began.elapsed())),
                        429 => seen.refused += 1,
                        _ => panic!("{}", answer.text()),
                    }
                }
            }
        }
        all
    }
}

/// The median and the longest of all times.
fn times(all: &BTreeMap<(usize, &'static str, usize), Seen>) -> (Duration, Duration) {
    let mut took: Vec<Duration> = all.values().flat_map(|seen| seen.took.iter().copied()).collect();
    took.sort_unstable();
    (took[took.len() / 2], took[took.len() - 1])
}

/// What both Envoys have let through of each user on a path.
fn together(all: BTreeMap<(usize, &'static str, usize), Seen>, wanted: &str) -> BTreeMap<usize, Seen> {
    let mut sums = BTreeMap::<usize, Seen>::new();
    for ((_, _, user), seen) in all.into_iter().filter(|((_, path, _), _)| *path == wanted) {
        let sum = sums.entry(user).or_default();
        sum.passed.extend(seen.passed);
        sum.refused += seen.refused;
        sum.took.extend(seen.took);
    }
    sums
}

const CLIENTS: u64 = 5;
const SEED: u64 = 20_261_124;
const BURST: f64 = 20.0;
const PER_SECOND: f64 = 10.0;
/// What both Envoys may let through before they hear of each other: their leases, and what these gain in half a second.
const LEASES: f64 = 25.0;

#[tokio::test(flavor = "multi_thread")]
async fn four_workers_of_two_envoys_let_through_what_they_may() {
    const LASTS: Duration = Duration::from_secs(10);
    let pair = Pair::start(10).await;
    // Each knows of the other.
    tokio::time::sleep(Duration::from_secs(REPORT_SECONDS) + Duration::from_millis(500)).await;
    let all = pair.load(&["/limited/calls", "/limited/shared"], LASTS).await;
    let allowed = BURST + PER_SECOND * LASTS.as_secs_f64();
    let mut least = usize::MAX;
    for ((envoy, _, user), seen) in all.iter().filter(|((_, path, _), _)| *path == "/limited/calls") {
        least = least.min(seen.hold(&format!("counted by Envoy {envoy}, user {user}"), BURST, PER_SECOND));
    }
    println!("{WORKERS} workers each, seed {SEED}: every user had {least} of {allowed} at least at each Envoy");
    // A limit that refuses everybody keeps its promise, too: this is the other half.
    assert!(least as f64 >= 0.5 * allowed, "{least} of {allowed}");
    let mut least = usize::MAX;
    for (user, seen) in together(all, "/limited/shared") {
        least = least.min(seen.hold(&format!("counted over both Envoys, user {user}"), BURST + LEASES, PER_SECOND));
    }
    println!("over both Envoys every user had {least} of {allowed} at least");
    assert!(least as f64 >= 0.5 * allowed, "{least} of {allowed}");
    for envoy in pair.envoys() {
        let reports = envoy.stat("wasmcustom.tollgate_limits_calls_total").await;
        println!("{reports} reports about limits for {} users in {LASTS:?}", pair.keys.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_and_without_a_control_plane_each_has_its_part_at_once() {
    const LASTS: Duration = Duration::from_secs(3);
    let mut pair = Pair::start(3).await;
    tokio::time::sleep(Duration::from_secs(REPORT_SECONDS) + Duration::from_millis(500)).await;
    let (usual, _) = times(&pair.load(&["/limited/shared"], LASTS).await);
    for away in ["Redis", "both control planes"] {
        match pair.second.take_if(|_| away != "Redis") {
            None => pair.redis.freeze(true),
            Some(second) => {
                pair.stack.stop_control_plane().await;
                second.shutdown().await;
            }
        }
        let all = pair.load(&["/limited/shared"], LASTS).await;
        let (median, slowest) = times(&all);
        for (user, seen) in together(all, "/limited/shared") {
            let passed = seen.hold(&format!("{away} away, user {user}"), BURST + LEASES, PER_SECOND);
            assert!(passed as f64 >= 0.25 * PER_SECOND * LASTS.as_secs_f64(), "user {user}: {passed}");
        }
        println!(
            "{away} away: half of all requests took {median:?} or less, {usual:?} before; the slowest {slowest:?}"
        );
        assert!(median < usual + Duration::from_millis(5), "{median:?}, and {usual:?} before");
        // No request waits for a call: the shortest that one could wait for is one second.
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
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
    let id = check(&stack.envoy, "too often", &answer, Code::RateLimited).await;
    let told = told(&stack, &id, Code::RateLimited).await;
    assert_eq!(told.user_id.as_deref(), Some(user.id.as_str()), "{told:?}");
    assert!(stack.envoy.prometheus().await.contains("tollgate_denied_total{code=\"rate_limited\"} "));
    assert_eq!((answer.header("retry-after"), answer.header("x-ratelimit-remaining")), (Some("1"), Some("0")));
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

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_that_is_trusted_clients_count_by_the_address_it_saw() {
    let stack = limited(Options { trusted_hops: 1, ..Options::default() }).await;
    let ask = async |address: &str| {
        stack.send(&Request::get("/limited/open").header("X-Forwarded-For", address)).await.status
    };
    // The last address is the one that the proxy has seen; what stands before it the client may have made up.
    for (address, expect) in [
        ("192.0.2.1", 200),
        ("198.51.100.7, 192.0.2.1", 200),
        ("198.51.100.8, 192.0.2.1", 200),
        ("198.51.100.9, 192.0.2.1", 429),
        ("192.0.2.1, 192.0.2.2", 200),
        ("192.0.2.1", 429),
    ] {
        assert_eq!(ask(address).await, expect, "{address}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_better_subscription_counts_at_once() {
    let stack = stack().await;
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
    let request = Request::get("/limited/tiered").api_key(&key);
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(stack.send(&request).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429, 429, 429, 429, 429]);
    let changed = Instant::now();
    let patch = UserPatch { subscription: Some(Subscription::Pro), ..UserPatch::default() };
    users::update(stack.app(), &user.id, &patch, None).await.expect("a change");
    let (answer, _) = until("the better tier", PATIENCE, || async {
        let answer = stack.send(&request).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    let took = changed.elapsed();
    println!("a better subscription counts after {took:?}");
    assert_eq!(answer.header("x-ratelimit-limit"), Some("600"));
    assert!(took < Duration::from_secs(2), "{took:?}");
}

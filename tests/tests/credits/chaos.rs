//! 64 nodes on two control planes that are killed at random, against one user: the ledger adds up to what the nodes
//! know, to the token, on SQLite and on MongoDB.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tollgate::{
    app::App,
    clock::{Clock as _, SystemClock},
    config::{Config, Secret, StoreLocation},
    domain::{
        Email, Stamp, User, UserId,
        ledger::{Entry, EntryKind},
    },
    service::credits,
    store::open,
};
use tollgate_tests::{
    control_plane::{ControlPlane, Kind},
    mongod::{Cluster, fresh_name},
    ports,
    wait::{PATIENCE, until},
};

use super::{
    SECRET, Signer,
    node::{Asked, Dice, Node, Plane, Shared},
};

const NODES: u64 = 64;
/// Tokens at first: not enough for all that is wanted.
const FIRST: i64 = 10_000;
/// How long all of it may take.
const LONGEST: Duration = Duration::from_secs(300);

fn config(store: &StoreLocation) -> Config {
    let mut config = Config::new(store.clone(), Secret::new(SECRET));
    config.api_listen = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    config.edge_listen = SocketAddr::from(([127, 0, 0, 1], ports::free()));
    config
}

/// A seed of its own, or the one of `TOLLGATE_TEST_SEED`.
fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a failing run is done again with its seed")]
    let given = std::env::var("TOLLGATE_TEST_SEED").ok();
    given.map_or_else(
        || SystemClock.now().unix_seconds().wrapping_mul(0x2545_F491_4F6C_DD1D),
        |text| text.parse().expect("a number"),
    )
}

/// Kills one of the two at random, starts it again, and so on.
async fn kill_at_random(
    mut planes: [Option<ControlPlane>; 2],
    configs: [Config; 2],
    log: std::path::PathBuf,
    (mut dice, pause): (Dice, u64),
    stop: Arc<AtomicBool>,
) -> (u64, [Option<ControlPlane>; 2]) {
    let mut kills = 0;
    while !stop.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(pause / 2 + dice.below(pause))).await;
        let place = usize::try_from(dice.below(2)).expect("small");
        if let Some(plane) = planes[place].take() {
            plane.stop().await;
            kills += 1;
        }
        planes[place] = Some(ControlPlane::start(Kind::Program, &configs[place], log.clone()).await);
    }
    (kills, planes)
}

/// Gives tokens now and then, each gift twice. Says what was given.
async fn give(app: App, user: UserId, (mut dice, pause): (Dice, u64), stop: Arc<AtomicBool>) -> i64 {
    let (mut given, mut number) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let amount = 1 + i64::try_from(dice.below(1_000)).expect("small");
        for _ in 0..2 {
            let granted = || async { credits::grant(&app, &user, amount, &format!("gift {number}"), None).await.ok() };
            until("tokens are given", PATIENCE, granted).await;
        }
        given += amount;
        sleep(Duration::from_millis(dice.below(pause))).await;
    }
    given
}

async fn ledger(app: &App, user: &UserId) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let before = all.last().map(|entry| entry.seq);
        let page = credits::history(app, user, before, 1_000).await.expect("entries");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// `group`: most operations of one message; `pause`: milliseconds between two kills, about.
async fn run(name: &str, location: StoreLocation, operations: u64, group: u64, pause: u64) {
    let (seed, began) = (seed(), Instant::now());
    println!("{name}: TOLLGATE_TEST_SEED={seed}");
    let mut dice = Dice::new(seed);
    let logs = TempDir::new().expect("a folder");
    let log = logs.path().join("log");

    let mut user = User::new(UserId::new("usr_chaos"), SystemClock.now());
    user.email = Email::new("chaos@example.com");
    user.tokens_remaining = FIRST;
    let store = open(&location).await.expect("the store opens");
    store.insert_user(&user, &Stamp::system(SystemClock.now())).await.expect("a user");
    let app = App::with(store, Arc::new(SystemClock));

    let configs = [config(&location), config(&location)];
    let mut planes = [None, None];
    for (plane, config) in planes.iter_mut().zip(&configs) {
        *plane = Some(ControlPlane::start(Kind::Program, config, log.clone()).await);
    }
    let shared = Arc::new(Shared {
        planes: configs.each_ref().map(|config| Plane { api: config.api_listen, edge: config.edge_listen }),
        user: user.id.clone(),
        signer: Signer::of(configs[0].edge_listen).await,
        operations: AtomicU64::new(0),
        wanted: operations,
        group,
        requests: AtomicU64::new(0),
        failures: AtomicU64::new(0),
    });
    let stop = Arc::new(AtomicBool::new(false));
    let killer = Dice::new(dice.below(u64::MAX));
    let killer = kill_at_random(planes, configs, log, (killer, pause), Arc::clone(&stop));
    let killer = tokio::spawn(killer);
    let giver = (Dice::new(dice.below(u64::MAX)), pause);
    let giver = tokio::spawn(give(app.clone(), user.id.clone(), giver, Arc::clone(&stop)));
    let nodes: Vec<_> = (0..NODES)
        .map(|number| Node::new(format!("n{number}"), Arc::clone(&shared), dice.below(u64::MAX)))
        .map(|node| tokio::spawn(node.run()))
        .collect();
    let mut done = Vec::new();
    for node in nodes {
        let left = LONGEST.saturating_sub(began.elapsed());
        done.push(tokio::time::timeout(left, node).await.expect("in time").expect("a node"));
    }
    let worked = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let given = giver.await.expect("the giver");
    let (kills, planes) = killer.await.expect("the killer");

    // What nobody gave back comes back by itself.
    let settled = || async { app_open(&app, &user.id).await.eq(&0).then_some(()) };
    until("all leases are settled", PATIENCE, settled).await;
    check(&app, &user.id, &done, given).await;

    let entries = ledger(&app, &user.id).await;
    let of = |kind| entries.iter().filter(|entry| entry.kind == kind).count();
    let uncovered: i64 = entries.iter().map(|entry| entry.uncovered).sum();
    let (requests, failures) = (shared.requests.load(Ordering::Relaxed), shared.failures.load(Ordering::Relaxed));
    let begun = shared.operations.load(Ordering::Relaxed);
    println!(
        "{name}: {begun} operations in {worked:.1?} ({:.0}/s), {requests} requests, {failures} of them not answered, \
         {kills} kills; entries: {} reserve, {} settle, {} usage, {} grant; {uncovered} tokens uncovered",
        begun as f64 / worked.as_secs_f64(),
        of(EntryKind::Reserve),
        of(EntryKind::Settle),
        of(EntryKind::Usage),
        of(EntryKind::Grant),
    );
    assert!(begun >= operations && kills > 2 && failures > 0, "too little went wrong to show anything");
    for plane in planes.into_iter().flatten() {
        plane.stop().await;
    }
}

async fn app_open(app: &App, user: &UserId) -> usize {
    credits::tally(app, user).await.map_or(usize::MAX, |(_, _, open)| open.len())
}

/// The ledger against itself, and against what the nodes know.
async fn check(app: &App, user: &UserId, nodes: &[Node], given: i64) {
    let (tally, account, open) = credits::tally(app, user).await.expect("a tally");
    let faults = tally.faults(&account, 0, &open);
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!((tally.first_balance, tally.given, account.reserved), (Some(FIRST), given, 0));
    assert_eq!(account.remaining, FIRST + given + tally.uncovered - tally.used);

    let entries = ledger(app, user).await;
    assert!(entries.iter().all(|entry| entry.balance >= 0), "a balance was negative");
    let keys: BTreeSet<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys.len(), entries.len(), "an idempotency key was used twice");

    // Each lease: what its node used of it, to the token. A lease that no node heard of was never used.
    let mut by_lease: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in &entries {
        if let Some(lease) = &entry.lease {
            *by_lease.entry(lease.as_str()).or_default() += u64::try_from(entry.used).expect("never less");
        }
    }
    let mut known: BTreeMap<&str, u64> = BTreeMap::new();
    known.extend(nodes.iter().flat_map(Node::used));
    for (lease, used) in &by_lease {
        assert_eq!(known.get(lease).copied().unwrap_or(0), *used, "{lease}");
    }
    assert!(known.keys().all(|lease| by_lease.contains_key(lease)), "a lease is not in the ledger");

    // Each use that a backend asked for: once where it was told so, never where it was refused.
    let consumed: BTreeMap<&str, i64> = entries
        .iter()
        .filter_map(|entry| Some((entry.key.strip_prefix(&format!("consume:{user}:"))?, entry.used)))
        .collect();
    let mut asked = 0;
    for (key, told) in nodes.iter().flat_map(|node| &node.asked) {
        let found = consumed.get(key.as_str()).copied();
        match told {
            Asked::Done(amount) => assert_eq!(found, Some(*amount), "{key}"),
            Asked::Refused => assert_eq!(found, None, "{key}"),
            Asked::Unclear(amount) => assert!(found.is_none_or(|used| used == *amount), "{key}"),
        }
        asked += usize::from(found.is_some());
    }
    assert_eq!(asked, consumed.len(), "nobody asked for some of it");

    let counted: u64 = nodes.iter().map(|node| node.counted).sum();
    let usage = credits::daily_usage(app, user, "1970-01-01", "2999-12-31").await.expect("usage");
    let requests: i64 = usage.iter().map(|day| day.requests).sum();
    assert_eq!(u64::try_from(requests), Ok(counted), "counted requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_nothing_is_counted_twice_or_lost() {
    let folder = TempDir::new().expect("a folder");
    run("SQLite", StoreLocation::Sqlite(folder.path().join("tollgate.db")), 10_000, 4, 600).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mongodb_nothing_is_counted_twice_or_lost() {
    let cluster = Cluster::shared().await;
    run("MongoDB", cluster.location(&fresh_name()), 10_000, 16, 4_000).await;
}

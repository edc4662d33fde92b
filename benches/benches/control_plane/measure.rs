//! Runs a case for a time and says how many answers came, how long they took and what they cost. It must not know what is
//! asked.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;
use tollgate_protocol::edge::{SYNC_PATH, SyncAnswer};
use tollgate_tests::http::{Connection, Request};

use crate::{
    Args,
    cases::Case,
    world::{SECRET, World},
};

/// Connections that ask at the same time.
const CONNECTIONS: u64 = 8;

/// Numbers of requests are never used twice.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// What one case in one turn came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Answers per second; `None` where only the time until each of them counts.
    pub(crate) rate: Option<f64>,
    /// Median and 99th percentile of the time until an answer, in ms.
    pub(crate) p50: f64,
    /// See `p50`.
    pub(crate) p99: f64,
    /// CPU of the control plane and of its database for each answer, in µs.
    pub(crate) cpu: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, p50, p99, cpu } = self;
        let rate = rate.map_or_else(|| " ".repeat(10), |rate| format!("{rate:>8.0}/s"));
        write!(f, "{rate}  p50 {p50:>7.2} ms  p99 {p99:>7.2} ms  CPU {cpu:>6.0} µs")
    }
}

/// Runs one case.
pub(crate) async fn run(world: &World, case: Case, args: Args) -> Figures {
    let cpu = world.cpu();
    let began = Instant::now();
    let mut times = match case {
        Case::FanOut => fan_out(world, case, args).await,
        _ => load(world, case, args.length()).await,
    };
    let took = began.elapsed();
    let cpu = world.cpu() - cpu;
    times.sort_unstable();
    let number = times.len().max(1) as f64;
    Figures {
        rate: (case != Case::FanOut).then(|| times.len() as f64 / took.as_secs_f64()),
        p50: at(&times, 0.50),
        p99: at(&times, 0.99),
        cpu: cpu.as_secs_f64() * 1e6 / number,
    }
}

fn at(times: &[Duration], part: f64) -> f64 {
    let place = (times.len() as f64 * part) as usize;
    times.get(place.min(times.len().saturating_sub(1))).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}

/// A closed loop: each connection asks again as soon as it is answered.
async fn load(world: &World, case: Case, length: Duration) -> Vec<Duration> {
    let until = Instant::now() + length;
    let mut asking = Vec::new();
    for _ in 0..CONNECTIONS {
        asking.push(async {
            let mut connection = Connection::open(case.listener(world)).await.expect("a connection");
            let mut times = Vec::new();
            while Instant::now() < until {
                let request = case.request(world, NUMBER.fetch_add(1, Ordering::Relaxed));
                let began = Instant::now();
                let answer = connection.send(&request).await.expect("an answer");
                times.push(began.elapsed());
                assert!(case.is_good(&answer), "{case:?}: {}", answer.text());
            }
            times
        });
    }
    futures_util::future::join_all(asking).await.concat()
}

/// Many Envoys wait; one change is made; how long after it each of them has heard of it.
async fn fan_out(world: &World, case: Case, args: Args) -> Vec<Duration> {
    let get = |target: &str| Request::get(target).bearer(SECRET);
    let first = tollgate_tests::http::send(world.edge, &get(SYNC_PATH)).await.expect("an answer");
    let first: SyncAnswer = serde_json::from_slice(&first.body).expect("a sync answer");
    let changed = Arc::new(tokio::sync::OnceCell::<Instant>::new());
    let mut polls = JoinSet::new();
    for node in 0..args.polls {
        let mut connection = Connection::open(world.edge).await.expect("a connection");
        let request = get(&format!("{SYNC_PATH}?cursor={}&node=bench{node}", first.cursor));
        connection.write(&request.bytes()).await.expect("it is sent");
        let changed = Arc::clone(&changed);
        polls.spawn(async move {
            let answer = connection.answer().await.expect("an answer");
            let heard = Instant::now();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let answer: SyncAnswer = serde_json::from_slice(&answer.body).expect("a sync answer");
            assert!(!answer.changes.is_empty(), "it has waited for a change");
            heard - *changed.get().expect("the change comes first")
        });
    }
    held(world, args.polls).await;
    let request = case.request(world, NUMBER.fetch_add(1, Ordering::Relaxed));
    changed.set(Instant::now()).expect("once");
    let answer = tollgate_tests::http::send(world.edge, &request).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    polls.join_all().await
}

/// Waits until the control plane says that it holds so many long polls.
async fn held(world: &World, polls: usize) {
    let wanted = format!("tollgate_sync_connections {polls}");
    let ask = || async {
        let answer = tollgate_tests::http::send(world.edge, &Request::get("/metrics")).await.ok()?;
        answer.text().lines().any(|line| line == wanted).then_some(())
    };
    tollgate_tests::wait::until(&wanted, tollgate_tests::wait::PATIENCE, ask).await;
}

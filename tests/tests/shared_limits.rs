//! Limits over all Envoys, with the filter's own counting on one side and the control plane's on the other, in made-up
//! time: what all Envoys together let through, that none of it is left lying where only one is busy, and what remains when
//! no answer comes.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use proptest::prelude::*;
use tollgate::{domain::Timestamp, service::shared_limits::SharedLimits};
use tollgate_core::{
    cache::Sealer,
    engine::World,
    limits::{Limiter, Moment, Pace, Subject, Tells, Want},
    verify::{HashName, NativeVerifier},
};
use tollgate_protocol::{
    Rate,
    limits::{LimitsAnswer, REPORT_SECONDS},
    policy::Scope,
};

const T0_MS: u64 = 1_800_000_000_000;
const WORKERS: usize = 2;
const TICK_MS: u64 = 100;

/// The memory that the workers of one Envoy share, with versions as Envoy keeps them.
#[derive(Default)]
struct Memory {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    writes: RefCell<u32>,
}

impl NativeVerifier for Memory {
    fn verify(&self, _: HashName, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }
}

impl World for Memory {
    fn shared_get(&self, slot: &str) -> Option<Vec<u8>> {
        self.shared_read(slot).map(|(value, _)| value)
    }

    fn shared_set(&self, slot: &str, value: &[u8]) {
        assert!(self.shared_swap(slot, value, 0));
    }

    fn shared_read(&self, slot: &str) -> Option<(Vec<u8>, u32)> {
        self.values.borrow().get(slot).cloned()
    }

    fn shared_swap(&self, slot: &str, value: &[u8], version: u32) -> bool {
        let mut values = self.values.borrow_mut();
        if values.get(slot).is_some_and(|(_, present)| version != 0 && *present != version) {
            return false;
        }
        *self.writes.borrow_mut() += 1;
        values.insert(slot.to_owned(), (value.to_vec(), *self.writes.borrow()));
        true
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        None
    }
}

struct Worker {
    limiter: Limiter,
    sealer: Sealer,
    /// What comes back, and when.
    due: Option<(u64, Option<LimitsAnswer>)>,
}

struct Envoy {
    memory: Memory,
    workers: Vec<Worker>,
}

/// Some Envoys and a control plane.
struct Scene {
    envoys: Vec<Envoy>,
    plane: SharedLimits,
    /// How long an answer takes, in milliseconds; `None`: none comes.
    latency: Option<u64>,
    rate: Rate,
    now: u64,
    /// How many were let through in each millisecond.
    passed: BTreeMap<u64, u64>,
}

impl Scene {
    fn new(envoys: usize, latency: Option<u64>, rate: Rate) -> Self {
        let worker = |number: usize| {
            let sealer = Sealer::new("0123456789abcdef", [u8::try_from(number).unwrap(); 16]);
            let hasher = sealer.shared_hasher();
            Worker { limiter: Limiter::new(hasher.clone(), hasher), sealer, due: None }
        };
        let envoy = |number: usize| {
            let workers = (0..WORKERS).map(|at| worker(number * WORKERS + at)).collect();
            Envoy { memory: Memory::default(), workers }
        };
        let envoys = (0..envoys).map(envoy).collect();
        let mut scene =
            Self { envoys, plane: SharedLimits::new(None), latency, rate, now: T0_MS, passed: BTreeMap::new() };
        // Every Envoy has reported twice before the first request, so each knows how many there are.
        scene.advance(REPORT_SECONDS * 1_000 + 3 * TICK_MS);
        scene
    }

    /// Sends what a worker has to report, and takes in what has come back to it.
    fn exchange(&mut self, envoy: usize, worker: usize) {
        let node = format!("envoy-{envoy}");
        let (now, Envoy { memory, workers }) = (self.now, &mut self.envoys[envoy]);
        let Worker { limiter, sealer, due } = &mut workers[worker];
        if let Some((_, answer)) = due.take_if(|(at, _)| *at <= now) {
            limiter.answered(answer, Moment(now * 1_000_000), sealer, memory);
        }
        if let Some(report) = limiter.report(&node, true, Moment(now * 1_000_000)) {
            let at = Timestamp::from_millis(i64::try_from(now + self.latency.unwrap_or(0) / 2).unwrap());
            // In this process nothing is waited for.
            let answer = futures_util::FutureExt::now_or_never(self.plane.count(report, at));
            let answer = self.latency.and(answer).map(|answer| answer.expect("an answer"));
            *due = Some((now + self.latency.unwrap_or(1_000), answer));
        }
    }

    fn advance(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.now += 1;
            let ticks = self.now.is_multiple_of(TICK_MS);
            for envoy in 0..self.envoys.len() {
                for worker in 0..WORKERS {
                    let is_due = self.envoys[envoy].workers[worker].due.as_ref().is_some_and(|(at, _)| *at <= self.now);
                    if ticks {
                        let Envoy { memory, workers } = &mut self.envoys[envoy];
                        let Worker { limiter, sealer, .. } = &mut workers[worker];
                        limiter.give_back(Moment(self.now * 1_000_000), sealer, memory);
                    }
                    if ticks || is_due {
                        self.exchange(envoy, worker);
                    }
                }
            }
        }
    }

    /// One request.
    fn ask(&mut self, envoy: usize, worker: usize) -> bool {
        let want = Want {
            limit: "calls",
            scope: Scope::Global,
            subject: Subject::User("ada"),
            pace: Pace::of(self.rate).unwrap(),
            tells: Tells::ALL,
        };
        let Envoy { memory, workers } = &mut self.envoys[envoy];
        let Worker { limiter, sealer, .. } = &mut workers[worker];
        let passes = limiter.pass(&[want], Moment(self.now * 1_000_000), sealer, memory).is_ok();
        if passes {
            *self.passed.entry(self.now).or_default() += 1;
        }
        self.exchange(envoy, worker);
        passes
    }

    /// Everybody comes as often as this, for so long. Returns how many were let through.
    fn load(&mut self, busy: &[usize], every: u64, milliseconds: u64) -> u64 {
        let before: u64 = self.passed.values().sum();
        for step in 0..milliseconds / every {
            for envoy in busy {
                let _ = self.ask(*envoy, usize::try_from(step).unwrap() % WORKERS);
            }
            self.advance(every);
        }
        self.passed.values().sum::<u64>() - before
    }

    fn burst(&self) -> u64 {
        u64::from(self.rate.burst.unwrap_or(self.rate.requests))
    }

    /// What one Envoy may let through before it hears of the others.
    fn lease(&self) -> u64 {
        self.burst().div_ceil(self.envoys.len() as u64)
    }

    /// Most that any span of time holds beyond the burst and the rate.
    fn most_above(&self) -> f64 {
        let moments: Vec<(u64, u64)> = self.passed.iter().map(|(at, number)| (*at, *number)).collect();
        let mut most = f64::MIN;
        for (first, (began, _)) in moments.iter().enumerate() {
            let mut sum = 0;
            for (ended, number) in &moments[first..] {
                sum += number;
                let gained =
                    (ended - began) as f64 / 1000.0 * f64::from(self.rate.requests) / f64::from(self.rate.seconds);
                most = most.max(sum as f64 - self.burst() as f64 - gained);
            }
        }
        most
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_span_of_time_holds_more_than_the_limit_and_one_lease_for_each_envoy(
        events in prop::collection::vec((prop_oneof![3 => 0..5_u64, 2 => 5..100_u64, 1 => 100..3_000_u64], 0..3_usize, 0..2_usize, 1..30_u32), 1..60),
        requests in 1..300_u32, seconds in prop_oneof![Just(1_u32), Just(60)], burst in 1..100_u32, latency in 0..50_u64,
    ) {
        let mut scene = Scene::new(3, Some(latency), Rate { requests, seconds, burst: Some(burst) });
        for (later, envoy, worker, number) in events {
            scene.advance(later);
            for _ in 0..number {
                let _ = scene.ask(envoy, worker);
            }
        }
        // What a lease gains by itself until an answer is there is part of it.
        let unheard = f64::from(requests) / f64::from(seconds) * (2 * latency + TICK_MS) as f64 / 1000.0;
        let leases = 3.0 * scene.lease() as f64 + unheard;
        prop_assert!(scene.most_above() <= leases, "{} above the limit: {leases} are allowed", scene.most_above());
    }
}

#[test]
fn what_is_allowed_is_let_through_wherever_it_comes() {
    for (requests, seconds, burst, envoys, latency) in
        [(600, 60, 20, 2, 3), (100, 1, 100, 2, 3), (100, 1, 10, 4, 20), (5, 1, 1, 3, 3), (1_000, 1, 200, 8, 3)]
    {
        let rate = Rate { requests, seconds, burst: Some(burst) };
        for busy in [1, envoys] {
            let mut scene = Scene::new(envoys, Some(latency), rate);
            let passed = scene.load(&(0..busy).collect::<Vec<_>>(), 1, 10_000);
            let allowed = f64::from(burst) + 10.0 * f64::from(requests) / f64::from(seconds);
            println!(
                "{rate:?}, {envoys} Envoys, {busy} of them busy, answers after {latency} ms: {passed} of {allowed} let through, \
                 never more than {:.1} above the limit (leases: {} of {})",
                scene.most_above(),
                envoys,
                scene.lease()
            );
            assert!(scene.most_above() <= (scene.lease() * envoys as u64) as f64);
            assert!(passed as f64 >= 0.8 * allowed, "{rate:?} {busy} of {envoys}: {passed} of {allowed}");
        }
    }
}

#[test]
fn without_answers_each_envoy_has_its_own_part() {
    let rate = Rate { requests: 60, seconds: 1, burst: Some(30) };
    let mut scene = Scene::new(3, Some(3), rate);
    scene.load(&[0, 1, 2], 5, 2_000);
    scene.latency = None;
    scene.advance(2_000);
    for (busy, least, most) in [(vec![0], 0.3, 0.34), (vec![0, 1, 2], 0.9, 1.01)] {
        scene.advance(2_000);
        let passed = scene.load(&busy, 5, 10_000);
        let allowed = 600.0;
        let lease = busy.len() as f64 * scene.lease() as f64;
        println!("no answers, {} of 3 Envoys busy: {passed} in 10 s of {allowed} and leases of {lease}", busy.len());
        assert!(passed as f64 >= least * allowed && passed as f64 <= most * allowed + lease, "{busy:?}: {passed}");
    }
    // What was used meanwhile is told when answers come again: nobody begins with a full bucket.
    scene.latency = Some(3);
    scene.advance(1_500);
    scene.load(&[0, 1, 2], 5, 200);
    assert!(scene.load(&[0, 1, 2], 5, 1_000) <= 90);
}

#[test]
fn what_is_left_is_told_for_all() {
    let rate = Rate { requests: 60, seconds: 60, burst: Some(12) };
    let mut scene = Scene::new(2, Some(3), rate);
    assert!((0..4).all(|_| scene.ask(0, 0)));
    scene.advance(200);
    let want = Want {
        limit: "calls",
        scope: Scope::Global,
        subject: Subject::User("ada"),
        pace: Pace::of(rate).unwrap(),
        tells: Tells::ALL,
    };
    let Envoy { memory, workers } = &mut scene.envoys[0];
    let Worker { limiter, sealer, .. } = &mut workers[0];
    let standings = limiter.pass(&[want], Moment(scene.now * 1_000_000), sealer, memory).unwrap();
    assert_eq!(standings[0].left, 7, "of twelve, five are used");
}

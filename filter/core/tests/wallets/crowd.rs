//! Many workers, a few users, random requests, messages that are lost on either way, workers that die: time runs in steps of
//! ten milliseconds, and everything follows from a seed.

use std::{collections::BTreeMap, rc::Rc};

use ahash::RandomState;
use tollgate_core::credits::{Charge, HOLD_MS, Place, Reserved, Wallet};
use tollgate_protocol::{
    config::Credits,
    credits::{LeaseAnswer, LeaseRequest, UsageAnswer, UsageReport},
    policy::{Cost, Counted},
};

use super::plane::Plane;

const STEP: u64 = 10;
const TICK: u64 = 100;
/// How long a call may take, as in the shell.
const TIMEOUT: u64 = 1_000;
/// How long a recall takes from the control plane to every worker.
const RECALL: u64 = 150;
const TERMS: Credits = Credits { lease_seconds: 30, report_ms: 1_000 };

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    fn one_in(&mut self, number: u64) -> bool {
        number > 0 && self.below(number) == 0
    }
}

/// What goes wrong, once in so many times; 0: never.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    lost: u64,
    killed: u64,
}

/// A message on its way there and back.
enum Way<Q, A> {
    There(u64, Q, bool),
    Back(u64, Option<A>),
}

struct Waiting {
    user: String,
    reserve: u64,
    actual: u64,
    since: u64,
}

struct Running {
    until: u64,
    charge: Box<Charge>,
    reserve: u64,
    actual: u64,
}

struct Worker {
    wallet: Wallet,
    leases: Option<Way<LeaseRequest, LeaseAnswer>>,
    usage: Option<Way<UsageReport, UsageAnswer>>,
    waiting: Vec<Waiting>,
    running: Vec<Running>,
}

#[derive(Debug, Default)]
struct Sums {
    asked: u64,
    passed: u64,
    refused: u64,
    unavailable: u64,
    longest_wait: u64,
    /// Longest time during which somebody was refused at its end although the tokens were free somewhere all the while.
    longest_denial: u64,
}

struct World {
    now: u64,
    dice: Dice,
    plane: Plane,
    workers: Vec<Worker>,
    trouble: Trouble,
    recalls: Vec<(u64, String)>,
    /// What each user has spent, as backends know it.
    spent: BTreeMap<String, u64>,
    /// What is set aside for requests that run.
    running: BTreeMap<String, u64>,
    /// Since when at least so much was free, for each user: the moments at which it sank, newest last.
    free: BTreeMap<String, Vec<(u64, u64)>>,
    first: BTreeMap<String, u64>,
    lives: u64,
    sums: Sums,
}

fn cost(reserve: u64) -> Rc<Cost> {
    Rc::new(Cost { counted: Counted::Header("x".into()), at_least: 0, reserve })
}

impl World {
    fn new(seed: u64, workers: u64, balances: &[u64], trouble: Trouble) -> Self {
        let first: BTreeMap<String, u64> =
            balances.iter().enumerate().map(|(place, balance)| (format!("u{place}"), *balance)).collect();
        let plane = Plane::of(first.clone());
        let mut world = Self {
            now: 1_900_000_000_000,
            dice: Dice(seed),
            plane,
            workers: Vec::new(),
            trouble,
            recalls: Vec::new(),
            spent: BTreeMap::new(),
            running: BTreeMap::new(),
            free: BTreeMap::new(),
            first,
            lives: 0,
            sums: Sums::default(),
        };
        for _ in 0..workers {
            let worker = world.worker();
            world.workers.push(worker);
        }
        world
    }

    fn worker(&mut self) -> Worker {
        self.lives += 1;
        let hasher = RandomState::with_seeds(1, 2, 3, self.lives);
        let wallet = Wallet::new(format!("n{}", self.lives), TERMS, &hasher);
        Worker { wallet, leases: None, usage: None, waiting: Vec::new(), running: Vec::new() }
    }

    /// Tokens of a user that are neither spent nor set aside for a request that runs.
    fn is_free(&self, user: &str) -> u64 {
        let of = |sums: &BTreeMap<String, u64>| sums.get(user).copied().unwrap_or(0);
        self.first[user].saturating_sub(of(&self.spent)).saturating_sub(of(&self.running))
    }

    /// Since when at least `wanted` has been free without a break; `None`: it is not.
    fn free_since(&self, user: &str, wanted: u64) -> Option<u64> {
        let mut since = None;
        for (at, free) in self.free.get(user)?.iter().rev() {
            if *free < wanted {
                break;
            }
            since = Some(*at);
        }
        since
    }

    fn step(&mut self, requests: bool) {
        self.now += STEP;
        let now = self.now;
        self.plane.expire(now);
        for user in self.first.keys().cloned().collect::<Vec<_>>() {
            let free = self.is_free(&user);
            let history = self.free.entry(user).or_default();
            history.push((now, free));
            if history.len() > 500 {
                history.remove(0);
            }
        }
        for place in 0..self.workers.len() {
            if self.dice.one_in(self.trouble.killed) {
                self.kill(place);
            }
            self.messages(place);
            self.ends(place);
            if requests && self.dice.one_in(8) {
                self.request(place);
            }
            self.overdue(place);
            let is_tick = now / TICK != (now - STEP) / TICK;
            self.send(place, is_tick);
        }
        for user in std::mem::take(&mut self.plane.recalls) {
            self.recalls.push((now + RECALL, user));
        }
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.recalls).into_iter().partition(|(at, _)| *at <= now);
        self.recalls = later;
        for (_, user) in due {
            self.workers.iter_mut().for_each(|worker| worker.wallet.recalled(&user, now));
        }
    }

    fn kill(&mut self, place: usize) {
        let fresh = self.worker();
        let dead = std::mem::replace(&mut self.workers[place], fresh);
        for one in dead.running {
            *self.running.get_mut(one.charge.user()).unwrap() -= one.reserve;
        }
    }

    fn messages(&mut self, place: usize) {
        let now = self.now;
        let worker = &mut self.workers[place];
        worker.leases = match worker.leases.take() {
            Some(Way::There(at, request, is_lost)) if at <= now => {
                // It arrives, but the answer may be lost.
                let answer = self.plane.lease(&request, now);
                if is_lost { Some(Way::Back(now + TIMEOUT, None)) } else { Some(Way::Back(now + STEP, Some(answer))) }
            }
            other => other,
        };
        worker.usage = match worker.usage.take() {
            Some(Way::There(at, report, is_lost)) if at <= now => {
                let answer = self.plane.book(&report);
                if is_lost { Some(Way::Back(now + TIMEOUT, None)) } else { Some(Way::Back(now + STEP, Some(answer))) }
            }
            other => other,
        };
        if let Some(Way::Back(_, answer)) = worker.usage.take_if(|way| matches!(way, Way::Back(at, _) if *at <= now)) {
            worker.wallet.usage_answered(answer, now);
        }
        if let Some(Way::Back(_, answer)) = worker.leases.take_if(|way| matches!(way, Way::Back(at, _) if *at <= now)) {
            let users = worker.wallet.leases_answered(answer, now);
            users.iter().for_each(|user| self.again(place, user));
        }
    }

    fn send(&mut self, place: usize, is_tick: bool) {
        let (now, lost) = (self.now, self.trouble.lost);
        let (never, unanswered) = (self.dice.one_in(lost), self.dice.one_in(lost));
        let worker = &mut self.workers[place];
        if worker.leases.is_none()
            && let Some(request) = worker.wallet.lease_call(is_tick, now)
        {
            worker.leases = Some(match never {
                true => Way::Back(now + TIMEOUT, None),
                false => Way::There(now + STEP, request, unanswered),
            });
        }
        if is_tick
            && worker.usage.is_none()
            && let Some(report) = worker.wallet.usage_call(now)
        {
            worker.usage = Some(match never {
                true => Way::Back(now + TIMEOUT, None),
                false => Way::There(now + STEP, report, unanswered),
            });
        }
    }

    fn request(&mut self, place: usize) {
        let users = u64::try_from(self.first.len()).unwrap();
        let (user, reserve) = (format!("u{}", self.dice.below(users)), 1 + self.dice.below(30));
        let actual = self.dice.below(reserve + 1);
        self.sums.asked += 1;
        self.try_on(place, Waiting { user, reserve, actual, since: self.now }, false);
    }

    fn try_on(&mut self, place: usize, one: Waiting, is_last: bool) {
        let now = self.now;
        let worker = &mut self.workers[place];
        match worker.wallet.reserve(&one.user, None, &cost(one.reserve), is_last, now) {
            Reserved::Held(mut charge) => {
                worker.wallet.count(&one.user, None, &Place::default(), now);
                charge.meter.header(one.actual.to_string().as_bytes());
                self.sums.passed += 1;
                self.sums.longest_wait = self.sums.longest_wait.max(now - one.since);
                *self.running.entry(one.user).or_default() += one.reserve;
                let until = now + STEP + self.dice.below(400);
                worker.running.push(Running { until, charge, reserve: one.reserve, actual: one.actual });
            }
            Reserved::Wait(_) => worker.waiting.push(one),
            Reserved::Exhausted => {
                self.sums.refused += 1;
                if let Some(since) = self.free_since(&one.user, one.reserve) {
                    self.sums.longest_denial = self.sums.longest_denial.max(now - since);
                }
            }
            Reserved::Unavailable => self.sums.unavailable += 1,
        }
    }

    fn again(&mut self, place: usize, user: &str) {
        let waiting = std::mem::take(&mut self.workers[place].waiting);
        let (theirs, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|one| one.user == user);
        self.workers[place].waiting = others;
        theirs.into_iter().for_each(|one| self.try_on(place, one, false));
    }

    fn ends(&mut self, place: usize) {
        let now = self.now;
        let running = std::mem::take(&mut self.workers[place].running);
        let (over, on): (Vec<_>, Vec<_>) = running.into_iter().partition(|one| one.until <= now);
        self.workers[place].running = on;
        for one in over {
            let (tokens, user) = self.workers[place].wallet.settle(one.charge, now);
            assert_eq!(tokens, one.actual);
            *self.running.get_mut(&*user).unwrap() -= one.reserve;
            *self.spent.entry(user.to_string()).or_default() += tokens;
            self.again(place, &user);
        }
    }

    fn overdue(&mut self, place: usize) {
        let now = self.now;
        let waiting = std::mem::take(&mut self.workers[place].waiting);
        let (over, on): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|one| now - one.since >= HOLD_MS);
        self.workers[place].waiting = on;
        over.into_iter().for_each(|one| self.try_on(place, one, true));
    }

    /// No more requests: everything is reported and given back.
    fn drain(&mut self) {
        for _ in 0..6_000 {
            self.step(false);
        }
        assert_eq!(self.plane.open(), 0, "leases that nobody needs go back");
        assert!(self.workers.iter().all(|worker| worker.waiting.is_empty() && worker.running.is_empty()));
    }
}

/// Runs for so many steps, and says what came of it.
fn run(seed: u64, workers: u64, balances: &[u64], trouble: Trouble, steps: u64) -> World {
    let mut world = World::new(seed, workers, balances, trouble);
    for _ in 0..steps {
        world.step(true);
    }
    world.trouble = Trouble::default();
    world.drain();
    world
}

#[test]
fn nobody_spends_what_is_not_there_and_every_token_is_booked() {
    for seed in 0..12 {
        let world = run(seed, 6, &[3_000, 500, 20_000], Trouble::default(), 3_000);
        assert_eq!(world.plane.uncovered, 0, "seed {seed}");
        assert_eq!(world.plane.used, world.spent, "seed {seed}");
        for (user, first) in &world.first {
            let spent = world.spent.get(user).copied().unwrap_or(0);
            assert_eq!(world.plane.balances[user] + spent, *first, "seed {seed}, {user}");
        }
        assert_eq!(world.plane.counted, world.sums.passed, "seed {seed}: counted requests");
        let sums = &world.sums;
        println!("seed {seed}: {sums:?}, {} messages", world.plane.messages);
        assert!(sums.refused > 0 && sums.unavailable == 0, "seed {seed}: {sums:?}");
        assert!(sums.longest_wait <= 1_000 && sums.longest_denial <= 1_000, "seed {seed}: {sums:?}");
    }
}

#[test]
fn lost_messages_cost_time_and_no_token() {
    for seed in 100..112 {
        let world = run(seed, 6, &[9_000, 500, 60_000], Trouble { lost: 6, killed: 0 }, 9_000);
        assert_eq!(world.plane.used, world.spent, "seed {seed}");
        assert_eq!(world.plane.counted, world.sums.passed, "seed {seed}");
        assert_eq!(world.plane.uncovered, 0, "seed {seed}");
        println!("seed {seed}: {:?}", world.sums);
    }
}

#[test]
fn a_dead_worker_takes_no_more_with_it_than_it_had_not_reported() {
    for seed in 200..212 {
        let world = run(seed, 6, &[50_000, 50_000], Trouble { lost: 0, killed: 1_500 }, 3_000);
        let booked: u64 = world.plane.used.values().sum();
        let spent: u64 = world.spent.values().sum();
        assert!(booked <= spent, "seed {seed}: nothing is booked that nobody used");
        let deaths = world.lives - 6;
        // A worker uses about a request of 8 tokens in 80 ms; a report goes each second, and takes up to a tick and a step.
        let bound = deaths * 1_200 / 80 * 30;
        println!("seed {seed}: {deaths} died with {} of {spent} tokens not reported", spent - booked);
        assert!(deaths > 0 && spent - booked <= bound, "seed {seed}: {} > {bound}", spent - booked);
        assert_eq!(world.plane.uncovered, 0, "seed {seed}");
    }
}

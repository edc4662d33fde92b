//! Buckets against the definition of the algorithm, and several workers that share them.

use std::{cell::RefCell, collections::BTreeMap};

use tollgate_protocol::Rate;

use super::*;
use crate::{
    cache::Sealer,
    engine::World,
    verify::{HashName, NativeVerifier},
};

const T0: u64 = 1_800_000_000_000_000_000;
const MS: u64 = 1_000_000;
const SECRET: &str = "0123456789abcdef";

/// The memory that the workers share, with versions as Envoy keeps them.
#[derive(Default)]
struct Memory {
    values: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    writes: RefCell<u32>,
    refuses: bool,
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
        let _ = self.shared_swap(slot, value, 0);
    }
    fn shared_read(&self, slot: &str) -> Option<(Vec<u8>, u32)> {
        self.values.borrow().get(slot).cloned()
    }
    fn shared_swap(&self, slot: &str, value: &[u8], version: u32) -> bool {
        let mut values = self.values.borrow_mut();
        let differs = values.get(slot).is_some_and(|(_, present)| version != 0 && *present != version);
        if self.refuses || differs {
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

struct Worker(Limiter, Sealer);

fn worker(number: u8) -> Worker {
    let sealer = Sealer::new(SECRET, [number; 16]);
    let own = ahash::RandomState::with_seeds(number.into(), 2, 3, 4);
    Worker(Limiter::new(sealer.shared_hasher(), own), sealer)
}

fn pace(requests: u32, seconds: u32, burst: Option<u32>) -> Pace {
    Pace::of(Rate { requests, seconds, burst }).unwrap()
}

fn want(limit: &'static str, user: &'static str, pace: Pace) -> Want<'static> {
    Want { limit, scope: Scope::Envoy, subject: Subject::User(user), pace, tells: Tells::ALL }
}

impl Worker {
    fn try_all(&mut self, wanted: &[Want<'_>], at: u64, memory: &Memory) -> Result<Vec<Standing>, Exceeded> {
        self.0.pass(wanted, Moment(at), &self.1, memory)
    }

    fn passes(&mut self, pace: Pace, at: u64, memory: &Memory) -> bool {
        self.try_all(&[want("calls", "ada", pace)], at, memory).is_ok()
    }
}

#[test]
fn rates_that_can_be_kept_and_others() {
    for (requests, seconds, burst, fits) in [
        (60, 60, None, true),
        (u32::MAX, 1, None, true),
        (u32::MAX, 86_400, Some(u32::MAX), true),
        (1, 86_400, Some(366), true),
        (1, 86_400, Some(367), false),
        (0, 60, None, false),
        (60, 0, None, false),
        (60, 60, Some(0), false),
    ] {
        let rate = Rate { requests, seconds, burst };
        assert_eq!(Pace::of(rate).is_some(), fits, "{rate:?}");
        // Whatever cannot be kept is kept more strictly: one at a time.
        let strict = Pace::at_most(rate);
        assert!(fits || strict.left(Moment(0), Moment(T0)) == 1, "{rate:?}");
    }
}

#[test]
fn a_bucket_empties_and_fills() {
    let pace = pace(60, 60, Some(5));
    let (now, mut full_at) = (Moment(T0), Moment(0));
    for left in [5, 4, 3, 2, 1] {
        assert_eq!((pace.left(full_at, now), pace.wait(full_at, now)), (left, 0));
        full_at = pace.after(full_at, 1, now);
    }
    assert_eq!((pace.left(full_at, now), pace.wait(full_at, now)), (0, 1000 * MS));
    assert_eq!(pace.wait(full_at, Moment(T0 + 400 * MS)), 600 * MS);
    assert_eq!(pace.left(full_at, Moment(T0 + 2_500 * MS)), 2);
    assert_eq!(pace.left(full_at, Moment(T0 + 5_000 * MS)), 5);
}

#[test]
fn one_worker_lets_through_what_the_rate_says() {
    let (memory, mut worker) = (Memory::default(), worker(1));
    let pace = pace(600, 60, Some(20));
    // 100 a second for ten seconds: 20 at once, and 10 in each second.
    let passed = (0..1000).filter(|step| worker.passes(pace, T0 + step * 10 * MS, &memory)).count();
    assert!((118..=120).contains(&passed), "{passed}");
}

#[test]
fn what_one_worker_holds_it_gives_back_and_never_holds_twice() {
    let (memory, mut one, mut other) = (Memory::default(), worker(1), worker(2));
    let pace = pace(60, 60, Some(32));
    assert!(one.passes(pace, T0, &memory));
    let mut passed = (0..40).filter(|_| other.passes(pace, T0, &memory)).count();
    assert!((28..32).contains(&passed), "{passed}: what the first holds the second cannot have");
    // The first holds what it has taken, but the second has taken since: it falls back with time, not at once.
    one.0.give_back(Moment(T0 + 250 * MS), &one.1, &memory);
    passed += (0..40).filter(|_| other.passes(pace, T0 + 250 * MS, &memory)).count();
    assert!(passed < 32, "{passed}");

    let (memory, mut one, mut other) = (Memory::default(), worker(1), worker(2));
    assert!(one.passes(pace, T0, &memory));
    one.0.give_back(Moment(T0 + 250 * MS), &one.1, &memory);
    let passed = (0..40).filter(|_| other.passes(pace, T0 + 250 * MS, &memory)).count();
    assert_eq!(passed, 31, "all but the one that was used");
}

#[test]
fn several_limits_count_together_or_not_at_all() {
    let (memory, mut worker) = (Memory::default(), worker(1));
    let (wide, narrow) = (pace(100, 1, None), pace(2, 60, None));
    let both = [want("wide", "ada", wide), want("narrow", "ada", narrow)];
    let standings = worker.try_all(&both, T0, &memory).unwrap();
    assert_eq!(standings.iter().map(|standing| standing.left).collect::<Vec<_>>(), [99, 1]);
    assert!(worker.try_all(&both, T0, &memory).is_ok());
    for _ in 0..50 {
        let exceeded = worker.try_all(&both, T0, &memory).unwrap_err();
        assert_eq!(exceeded.retry_after(), Some(30));
        assert_eq!((exceeded.standings[0].wait, exceeded.standings[0].left), (0, 98), "not counted under the other");
    }
    assert!(worker.try_all(&[want("wide", "ada", wide)], T0, &memory).is_ok());
    assert!(worker.try_all(&[want("narrow", "grace", narrow)], T0, &memory).is_ok());
}

#[test]
fn a_better_tier_counts_at_once() {
    let (memory, mut worker) = (Memory::default(), worker(1));
    let (free, pro) = (pace(10, 3_600, None), pace(600, 60, None));
    assert_eq!((0..20).filter(|_| worker.passes(free, T0, &memory)).count(), 10);
    assert!(!worker.passes(pro, T0, &memory));
    assert!(worker.passes(pro, T0 + 200 * MS, &memory), "at the new rate, not after an hour");
}

#[test]
fn nobody_passes_uncounted() {
    let (memory, mut worker) = (Memory { refuses: true, ..Memory::default() }, worker(1));
    assert!(!worker.passes(pace(10, 1, None), T0, &memory));
    // Junk where a set should be: everybody's bucket is empty, and fills again.
    let memory = Memory::default();
    for set in 0..SETS {
        memory.shared_set(&crate::cache::slot::limit(set), b"junk");
    }
    let pace = pace(10, 1, None);
    assert!(!worker.passes(pace, T0, &memory));
    assert!(worker.passes(pace, T0 + 1_000 * MS, &memory));
}

#[test]
fn a_refusal_says_when_and_why() {
    let (memory, mut worker) = (Memory::default(), worker(1));
    let quiet = Want { tells: Tells::NOTHING, ..want("quiet", "ada", pace(1, 3_600, None)) };
    let spoken = want("calls", "ada", pace(2, 10, None));
    let text = |told: Vec<(&'static str, Vec<u8>)>| {
        told.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))).collect::<Vec<_>>()
    };
    let standings = worker.try_all(&[spoken], T0, &memory).unwrap();
    let expected = [
        "ratelimit-policy: \"calls\";q=2;w=10",
        "ratelimit: \"calls\";r=1;t=5",
        "x-ratelimit-limit: 2",
        "x-ratelimit-remaining: 1",
        "x-ratelimit-reset: 5",
    ];
    assert_eq!(text(told(&standings)), expected);
    assert!(worker.try_all(&[spoken], T0, &memory).is_ok());
    let exceeded = worker.try_all(&[spoken], T0 + 1_500 * MS, &memory).unwrap_err();
    assert_eq!(exceeded.retry_after(), Some(4));
    assert!(text(told(&exceeded.standings)).contains(&"ratelimit: \"calls\";r=0;t=9".to_owned()));
    assert!(told(&worker.try_all(&[quiet], T0, &memory).unwrap()).is_empty());
    assert_eq!(worker.try_all(&[quiet, spoken], T0, &memory).unwrap_err().retry_after(), None);
}

#[test]
fn sets_read_what_they_write_and_forget_what_has_passed() {
    let now = Moment(T0);
    let mut set = Set::default();
    let kind = Kind::of(1_000 * MS);
    for name in 0..PLACES as u64 {
        set.put(name, kind, Moment(T0 + name * MS + MS), now);
    }
    assert_eq!(Set::read(&set.to_bytes(now)), Some(set.clone()));
    for end in 0..set.to_bytes(now).len() {
        let cut = set.to_bytes(now);
        assert!(Set::read(&cut[..end]).is_none_or(|read| read != set), "{end}");
    }
    // One more: the first to pass goes, and whoever is not found starts where it was.
    set.put(100, kind, Moment(T0 + 50 * MS), now);
    assert_eq!(set.full_at(0, kind), (Moment(T0 + MS), false));
    assert_eq!(set.full_at(200, kind), (Moment(T0 + MS), false));
    assert_eq!(set.full_at(1, kind), (Moment(T0 + 2 * MS), true));
    // Slower buckets are not concerned, nor quicker ones.
    assert_eq!(set.full_at(200, Kind::of(3_600_000 * MS)), (Moment(0), false));
    let later = Moment(T0 + 4 * MS);
    let left = Set::read(&set.to_bytes(later)).unwrap();
    assert_eq!(left.full_at(3, kind), (Moment(T0 + MS), false));
    assert_eq!(left.full_at(4, kind), (Moment(T0 + 5 * MS), true));
}

//! What limits promise, from outside: however requests come to however many workers, a bucket never lets through more than
//! its burst and what its rate gives meanwhile, and nobody gets a full bucket back because others needed the place.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use proptest::prelude::*;
use tollgate_core::{
    cache::Sealer,
    engine::World,
    limits::{Limiter, Moment, PLACES, Pace, SETS, Subject, Tells, Want},
    verify::{HashName, NativeVerifier},
};
use tollgate_protocol::{Rate, policy::Scope};

const T0: u64 = 1_800_000_000_000_000_000;
const MS: u64 = 1_000_000;

/// The memory that the workers share, with versions as Envoy keeps them: one counter for all values.
#[derive(Default)]
struct Memory {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    writes: RefCell<u32>,
    reads: Cell<u32>,
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
        self.reads.set(self.reads.get() + 1);
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

struct Worker(Limiter, Sealer);

impl Worker {
    fn new(number: u8) -> Self {
        let sealer = Sealer::new("0123456789abcdef", [number; 16]);
        let own = ahash::RandomState::with_seeds(number.into(), 2, 3, 4);
        Self(Limiter::new(sealer.shared_hasher(), own), sealer)
    }

    fn passes(&mut self, subject: Subject<'_>, pace: Pace, at: u64, memory: &Memory) -> bool {
        let want = Want { limit: "calls", scope: Scope::Envoy, subject, pace, tells: Tells::NOTHING };
        self.0.pass(&[want], Moment(at), &self.1, memory).is_ok()
    }

    fn give_back(&mut self, at: u64, memory: &Memory) {
        self.0.give_back(Moment(at), &self.1, memory);
    }
}

/// One event: how much later it is, in milliseconds, which worker, and how many requests come there at once; none: a tick.
type Event = (u64, usize, u32);

fn events() -> impl Strategy<Value = Vec<Event>> {
    let later = prop_oneof![4 => Just(0), 4 => 1..20_u64, 2 => 20..300_u64, 1 => 300..20_000_u64];
    prop::collection::vec((later, 0..4_usize, 0..40_u32), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_span_of_time_holds_more_than_the_burst_and_the_rate(
        events in events(), requests in 1..2_000_u32, seconds in prop_oneof![Just(1_u32), Just(60)], burst in 1..200_u32,
    ) {
        let rate = Rate { requests, seconds, burst: Some(burst) };
        let pace = Pace::of(rate).unwrap();
        let (memory, mut workers) = (Memory::default(), [1, 2, 3, 4].map(Worker::new));
        let (mut now, mut passed) = (T0, BTreeMap::<u64, u64>::new());
        for (later, worker, number) in events {
            now += later * MS;
            let worker = &mut workers[worker];
            if number == 0 {
                worker.give_back(now, &memory);
            }
            let count = (0..number).filter(|_| worker.passes(Subject::User("ada"), pace, now, &memory)).count();
            *passed.entry(now).or_default() += count as u64;
        }
        let moments: Vec<(u64, u64)> = passed.into_iter().collect();
        for (first, (began, _)) in moments.iter().enumerate() {
            let mut sum = 0;
            for (ended, number) in &moments[first..] {
                sum += number;
                let gained = u128::from(ended - began) * u128::from(requests) / (u128::from(seconds) * 1_000_000_000);
                let most = u128::from(burst) + gained;
                prop_assert!(u128::from(sum) <= most, "{sum} within {} ms: {most} are allowed", (ended - began) / MS);
            }
        }
    }

    #[test]
    fn a_worker_alone_lets_through_nearly_all_that_is_allowed(requests in 1..500_u32, burst in 1..100_u32) {
        let pace = Pace::of(Rate { requests, seconds: 1, burst: Some(burst) }).unwrap();
        let (memory, mut worker) = (Memory::default(), Worker::new(1));
        // Two thousand a second, more than any of these rates.
        let steps = 0..4_000_u64;
        let passed = steps.filter(|step| worker.passes(Subject::User("ada"), pace, T0 + step * MS / 2, &memory)).count();
        // The last look is half a millisecond before the second second is over.
        let allowed = u64::from(burst) + u64::from(requests) * 2 - 1;
        // Whoever finds an empty bucket looks again when it holds a request, at the next full millisecond.
        prop_assert!(passed as u64 <= allowed && passed as u64 * 10 >= allowed * 8, "{passed} of {allowed}");
    }
}

#[test]
fn a_million_others_do_not_fill_a_bucket() {
    const OTHERS: u128 = 1_000_000;
    let pace = Pace::of(Rate { requests: 10, seconds: 3_600, burst: None }).unwrap();
    let (memory, mut workers) = (Memory::default(), [1, 2, 3, 4].map(Worker::new));
    // Some have used up everything, and some a part: their places go first.
    let victims: Vec<(String, usize)> =
        (0..100).map(|number| (format!("usr_{number}"), if number % 2 == 0 { 10 } else { 3 })).collect();
    for (victim, used) in &victims {
        let passed = (0..*used).filter(|_| workers[0].passes(Subject::User(victim), pace, T0, &memory)).count();
        assert_eq!(passed, *used);
    }
    let mut served = 0;
    for other in 0..OTHERS {
        let worker = &mut workers[usize::try_from(other % 4).unwrap()];
        let at = T0 + u64::try_from(other).unwrap() * 30_000;
        served += u64::from(worker.passes(Subject::Address(other.to_le_bytes()), pace, at, &memory));
    }
    // Half a minute later nobody has gained anything. Workers that have not seen the victims ask the shared memory.
    let later = T0 + 30_500 * MS;
    let mut back = 0;
    for (victim, used) in &victims {
        let tries = (0..20).flat_map(|_| 0..4_usize);
        let passed =
            tries.filter(|worker| workers[*worker].passes(Subject::User(victim), pace, later, &memory)).count();
        assert!(used + passed <= 10, "{victim} has used {used}, and {passed} more");
        back += passed;
    }
    let values = memory.values.borrow();
    let bytes: usize = values.iter().map(|(name, (value, _))| name.len() + value.len()).sum();
    println!(
        "a million others: {served} of them served; {back} of at most 350 requests passed that were left to 100 earlier ones; {} slots, {bytes} bytes",
        values.len()
    );
    assert!(values.len() as u64 <= SETS && bytes <= 8_192 * (64 + 17 * PLACES + 128));
}

/// How often the host is called for each request. What is below the limit costs next to nothing.
#[test]
fn few_requests_ask_the_host() {
    for (per_second, requests, burst, most) in [
        (1_000, 60_000, Some(2_000), 0.2),
        (100, 60_000, Some(2_000), 0.4),
        (10, 1_200, Some(100), 2.0),
        (100, 60, None, 0.5),
    ] {
        let pace = Pace::of(Rate { requests, seconds: 60, burst }).unwrap();
        let (memory, mut worker) = (Memory::default(), Worker::new(1));
        let (step, mut passed) = (1_000 / per_second, 0);
        let began = Instant::now();
        for number in 0..per_second * 10 {
            let at = T0 + number * step * MS;
            passed += u32::from(worker.passes(Subject::User("ada"), pace, at, &memory));
            if at.is_multiple_of(100 * MS) {
                worker.give_back(at, &memory);
            }
        }
        let calls = f64::from(memory.reads.get() + *memory.writes.borrow()) / (per_second * 10) as f64;
        let each = began.elapsed() / u32::try_from(per_second * 10).unwrap();
        println!(
            "{per_second} requests a second under {requests}/min burst {burst:?}: {passed} passed, {calls:.3} host calls and \
             {each:?} in the limiter each"
        );
        assert!(calls <= most, "{calls}");
    }
}

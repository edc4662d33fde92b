//! Three Envoys, fifty users, random costs; Envoys are killed and the control plane is killed and started again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::RwLock, task::JoinSet};
use tollgate_tests::{
    control_plane::Kind,
    http::{self, Request},
};

use super::{Fleet, LEASE_SECONDS, SECOND};

const USERS: usize = 50;
/// The first user has so many tokens, the second twice that, and so on: somebody comes to an end at each moment.
const TOKENS: i64 = 150;
const CLIENTS: u64 = 16;
const KILLS: usize = 6;
/// How long nothing is killed at first.
const QUIET: Duration = Duration::from_secs(5);
const ROUND: Duration = Duration::from_secs(2);
/// How long the leases of a killed Envoy last, until they are looked for and found.
const LEASES_LAST: Duration = Duration::from_secs(LEASE_SECONDS + 2);
/// Most tokens of one request, which is also what is set aside for each.
const LARGEST: u64 = 20;

#[derive(Debug, Default)]
struct Seen {
    passed: AtomicU64,
    exhausted: AtomicU64,
    away: AtomicU64,
    /// Connections that a killed Envoy took with it.
    cut: AtomicU64,
    denials: Mutex<Denials>,
}

#[derive(Debug, Default)]
struct Denials {
    /// Since when each user is refused.
    since: BTreeMap<usize, Instant>,
    /// From when to when somebody was refused who then got through.
    over: Vec<(Instant, Instant)>,
}

impl Seen {
    /// Balances only sink here: who gets through had tokens all the time.
    fn note(&self, user: usize, status: u16) {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        match status {
            402 => drop(denials.since.entry(user).or_insert_with(Instant::now)),
            200 => {
                if let Some(since) = denials.since.remove(&user) {
                    denials.over.push((since, Instant::now()));
                }
            }
            _ => {}
        }
    }

    /// The longest time for which somebody was refused who then got through, without the times in which tokens were lost.
    fn longest_denial(&self, lost: &[(Instant, Instant)]) -> Duration {
        let denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        denials.over.iter().map(|denial| outside(*denial, lost)).max().unwrap_or_default()
    }

    /// For how long each user is refused who has not got through again.
    fn refused(&self, end: Instant, lost: &[(Instant, Instant)]) -> BTreeMap<usize, Duration> {
        let denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        denials.since.iter().map(|(user, since)| (*user, outside((*since, end), lost))).collect()
    }
}

/// What a time has outside of others, which are in their order.
fn outside((from, to): (Instant, Instant), others: &[(Instant, Instant)]) -> Duration {
    let mut at = from;
    let mut sum = Duration::ZERO;
    for (begin, end) in others {
        sum += (*begin).min(to).saturating_duration_since(at);
        at = at.max(*end);
    }
    sum + to.saturating_duration_since(at)
}

/// Numbers from a seed (SplitMix64).
fn dice(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ (mixed >> 31)) % below
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_spends_more_than_they_have_whatever_is_killed() {
    let mut fleet = Fleet::start(3, Kind::Program).await;
    let mut people = Vec::new();
    for number in 0..USERS {
        let tokens = TOKENS * i64::try_from(number + 1).expect("small");
        let (user, key) = fleet.somebody(&format!("user{number}"), tokens).await;
        people.push((user, key, u64::try_from(tokens).expect("more than 0")));
    }
    let keys: Arc<Vec<String>> = Arc::new(people.iter().map(|(_, key, _)| key.clone()).collect());
    let addrs = Arc::new(RwLock::new(fleet.envoys.iter().map(|(envoy, _)| envoy.addr).collect::<Vec<_>>()));
    let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (keys, addrs, over, seen) = (Arc::clone(&keys), Arc::clone(&addrs), Arc::clone(&over), Arc::clone(&seen));
        clients.spawn(async move {
            let mut seed = client;
            while !over.load(Ordering::Relaxed) {
                let user = usize::try_from(dice(&mut seed, USERS as u64)).expect("small");
                let way = ["header", "json", "events"][usize::try_from(dice(&mut seed, 3)).expect("small")];
                let request =
                    Request::get(&format!("/cost/{way}/{}", 1 + dice(&mut seed, LARGEST))).api_key(&keys[user]);
                let addr = addrs.read().await[usize::try_from(dice(&mut seed, 3)).expect("small")];
                let status = http::send(addr, &request).await.map(|answer| answer.status);
                seen.note(user, *status.as_ref().unwrap_or(&0));
                let counter = match status {
                    Ok(200) => &seen.passed,
                    Ok(402) => &seen.exhausted,
                    Ok(503) => &seen.away,
                    Ok(status) => panic!("{status}"),
                    Err(_) => &seen.cut,
                };
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let began = Instant::now();
    tokio::time::sleep(QUIET).await;
    let quiet = (seen.longest_denial(&[]), seen.exhausted.load(Ordering::Relaxed));
    // Backends know at once what an Envoy reports within half a second, and a tick: what was used in that time is lost.
    let mut at_risk = 0;
    // What a killed Envoy held nobody has until its leases are over; without a control plane nobody gets a lease.
    let mut lost_from_to = Vec::new();
    for kill in 0..KILLS {
        tokio::time::sleep(ROUND).await;
        if kill % 3 == 2 {
            let stopped = Instant::now();
            fleet.stack.stop_control_plane().await;
            fleet.stack.start_control_plane().await;
            lost_from_to.push((stopped, Instant::now() + SECOND));
            continue;
        }
        let place = kill % 3;
        let before: u64 = fleet.backend.counts().values().sum();
        let rate = before as f64 / began.elapsed().as_secs_f64();
        let fresh = fleet.envoy().await;
        let dead = std::mem::replace(&mut fleet.envoys[place], fresh);
        addrs.write().await[place] = fleet.envoys[place].0.addr;
        let killed = Instant::now();
        drop(dead);
        lost_from_to.push((killed, Instant::now() + LEASES_LAST));
        // An Envoy is a third of it all; twice that, for what comes in bursts; and what was under way.
        at_risk += (rate * 2.0 / 3.0) as u64 + CLIENTS * LARGEST;
    }
    // Until every lease of the dead is over, and for as long again as at first.
    tokio::time::sleep(LEASES_LAST + QUIET).await;
    let end = Instant::now();
    over.store(true, Ordering::Relaxed);
    clients.join_all().await;

    let counted = fleet.backend.counts();
    let (mut booked, mut told, mut above, mut uncovered) = (0, 0, 0, 0);
    let mut worst: BTreeMap<u64, String> = BTreeMap::new();
    let refused = seen.refused(end, &lost_from_to);
    for (number, (user, _, tokens)) in people.iter().enumerate() {
        let account = fleet.settled(&user.id).await;
        let used = u64::try_from(account.used).expect("not below 0");
        let truth = counted.get(user.id.as_str()).copied().unwrap_or(0);
        assert!(account.remaining >= 0, "{account:?}");
        // Who does not get through again has nothing to get through with.
        let has_enough = u64::try_from(account.remaining).expect("not below 0") >= LARGEST;
        let refused_for = refused.get(&number).copied().unwrap_or_default();
        assert!(!has_enough || refused_for < SECOND, "refused for {refused_for:?}: {account:?}");
        assert!(used <= truth, "{}: {used} booked, {truth} used", user.id.as_str());
        let (tally, ..) = tollgate::service::credits::tally(fleet.stack.app(), &user.id).await.expect("a tally");
        uncovered += tally.uncovered;
        above += truth.saturating_sub(*tokens);
        worst.insert(truth - used, user.id.to_string());
        (booked, told) = (booked + used, told + truth);
    }
    let lost = told - booked;
    let [passed, exhausted, away, cut] =
        [&seen.passed, &seen.exhausted, &seen.away, &seen.cut].map(|counter| counter.load(Ordering::Relaxed));
    println!(
        "{USERS} users, 3 Envoys, {KILLS} kills (leases of {LEASE_SECONDS} s) in {:.1?}: {passed} passed, {exhausted} exhausted, {away} away, {cut} cut; backends counted {told} \
         tokens, {booked} are booked, {lost} were lost with killed Envoys (bound {at_risk}; {:?} the most of one user); \
         {above} used beyond a balance, {uncovered} uncovered; somebody who had tokens was refused for {:.1?} before \
         anything was killed, for {:.1?} at most, and for {:.1?} outside of what leases of the dead take",
        began.elapsed(),
        worst.last_key_value().map(|(lost, _)| lost),
        quiet.0,
        seen.longest_denial(&[]),
        seen.longest_denial(&lost_from_to),
    );
    assert!(quiet.0 < SECOND && quiet.1 > 0, "{quiet:?}");
    let longest = seen.longest_denial(&lost_from_to);
    assert!(longest < SECOND, "{longest:?}");
    assert!(passed > 1_000 && exhausted > 0, "{passed} passed, {exhausted} refused");
    assert!(lost <= at_risk, "{lost} > {at_risk}");
    assert!(above <= lost, "{above} used beyond balances, and only {lost} were lost");
    assert!(
        u64::try_from(uncovered).is_ok_and(|uncovered| uncovered <= lost),
        "{uncovered} tokens are not covered, and only {lost} were lost"
    );
    for (envoy, _) in &fleet.envoys {
        assert_eq!(envoy.runtime_failures().await, Vec::<String>::new());
    }
}

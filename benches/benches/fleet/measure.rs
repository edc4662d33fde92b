//! What Envoys cost one control plane, and how soon they hear of a revocation. It must not know how figures are shown.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};
use tollgate_benches::process;
use tollgate_tests::{http::Connection, wait};

use crate::{
    Args,
    fleet::{self, Fleet},
    wire::Fault,
    world::World,
};

/// Pause before anything is measured, so that what came before it is over.
const SETTLE: Duration = Duration::from_millis(500);

/// How soon all Envoys have heard of one revocation, from the call on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) last: Duration,
    /// CPU of the control planes for each Envoy, until its next poll is held.
    pub(crate) cpu: Duration,
}

/// All cut off and coming back.
#[derive(Debug, Clone)]
pub(crate) struct Returned {
    /// From the end of the control plane until it answers again.
    pub(crate) away: Duration,
    /// From then until all polls are held.
    pub(crate) back: Duration,
    /// CPU of the control plane for each Envoy, without that of its start.
    pub(crate) cpu: Duration,
    pub(crate) faults: BTreeMap<Fault, usize>,
}

/// One control plane and its Envoys.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// From the first connection until all polls are held.
    pub(crate) held: Duration,
    pub(crate) connections: usize,
    /// Parts of a core: in the whole time, and in the busiest second.
    pub(crate) idle: f64,
    pub(crate) busiest: f64,
    /// The same without any Envoy.
    pub(crate) idle_alone: f64,
    /// Bytes that are resident without Envoys, and with all of them.
    pub(crate) empty: u64,
    pub(crate) full: u64,
    /// With one Envoy, and with all of them.
    pub(crate) alone: Vec<Heard>,
    pub(crate) all: Vec<Heard>,
    pub(crate) returned: Vec<Returned>,
}

/// Measures one control plane.
pub(crate) async fn run(world: &mut World, args: &Args) -> Figures {
    let edges = world.edges();
    // What starting costs, so that it is not counted as what coming back costs.
    let start = process::cpu(world.process(0));
    let mut one = Fleet::start(1, &edges);
    one.hold(&edges).await;
    let alone = revocations(world, &mut one, args.turns).await;
    drop(one);
    gone(world).await;
    let (idle_alone, _) = idle(world.process(0), args.seconds.min(5)).await;
    let empty = process::resident(world.process(0));

    let began = Instant::now();
    let mut fleet = Fleet::start(args.envoys, &edges);
    let held = fleet.hold(&edges).await - began;
    println!("{} Envoys hold a poll after {held:?}", args.envoys);
    sleep(SETTLE).await;
    let connections = process::connections(edges[0]);
    let (idle, busiest) = idle(world.process(0), args.seconds).await;
    let full = process::resident(world.process(0));
    println!("idle: {:.2} % of a core, {:.1} % in the busiest second; {full} bytes", idle * 100.0, busiest * 100.0);
    let all = revocations(world, &mut fleet, args.turns).await;
    let mut returned = Vec::new();
    for _ in 0..args.turns {
        returned.push(cut_off(world, &mut fleet, start).await);
    }
    Figures { held, connections, idle, busiest, idle_alone, empty, full, alone, all, returned }
}

/// Waits until nothing is left of Envoys that have gone.
async fn gone(world: &World) {
    let edge = world.edges()[0];
    let none = || async {
        let mut connection = Connection::open(edge).await.ok()?;
        (fleet::held(&mut connection).await == 0).then_some(())
    };
    wait::until("no poll is held", wait::PATIENCE, none).await;
}

/// Parts of a core that a process uses in so many seconds, and in the busiest of them.
async fn idle(process: u32, seconds: u64) -> (f64, f64) {
    let (began, first) = (Instant::now(), process::cpu(process));
    let (mut busiest, mut before) = (0.0_f64, first);
    for second in 1..=seconds {
        tokio::time::sleep_until(began + Duration::from_secs(second)).await;
        let now = process::cpu(process);
        busiest = busiest.max((now - before).as_secs_f64());
        before = now;
    }
    ((before - first).as_secs_f64() / began.elapsed().as_secs_f64(), busiest)
}

/// Revokes a key so many times, at each control plane by turns.
pub(crate) async fn revocations(world: &mut World, fleet: &mut Fleet, turns: usize) -> Vec<Heard> {
    let edges = world.edges();
    let mut all = Vec::new();
    for turn in 0..turns {
        sleep(SETTLE).await;
        let cpu = |world: &World| (0..edges.len()).map(|one| process::cpu(world.process(one))).sum::<Duration>();
        let before = cpu(world);
        let (asked, what) = world.revoke(turn % edges.len()).await;
        let mut times: Vec<Duration> = fleet.told(&what).await.into_iter().map(|at| at - asked).collect();
        times.sort_unstable();
        fleet.hold(&edges).await;
        let cpu = (cpu(world) - before) / u32::try_from(fleet.size).expect("a number of Envoys");
        let at = |part: f64| times[((times.len() as f64 * part) as usize).min(times.len() - 1)];
        let heard = Heard { p50: at(0.5), p99: at(0.99), last: at(1.0), cpu };
        println!("{}, {} Envoys: {heard:?}", world.name, fleet.size);
        all.push(heard);
    }
    all
}

/// Kills the control plane and starts it again.
async fn cut_off(world: &mut World, fleet: &mut Fleet, start: Duration) -> Returned {
    sleep(SETTLE).await;
    let _ = fleet.took_place();
    let killed = Instant::now();
    world.kill(0).await;
    world.run(0).await;
    let answers = Instant::now();
    let all = fleet.hold(&world.edges()).await;
    let used = process::cpu(world.process(0)).saturating_sub(start);
    let cpu = used / u32::try_from(fleet.size).expect("a number of Envoys");
    let (faults, _) = fleet.took_place();
    let returned = Returned { away: answers - killed, back: all - answers, cpu, faults };
    println!("cut off: {returned:?}");
    returned
}

//! A rolling restart of two control planes on one store, and how many connections a real Envoy makes. It must not know
//! how figures are shown.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};
use tollgate_benches::process;
use tollgate_tests::{
    control_plane::Kind,
    stack::{Options, Stack},
};

use crate::{
    Args,
    fleet::Fleet,
    measure::{Heard, revocations},
    wire::Fault,
    world::World,
};

/// Between two steps of the restart.
const STEP: Duration = Duration::from_secs(1);
/// How long the connections of a real Envoy are looked at.
const LOOK: Duration = Duration::from_secs(3);
/// Its workers.
pub(crate) const WORKERS: u16 = 4;

/// What happened.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// Before the restart.
    pub(crate) heard: Vec<Heard>,
    /// Pauses between two polls of an Envoy meanwhile, in order.
    pub(crate) usual_gaps: Vec<Duration>,
    /// From the call on until the last one had heard of a revocation that was made while one was away.
    pub(crate) meanwhile: Vec<Duration>,
    /// From the signal until the process had ended.
    pub(crate) stops: Vec<Duration>,
    /// Times without a held poll during the restart, in order.
    pub(crate) gaps: Vec<Duration>,
    pub(crate) faults: BTreeMap<Fault, usize>,
}

/// Restarts one after the other, with all Envoys.
pub(crate) async fn run(world: &mut World, args: &Args) -> Figures {
    let edges = world.edges();
    let mut fleet = Fleet::start(args.envoys, &edges);
    fleet.hold(&edges).await;
    let heard = revocations(world, &mut fleet, args.turns).await;
    let mut usual_gaps = fleet.took_place().1;
    usual_gaps.sort_unstable();
    let (mut meanwhile, mut stops) = (Vec::new(), Vec::new());
    for (ends, stays) in [(0, 1), (1, 0)] {
        let asked = Instant::now();
        world.terminate(ends).await;
        stops.push(asked.elapsed());
        let (asked, what) = world.revoke(stays).await;
        let last = fleet.told(&what).await.into_iter().map(|at| at - asked).max().expect("Envoys");
        println!("{} is away: the last Envoy has heard of a revocation after {last:?}", edges[ends]);
        meanwhile.push(last);
        world.run(ends).await;
        fleet.hold(&edges).await;
        sleep(STEP).await;
    }
    // A poll is known to have been held when it is answered.
    let (_, what) = world.revoke(0).await;
    fleet.told(&what).await;
    let (faults, mut gaps) = fleet.took_place();
    gaps.sort_unstable();
    Figures { heard, usual_gaps, meanwhile, stops, gaps, faults }
}

/// Most connections that one real Envoy with several workers has to its control plane, while nobody asks it anything.
pub(crate) async fn connections_of_an_envoy() -> usize {
    let stack = Stack::start(Options { workers: WORKERS, control_plane: Kind::Program, ..Options::default() }).await;
    // What its start has asked is over.
    sleep(LOOK).await;
    let until = Instant::now() + LOOK;
    let mut most = 0;
    while Instant::now() < until {
        most = most.max(process::connections(stack.config.edge_listen));
        sleep(Duration::from_millis(50)).await;
    }
    most
}

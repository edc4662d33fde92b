//! Added CPU beside Envoy's own filters, in turns. It must not know what a case is about.

use std::time::Duration;

use tollgate_benches::budget::Budget;

use crate::{
    Args,
    calls::{Recorded, record},
    cases::{CASES, Case, KNOWN_KEY, KNOWN_TOKEN, OUTCOMES, Outcome},
    chain::Chain,
    floor,
    load::{self, Turn},
    report::{Costs, costs},
    world::World,
};

/// Looks at the host calls of each outcome. From them follow the modules of the floors, and how many headers others set.
pub(crate) async fn floors(world: &mut World) -> Vec<Recorded> {
    let mut all = Vec::new();
    let spki = world.spki();
    for (number, outcome) in OUTCOMES.iter().enumerate() {
        let recorded = record(world, *outcome).await;
        println!("host calls: {}: {}", outcome.name, recorded.calls.len());
        let module = floor::module(&recorded, &world.requests[&outcome.sent][outcome.number], &spki);
        let file = world.folder.path().join(format!("floor{number}.wasm"));
        std::fs::write(&file, module).expect("a module");
        world.parts.floors.insert(*outcome, file);
        let headers = recorded.of("replace_header_map_value").count();
        match *outcome {
            KNOWN_TOKEN => world.parts.token_headers = headers,
            KNOWN_KEY => world.parts.key_headers = headers,
            _ => {}
        }
        all.push(recorded);
    }
    world.end_edges();
    all
}

/// Compares all cases. Returns the table.
pub(crate) async fn run(world: &mut World, args: &Args, budget: &Budget) -> String {
    let mut all: Vec<(&Case, _)> = Vec::new();
    for case in CASES.iter().filter(|case| args.wants(case.name)) {
        let chains = [case.ours, case.beside, Chain::Floor(case.outcome), Chain::Bare];
        for chain in chains {
            warm_up(world, chain, case.outcome).await;
        }
        let mut turns = Vec::new();
        for turn in 1..=args.turns {
            let mut cpu = [f64::NAN; 4];
            for (cpu, chain) in cpu.iter_mut().zip(chains) {
                *cpu = once(world, chain, case.outcome, args.length()).await.cpu;
            }
            let [ours, beside, floor, bare] = cpu;
            println!(
                "turn {turn}: {}: {ours:.2} µs, beside {beside:.2} µs, floor {floor:.2} µs, without {bare:.2} µs",
                case.name
            );
            turns.push(Costs { ours, beside, floor, bare });
        }
        all.push((case, turns));
    }
    costs(budget, args.seconds, &all)
}

/// One turn of one chain.
pub(crate) async fn once(world: &World, chain: Chain, outcome: Outcome, length: Duration) -> Turn {
    let edge = world.edge(chain);
    load::run(edge.addr, edge.pid(), &world.requests[&outcome.sent], status(chain, outcome), length).await
}

/// What a chain answers: without a filter, nobody refuses.
pub(crate) fn status(chain: Chain, outcome: Outcome) -> u16 {
    if chain == Chain::Bare { 200 } else { outcome.status }
}

/// How long each look takes at whether an Envoy still becomes quicker.
const LOOK: Duration = Duration::from_secs(1);
/// So many of them at most.
const LOOKS: usize = 12;
/// What is not cheaper than this part of the look before has settled.
const SETTLED: f64 = 0.97;

/// Starts the Envoy of a chain and sends everything at least once, so that who is known is known; then goes on until the
/// requests cost the same: V8 compiles what runs often once more, in threads of Envoy, for some seconds after its start.
pub(crate) async fn warm_up(world: &mut World, chain: Chain, outcome: Outcome) {
    let request = world.requests[&outcome.sent][0].clone();
    world.start(chain, &request, status(chain, outcome)).await;
    let wanted = world.requests[&outcome.sent].len() as u64 * 5 / 4;
    let mut answers = 0;
    while answers < wanted {
        answers += once(world, chain, outcome, Duration::from_millis(200)).await.answers;
    }
    let mut before = f64::INFINITY;
    for _ in 0..LOOKS {
        let now = once(world, chain, outcome, LOOK).await.cpu;
        if now > before * SETTLED {
            break;
        }
        before = now;
    }
}

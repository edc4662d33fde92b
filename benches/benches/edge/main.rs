//! What Tollgate costs in Envoy, beside what an operator would use instead: the same Envoy, listener, route and answer,
//! Envoy's own CPU for each request less what the same Envoy spends without a filter, in one run and in turns.

mod authz;
mod cases;
mod chain;
mod load;
mod report;
mod world;

use std::time::Duration;

use cases::CASES;
use chain::Chain;
use load::Turn;
use report::Report;
use world::{World, others, pin};

/// What the command line may change.
#[derive(Debug, Clone)]
struct Args {
    seconds: u64,
    turns: usize,
    only: Option<String>,
}

const HELP: &str = "usage: cargo bench -p tollgate-benches --bench edge -- [options]

  --seconds N   seconds of each chain in each turn (default 2)
  --turns N     turns of ours, theirs, none (default 7)
  --only TEXT   cases whose name has this text

Needs TOLLGATE_E2E_ENVOY (Envoy) and dist/tollgate.wasm; `make bench` sees to both.";

fn args() -> Args {
    let mut args = Args { seconds: 2, turns: 7, only: None };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next();
        let number =
            |text: Option<String>| text.and_then(|text| text.parse::<usize>().ok()).filter(|number| *number > 0);
        let taken = match name.as_str() {
            // Cargo adds it.
            "--bench" => continue,
            "--seconds" => number(value()).map(|number| args.seconds = number as u64),
            "--turns" => number(value()).map(|number| args.turns = number),
            "--only" => value().map(|text| args.only = Some(text)),
            _ => None,
        };
        if taken.is_none() {
            println!("{HELP}");
            std::process::exit(if name == "--help" { 0 } else { 2 });
        }
    }
    args
}

fn main() {
    let args = args();
    // Before there are other threads: they inherit it.
    pin(others());
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(&args));
}

async fn run(args: &Args) {
    let mut world = World::new().await;
    let mut report = Report::new(args.clone());
    let is_wanted = |name: &str| args.only.as_ref().is_none_or(|text| name.contains(text.as_str()));
    for case in CASES.iter().filter(|case| is_wanted(case.name)) {
        let chains = [case.ours, case.beside, Chain::Bare];
        for chain in chains {
            world.start(chain).await;
            warm_up(&world, chain, case).await;
        }
        for turn in 1..=args.turns {
            let mut figures = [Turn { answers: 0, cpu: f64::NAN }; 3];
            for (figure, chain) in figures.iter_mut().zip(chains) {
                *figure = once(&world, chain, case, Duration::from_secs(args.seconds)).await;
            }
            let [ours, beside, bare] = figures.map(|figure| figure.cpu);
            println!("turn {turn}: {}: {ours:.2} µs, beside {beside:.2} µs, without {bare:.2} µs", case.name);
            report.add(case, ours, beside, bare);
        }
        // What is not needed any more must not run beside the others.
        world.edges.clear();
    }
    let text = report.text();
    println!("\n{text}");
    if args.only.is_none() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../BENCHMARKS.md");
        if let Err(fault) = report::write(file, &text) {
            eprintln!("BENCHMARKS.md is not written: {fault}");
            std::process::exit(1);
        }
    }
}

async fn once(world: &World, chain: Chain, case: &cases::Case, length: Duration) -> Turn {
    let (edge, requests) = (&world.edges[&chain], &world.requests[&case.sent]);
    let status = if chain == Chain::Bare { 200 } else { case.sent.status() };
    load::run(edge.addr, edge.pid(), requests, status, length).await
}

/// Sends everything at least once, so that who is known is known.
async fn warm_up(world: &World, chain: Chain, case: &cases::Case) {
    let wanted = world.requests[&case.sent].len() as u64 * 5 / 4;
    let mut answers = 0;
    while answers < wanted {
        answers += once(world, chain, case, Duration::from_secs(1)).await.answers;
    }
}

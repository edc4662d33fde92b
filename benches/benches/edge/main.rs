//! What Tollgate costs in Envoy, beside what an operator would use instead: the same Envoy, listener, route and answer,
//! in one run and in turns. Added CPU, added latency, how both grow, memory, and calls to the host.

mod authz;
mod calls;
mod cases;
mod chain;
mod compare;
mod floor;
mod growth;
mod host_calls;
mod latency;
mod load;
mod memory;
mod open_loop;
mod people;
mod report;
mod stages;
mod world;

use std::time::Duration;

use tollgate_benches::budget::Budget;
use world::{World, others, pin};

/// The least priority that a thread can have.
const LEAST: i32 = 19;
/// What is measured, each with tables of its own.
const PARTS: &[&str] = &["edge", "edge latency", "host calls", "edge growth", "edge memory", "stages"];

/// What the command line may change.
#[derive(Debug, Clone)]
struct Args {
    seconds: f64,
    turns: usize,
    latency_seconds: f64,
    growth_turns: usize,
    requests: u64,
    only: Option<String>,
    parts: Vec<String>,
}

impl Args {
    fn length(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|text| name.contains(text.as_str()))
    }
}

const HELP: &str = "usage: cargo bench -p tollgate-benches --bench edge -- [options]

  --seconds N          seconds of each chain in each turn (default 0.5)
  --turns N            turns of ours, theirs, floor, none (default 5)
  --latency-seconds N  the same where latency is measured (default 2)
  --growth-turns N     turns of ours, floor, none at each point of a curve (default 2)
  --requests N         requests after which memory is looked at (default 500000; takes some minutes for each million)
  --part NAME          only this part (may be given more than once): \"edge\" (added CPU), \"edge latency\",
                       \"host calls\", \"edge growth\", \"edge memory\", \"stages\" (from the last run of that benchmark)
  --only TEXT          only cases and curves whose name has this text; nothing is written

Needs TOLLGATE_E2E_ENVOY (Envoy) and dist/tollgate.wasm; `make bench` sees to both.";

fn args() -> Args {
    let mut args = Args {
        seconds: 0.5,
        turns: 5,
        latency_seconds: 2.0,
        growth_turns: 2,
        requests: 500_000,
        only: None,
        parts: Vec::new(),
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next();
        fn number<N: std::str::FromStr + PartialOrd + Default>(text: Option<String>) -> Option<N> {
            text.and_then(|text| text.parse().ok()).filter(|number| *number > N::default())
        }
        let taken = match name.as_str() {
            // Cargo adds it.
            "--bench" => continue,
            "--seconds" => number(value()).map(|number| args.seconds = number),
            "--turns" => number(value()).map(|number| args.turns = number),
            "--latency-seconds" => number(value()).map(|number| args.latency_seconds = number),
            "--growth-turns" => number(value()).map(|number| args.growth_turns = number),
            "--requests" => number(value()).map(|number| args.requests = number),
            "--part" => value().filter(|part| PARTS.contains(&part.as_str())).map(|part| args.parts.push(part)),
            "--only" => value().map(|text| args.only = Some(text)),
            _ => None,
        };
        if taken.is_none() {
            println!("{HELP}");
            std::process::exit(if name == "--help" { 0 } else { 2 });
        }
    }
    if args.parts.is_empty() {
        args.parts = PARTS.iter().map(|&part| part.to_owned()).collect();
    }
    args
}

fn main() {
    let args = args();
    // Before there are other threads: they inherit it.
    pin(others());
    // What answers Envoy's questions runs on the core of the load, and must not keep it from sending in time: on an operator's
    // machines they are not together. This thread, which sends, stays as it is.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().on_thread_start(|| {
        let _ = rustix::process::nice(LEAST);
    });
    runtime.build().expect("a runtime").block_on(run(&args));
}

async fn run(args: &Args) {
    let began = std::time::Instant::now();
    let budget = Budget::read();
    let mut world = World::new().await;
    let recorded = compare::floors(&mut world).await;
    for part in &args.parts {
        let text = match part.as_str() {
            "edge" => compare::run(&mut world, args, &budget).await,
            "edge latency" => latency::run(&mut world, args, &budget).await,
            "host calls" => host_calls::table(&budget, &recorded),
            "edge growth" => growth::run(&mut world, args, &budget).await,
            "stages" => stages::table(&budget),
            "edge memory" => memory::run(&mut world, args, &budget).await,
            other => unreachable!("{other} is no part"),
        };
        println!("\n{text}");
        if args.only.is_none()
            && let Err(fault) = tollgate_benches::write_part(part, &text)
        {
            eprintln!("BENCHMARKS.md is not written: {fault}");
            std::process::exit(1);
        }
        println!("{part}: done after {} s", began.elapsed().as_secs());
    }
}

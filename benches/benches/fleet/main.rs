//! Thousands of Envoys on one control plane, simulated on loopback: what holding their long polls costs, how soon a
//! revocation is at all of them, what happens when all are cut off at once, and a rolling restart of two control planes.
//! The control planes are the program, on SQLite and on a real MongoDB; the Envoys are connections of this process, on the
//! same cores. Prints tables and writes them into BENCHMARKS.md.

mod capacity;
mod envoy;
mod fleet;
mod measure;
mod report;
mod rolling;
mod wire;
mod world;

use world::World;

/// What the command line may change.
#[derive(Debug, Clone, Copy)]
struct Args {
    /// Envoys.
    envoys: usize,
    /// Turns of revocations, and of being cut off.
    turns: usize,
    /// Seconds in which nothing happens.
    seconds: u64,
}

const HELP: &str = "usage: cargo bench -p tollgate-benches --bench fleet -- [options]

  --envoys N     Envoys that hold a long poll (default 5000)
  --turns N      turns of revocations, and of being cut off (default 5)
  --seconds N    seconds in which nothing happens (default 25: each poll is renewed once)

Needs TOLLGATE_BIN (an optimized `tollgate`), MONGOD_BIN, TOLLGATE_E2E_ENVOY and TOLLGATE_WASM; `make bench` sets them.
Each Envoy takes two open files of this machine, so `ulimit -n` must be above N here and in the control plane.";

fn args() -> Args {
    let mut args = Args { envoys: 5_000, turns: 5, seconds: tollgate_protocol::edge::SYNC_HOLD_SECONDS };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut number = || given.next().and_then(|text| text.parse::<usize>().ok()).filter(|number| *number > 0);
        let value = match name.as_str() {
            // Cargo adds it.
            "--bench" => continue,
            "--envoys" => number().map(|number| args.envoys = number),
            "--turns" => number().map(|number| args.turns = number),
            "--seconds" => number().map(|number| args.seconds = number as u64),
            _ => None,
        };
        if value.is_none() {
            println!("{HELP}");
            std::process::exit(if name == "--help" { 0 } else { 2 });
        }
    }
    args
}

#[tokio::main]
async fn main() {
    let args = args();
    // This process holds as many connections as the control plane.
    tollgate::descriptors::raise();
    let connections = rolling::connections_of_an_envoy().await;
    println!("a real Envoy with {} workers has {connections} connections", rolling::WORKERS);
    let one = measure::run(&mut World::sqlite().await, &args).await;
    let two = rolling::run(&mut World::mongodb().await, &args).await;
    let text = report::text(&args, connections, &one, &two);
    println!("\n{text}");
    if let Err(fault) = tollgate_benches::write_part("fleet", &text) {
        eprintln!("BENCHMARKS.md is not written: {fault}");
        std::process::exit(1);
    }
}

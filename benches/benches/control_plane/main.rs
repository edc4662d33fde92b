//! The control plane under load: `resolve`, `usage`, `leases` and the fan-out of `sync`, on SQLite and on a real MongoDB, in
//! one run and in turns. The program runs on its own and is asked over HTTP as an Envoy asks it; this process, the
//! program and mongod share the machine's cores. Prints a table and writes it into BENCHMARKS.md.

mod cases;
mod measure;
mod report;
mod world;

use cases::{CASES, Case};
use measure::{Figures, run};
use report::Report;
use world::World;

/// What the command line may change.
#[derive(Debug, Clone, Copy)]
struct Args {
    /// Users with a key each that are there before anything is measured.
    users: usize,
    /// Seconds of each case in each turn.
    seconds: u64,
    /// Turns.
    turns: usize,
    /// Long polls that are held for the fan-out.
    polls: usize,
}

const HELP: &str = "usage: cargo bench -p tollgate-benches --bench control_plane -- [options]

  --users N      users with a key each that are there before (default 2000)
  --seconds N    seconds of each case in each turn (default 2)
  --turns N      turns of SQLite, MongoDB (default 3)
  --polls N      long polls that are held for the fan-out of sync (default 1000)

Needs TOLLGATE_BIN (an optimized `tollgate`) and MONGOD_BIN; `make bench` sets both.";

fn args() -> Args {
    let mut args = Args { users: 2_000, seconds: 2, turns: 3, polls: 1_000 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut number = || given.next().and_then(|text| text.parse::<usize>().ok()).filter(|number| *number > 0);
        let value = match name.as_str() {
            // Cargo adds it.
            "--bench" => continue,
            "--users" => number().map(|number| args.users = number),
            "--seconds" => number().map(|number| args.seconds = number as u64),
            "--turns" => number().map(|number| args.turns = number),
            "--polls" => number().map(|number| args.polls = number),
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
    let mut report = Report::new(args);
    println!("loading {} users into each store", args.users);
    let worlds = [World::sqlite(args.users).await, World::mongodb(args.users).await];
    for turn in 1..=args.turns {
        for case in CASES {
            for world in &worlds {
                let figures = run(world, *case, args).await;
                println!("turn {turn}: {:<8} {:<28} {figures}", world.name, case.name());
                report.add(world.name, *case, figures);
            }
        }
    }
    let text = report.text();
    println!("\n{text}");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../BENCHMARKS.md");
    if let Err(fault) = report::write(file, &text) {
        eprintln!("BENCHMARKS.md is not written: {fault}");
        std::process::exit(1);
    }
}

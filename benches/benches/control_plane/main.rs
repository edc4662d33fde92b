//! The control plane under load: `resolve`, keys that are issued, `usage`, `leases` and the fan-out of `sync`, on SQLite
//! and on a real MongoDB, in one run and in turns; and how what it costs grows with its users and keys. The program runs
//! on its own and is asked over HTTP as an Envoy asks it; this process, the program and mongod share the machine's cores.
//! Prints tables and writes them into BENCHMARKS.md.

mod cases;
mod fill;
mod growth;
mod measure;
mod people;
mod report;
mod world;

use std::time::{Duration, Instant};

use cases::{CASES, Case};
use growth::Growth;
use measure::{Figures, run};
use report::Report;
use tollgate_benches::budget::Budget;
use world::World;

/// What the command line may change.
#[derive(Debug, Clone, Copy)]
struct Args {
    /// Users with a key each, at the end.
    users: u64,
    /// Milliseconds of each case in each turn.
    millis: u64,
    /// Turns.
    turns: usize,
    /// Long polls that are held for the fan-out.
    polls: usize,
}

impl Args {
    /// How long each case is asked in each turn.
    fn length(self) -> Duration {
        Duration::from_millis(self.millis)
    }
}

const HELP: &str = "usage: cargo bench -p tollgate-benches --bench control_plane -- [options]

  --users N      users with a key each, at the end; growth is measured on the way there (default 1000000)
  --millis N     milliseconds of each case in each turn (default 1000)
  --turns N      turns of SQLite, MongoDB (default 3)
  --polls N      long polls that are held for the fan-out of sync (default 1000)

Needs TOLLGATE_BIN (an optimized `tollgate`) and MONGOD_BIN; `make bench` sets both.";

fn args() -> Args {
    let mut args = Args { users: 1_000_000, millis: 1_000, turns: 3, polls: 1_000 };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut number = || given.next().and_then(|text| text.parse::<usize>().ok()).filter(|number| *number > 0);
        let value = match name.as_str() {
            // Cargo adds it.
            "--bench" => continue,
            "--users" => number().map(|number| args.users = number as u64),
            "--millis" => number().map(|number| args.millis = number as u64),
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
    let began = Instant::now();
    let mut worlds = [World::sqlite().await, World::mongodb().await];
    let growth = Growth::measure(&mut worlds, args).await;
    let mut report = Report::new(args);
    for turn in 1..=args.turns {
        for case in CASES {
            for world in &worlds {
                let figures = run(world, *case, args).await;
                println!("turn {turn}: {:<8} {:<28} {figures}", world.name, case.name());
                report.add(world.name, *case, figures);
            }
        }
    }
    let text = format!("{}\n{}", report.text(), growth.text(&Budget::read()));
    println!("\n{text}\nin {:.0} s", began.elapsed().as_secs_f64());
    if let Err(fault) = growth.plot().and_then(|()| tollgate_benches::write_part("control plane", &text)) {
        eprintln!("BENCHMARKS.md and its plots are not written: {fault}");
        std::process::exit(1);
    }
}

//! Latency at a rate that all can bear, beside Envoy's own filters, in turns. It must not know what a case is about.

use std::{fmt::Write as _, time::Duration};

use tollgate_benches::{budget::Budget, spread::Spread};

use crate::{
    Args,
    cases::{Case, PAIRS},
    chain::Chain,
    compare::{once, status, warm_up},
    open_loop::{self, Latencies},
    world::World,
};

/// The shares of requests whose latency is told.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
/// How long each rate is tried while the capacity of a chain is looked for.
const SEARCH: Duration = Duration::from_millis(500);
/// What is tried: parts of what it does when it is never idle. Requests that come one by one cost more than those that have
/// waited for each other, since each wakes Envoy up.
const PARTS: [f64; 9] = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2];
/// A chain bears a rate at which half of all requests are answered within this time, in µs.
const BORNE: f64 = 1_000.0;

/// One turn: Tollgate, the other, none.
type Turn = [Latencies; 3];

/// Compares all pairs. Returns the table.
pub(crate) async fn run(world: &mut World, args: &Args, budget: &Budget) -> String {
    let mut text = format!(
        "{}\n\nLatency of whole requests at a fixed rate: half of what the slower of the two chains bears at most (which is \
         measured first: the highest rate at which half of all requests are answered within {} ms). The rate does not wait \
         for answers, and each latency counts from the moment at which the request was to be sent. {} turns of {} s each: \
         Tollgate, the other, none. Medians; of the ratio the lowest and highest, too. Added is what is above no filter.\n\n\
         | case | beside | rate /s | | Tollgate µs (added) | the other µs (added) | no filter µs | ratio of whole requests \
         (lowest–highest) | target | |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        tollgate_benches::machine(),
        BORNE / 1e3,
        args.turns,
        args.latency_seconds,
    );
    for case in PAIRS.iter().filter(|case| args.wants(case.name)) {
        let chains = [case.ours, case.beside, Chain::Bare];
        for chain in chains {
            warm_up(world, chain, case.outcome).await;
        }
        let mut slower = f64::INFINITY;
        for chain in [case.ours, case.beside] {
            let capacity = capacity(world, chain, case).await;
            println!("latency: {}: {} bears {capacity:.0} requests a second", case.name, chain.name());
            slower = slower.min(capacity);
        }
        let rate = slower / 2.0;
        let mut turns: Vec<Turn> = Vec::new();
        for number in 1..=args.turns {
            let turn = chains.map(|chain| {
                let requests = &world.requests[&case.outcome.sent];
                let length = Duration::from_secs_f64(args.latency_seconds);
                // It keeps this thread waiting; what answers Envoy's questions meanwhile runs on another.
                open_loop::run(world.edge(chain).addr, requests, status(chain, case.outcome), rate, length)
            });
            let p99 = turn.each_ref().map(|latencies| latencies.quantile(0.99));
            println!(
                "turn {number}: latency: {}: p99 {:.0} µs, beside {:.0}, without {:.0}",
                case.name, p99[0], p99[1], p99[2]
            );
            turns.push(turn);
        }
        rows(&mut text, budget, case, rate, &turns);
    }
    text
}

/// How many requests a second a chain bears that do not wait for each other.
async fn capacity(world: &World, chain: Chain, case: &Case) -> f64 {
    let turn = once(world, chain, case.outcome, SEARCH).await;
    let most = turn.answers as f64 / turn.took.as_secs_f64();
    let (addr, requests) = (world.edge(chain).addr, &world.requests[&case.outcome.sent]);
    let borne =
        |rate: &f64| open_loop::run(addr, requests, status(chain, case.outcome), *rate, SEARCH).quantile(0.5) < BORNE;
    PARTS.map(|part| part * most).into_iter().find(borne).expect("it bears a fifth of what it does at most")
}

fn rows(text: &mut String, budget: &Budget, case: &Case, rate: f64, turns: &[Turn]) {
    for (name, share) in QUANTILES {
        let of = |which: usize| Spread::of(turns.iter().map(|turn| turn[which].quantile(share))).median();
        let added = |which: usize| {
            let above = |turn: &Turn| turn[which].quantile(share) - turn[2].quantile(share);
            Spread::of(turns.iter().map(above)).median()
        };
        let ratio = Spread::of(turns.iter().map(|turn| turn[0].quantile(share) / turn[1].quantile(share)));
        let _ = writeln!(
            text,
            "| {} | {} | {rate:.0} | {name} | {:.0} ({:.0}) | {:.0} ({:.0}) | {:.0} | {} | {} |",
            case.name,
            case.beside.name(),
            of(0),
            added(0),
            of(1),
            added(1),
            of(2),
            ratio.text(),
            budget.verdict(&format!("latency {name}: {}", case.name), ratio.median()),
        );
    }
}

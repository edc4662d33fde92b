//! What a request costs in Envoy when something grows: rules, headers, tokens, the share of tokens that are not remembered,
//! or how many people come in turn. It must not know how a figure is measured.

use std::{fmt::Write as _, time::Duration};

use tollgate_benches::{budget::Budget, plot::Plot, spread::Spread};
use tollgate_tests::http::{self, Request};

use crate::{
    Args,
    cases::{KNOWN_KEY, KNOWN_TOKEN, Outcome, Sent},
    chain::{Chain, FEW},
    compare, load,
    people::{api, token},
    world::{POLICY, World},
};

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grows {
    /// Routes in the policy.
    Routes,
    /// Distinct request headers beside those of every request.
    Headers,
    /// Bytes of a token.
    TokenBytes,
    /// Percent of requests whose token is remembered.
    Known,
    /// API keys that are used in turn.
    Keys,
}

/// What is compared with the budget.
#[derive(Debug, Clone, Copy)]
enum Judged {
    /// The last point, divided by the first.
    LastByFirst,
    /// The point in the middle, divided by what lies on the straight line between the ends.
    MiddleByLine,
}

/// A curve.
#[derive(Debug)]
struct Series {
    name: &'static str,
    file: &'static str,
    x: &'static str,
    grows: Grows,
    points: &'static [f64],
    is_logarithmic: bool,
    judged: Judged,
    outcome: Outcome,
}

const SERIES: &[Series] = &[
    Series {
        name: "routes",
        file: "routes.svg",
        x: "routes in the policy (known API key)",
        grows: Grows::Routes,
        // The control plane takes no policy with more.
        points: &[10.0, 100.0, 1_000.0, 10_000.0],
        is_logarithmic: true,
        judged: Judged::LastByFirst,
        outcome: KNOWN_KEY,
    },
    Series {
        name: "request headers",
        file: "headers.svg",
        x: "further request headers of 40 bytes (known API key)",
        grows: Grows::Headers,
        points: &[1.0, 8.0, 16.0, 32.0, 64.0],
        is_logarithmic: false,
        judged: Judged::LastByFirst,
        outcome: KNOWN_KEY,
    },
    Series {
        name: "token bytes",
        file: "token_bytes.svg",
        x: "bytes of a known JWT",
        grows: Grows::TokenBytes,
        points: &[512.0, 1_024.0, 2_048.0, 4_096.0, 8_000.0],
        is_logarithmic: false,
        judged: Judged::LastByFirst,
        outcome: KNOWN_TOKEN,
    },
    Series {
        name: "known tokens",
        file: "known_tokens.svg",
        x: "percent of requests whose JWT is remembered",
        grows: Grows::Known,
        points: &[0.0, 25.0, 50.0, 75.0, 100.0],
        is_logarithmic: false,
        judged: Judged::MiddleByLine,
        outcome: KNOWN_TOKEN,
    },
    Series {
        name: "API keys in turn",
        file: "keys_in_turn.svg",
        x: "known API keys in turn",
        grows: Grows::Keys,
        points: &[1.0, 10.0, 100.0, 1_000.0, 10_000.0],
        is_logarithmic: true,
        judged: Judged::LastByFirst,
        outcome: KNOWN_KEY,
    },
];

/// Before a turn, so that who is known is known.
const WARM_UP: Duration = Duration::from_millis(250);
/// Different requests where their number does not matter.
const REQUESTS: usize = 200;
/// Tokens that come again so often that they stay remembered.
const OFTEN: usize = 10;

/// One turn of one point: added CPU in µs, and the share of tokens that were remembered where it was looked at.
#[derive(Debug, Clone, Copy)]
struct Cost {
    ours: f64,
    floor: f64,
    known: f64,
}

/// Measures all curves. Returns the tables; the plots are written beside them.
pub(crate) async fn run(world: &mut World, args: &Args, budget: &Budget) -> String {
    world.end_edges();
    let mut text = format!(
        "{}\n\nAdded CPU for each request in µs, as above: Tollgate, the floor (host calls only), none in turns, {} turns of \
         {} s at each point, all points in each turn. Medians.\n\n",
        tollgate_benches::machine(),
        args.growth_turns,
        args.seconds,
    );
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/plots");
    std::fs::create_dir_all(folder).expect("benches/plots");
    for series in SERIES.iter().filter(|series| args.wants(series.name)) {
        let costs = measure(world, args, series).await;
        let median = |point: usize, pick: fn(&Cost) -> f64| Spread::of(costs[point].iter().map(pick)).median();
        let curve =
            |pick: fn(&Cost) -> f64| (0..series.points.len()).map(|point| median(point, pick)).collect::<Vec<_>>();
        let (ours, floor) = (curve(|cost| cost.ours), curve(|cost| cost.floor));
        let (what, ratio) = judge(series, &ours);
        let _ = write!(text, "| {} |", series.x);
        series.points.iter().for_each(|point| _ = write!(text, " {point} |"));
        let _ = write!(text, " {what} | target | |\n| --- |{}", " --- |".repeat(series.points.len() + 3));
        let _ = write!(text, "\n| Tollgate |");
        ours.iter().for_each(|cost| _ = write!(text, " {cost:.1} |"));
        let _ = write!(
            text,
            " {ratio:.2} | {} |\n| floor of any wasm filter |",
            budget.verdict(&format!("growth: {}", series.name), ratio)
        );
        floor.iter().for_each(|cost| _ = write!(text, " {cost:.1} |"));
        let _ = writeln!(text, " {:.2} | | |", judge(series, &floor).1);
        if series.grows == Grows::Known {
            let _ = write!(text, "| remembered, as counted |");
            curve(|cost| cost.known).iter().for_each(|known| _ = write!(text, " {:.0} % |", known * 100.0));
            text.push_str(" | | |\n");
        }
        let _ = write!(text, "\n![Added CPU by {}](benches/plots/{})\n\n", series.name, series.file);
        let plot = Plot {
            title: format!("Added CPU for each request, by {}", series.name),
            x: series.x.to_owned(),
            y: "µs".to_owned(),
            points: series.points.to_vec(),
            is_logarithmic: series.is_logarithmic,
            curves: vec![("Tollgate".to_owned(), ours), ("floor of any wasm filter".to_owned(), floor)],
        };
        if args.only.is_none() {
            std::fs::write(format!("{folder}/{}", series.file), plot.svg()).expect("a plot");
        }
    }
    world.end_edges();
    text
}

fn judge(series: &Series, costs: &[f64]) -> (&'static str, f64) {
    let (first, last) = (costs[0], costs[costs.len() - 1]);
    match series.judged {
        Judged::LastByFirst => ("last ÷ first", last / first),
        Judged::MiddleByLine => {
            let (points, middle) = (series.points, costs.len() / 2);
            let share = (points[middle] - points[0]) / (points[points.len() - 1] - points[0]);
            ("middle ÷ straight line", costs[middle] / (first + share * (last - first)))
        }
    }
}

/// All turns of each point.
async fn measure(world: &mut World, args: &Args, series: &Series) -> Vec<Vec<Cost>> {
    let ours = if series.grows == Grows::Known { Chain::TollgateFew } else { Chain::Tollgate };
    let chains = [ours, Chain::Floor(series.outcome), Chain::Bare];
    let requests: Vec<Vec<Vec<u8>>> = series.points.iter().map(|&point| requests(world, series.grows, point)).collect();
    for chain in chains {
        compare::warm_up(world, chain, series.outcome).await;
    }
    let mut costs = vec![Vec::new(); series.points.len()];
    for turn in 1..=args.growth_turns {
        for (place, &point) in series.points.iter().enumerate() {
            if series.grows == Grows::Routes {
                world.use_policy(&policy(point as usize), world.edge(ours).addr).await;
            }
            let mut cpu = [f64::NAN; 3];
            let mut known = f64::NAN;
            for (cpu, chain) in cpu.iter_mut().zip(chains) {
                let edge = world.edge(chain);
                load::run(edge.addr, edge.pid(), &requests[place], 200, WARM_UP).await;
                let is_counted = series.grows == Grows::Known && chain == ours;
                let before = if is_counted { checks(world, chain).await } else { 0 };
                let measured = load::run(edge.addr, edge.pid(), &requests[place], 200, args.length()).await;
                if is_counted {
                    known = 1.0 - (checks(world, chain).await - before) as f64 / measured.answers as f64;
                }
                *cpu = measured.cpu;
            }
            let cost = Cost { ours: cpu[0] - cpu[2], floor: cpu[1] - cpu[2], known };
            println!("turn {turn}: {} {point}: {:.2} µs, floor {:.2} µs", series.name, cost.ours, cost.floor);
            costs[place].push(cost);
        }
    }
    if series.grows == Grows::Routes {
        world.use_policy(POLICY, world.edge(ours).addr).await;
    }
    costs
}

/// How many signatures an Envoy has checked so far. The filter tells it each 100 ms.
async fn checks(world: &World, chain: Chain) -> u64 {
    tokio::time::sleep(Duration::from_millis(250)).await;
    let request = Request::get("/stats?filter=tollgate_native_signature_checks_total");
    let answer = http::send(world.edge(chain).admin, &request).await.expect("stats");
    // Only the filter has it.
    answer.text().rsplit_once(": ").and_then(|(_, number)| number.trim().parse().ok()).unwrap_or(0)
}

/// The usual rules among others which are like them, so many in all. The last one tells that they are in force.
fn policy(routes: usize) -> String {
    let mut text = POLICY.to_owned();
    let usual = POLICY.matches("[[routes]]").count();
    for number in usual..routes - 1 {
        let _ =
            write!(text, "\n[[routes]]\npath = \"/service{}/items{number}/**\"\nroles = [\"user\"]\n", number % 100);
    }
    text
}

/// What is sent at a point.
fn requests(world: &World, grows: Grows, point: f64) -> Vec<Vec<u8>> {
    let stack = &world.stack;
    let some = |sent: Sent| world.requests[&sent].iter().take(REQUESTS).cloned().collect();
    match grows {
        Grows::Routes => some(Sent::Keys),
        Grows::Keys => world.requests[&Sent::Keys].iter().take(point as usize).cloned().collect(),
        Grows::Headers => world
            .parts
            .keys
            .iter()
            .take(REQUESTS)
            .map(|(key, _)| {
                let headers = (0..point as usize)
                    .fold(api(), |request, number| request.header(format!("x-further-{number:02}"), "a".repeat(40)));
                headers.api_key(key).bytes()
            })
            .collect(),
        Grows::TokenBytes => (0..REQUESTS)
            .map(|number| {
                // A claim's bytes become a third more in the token.
                let shortest = stack.sign(&token(stack, number, 0)).len();
                let filling = (point as usize).saturating_sub(shortest) * 3 / 4;
                api().bearer(&stack.sign(&token(stack, number, filling))).bytes()
            })
            .collect(),
        Grows::Known => {
            let all = &world.requests[&Sent::Tokens];
            assert!(all.len() / 4 > 2 * FEW, "tokens that come in turn are forgotten before they come again");
            // The first ones come again and again; the others in turn, each forgotten before it comes again.
            (0..all.len())
                .map(|number| {
                    let is_known = number % 4 < (point / 25.0) as usize;
                    all[if is_known { number % OFTEN } else { number }].clone()
                })
                .collect()
        }
    }
}

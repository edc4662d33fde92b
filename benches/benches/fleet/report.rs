//! Figures as tables, beside the targets of `budget.toml`, and BENCHMARKS.md. It must not know how they came about.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::{
    Args, capacity,
    measure::{self, Heard},
    rolling,
    wire::Fault,
};

/// The tables.
pub(crate) fn text(args: &Args, connections: usize, one: &measure::Figures, two: &rolling::Figures) -> String {
    let Args { envoys, turns, .. } = args;
    let mut text = format!(
        "{}\n\n{envoys} Envoys, each a connection over loopback that asks as the filter asks; {turns} turns; medians, and \
         the lowest and highest. The Envoys run on the same cores as the control planes, in one process, without TLS.\n\n",
        tollgate_benches::machine()
    );
    text.push_str(&holding(args, connections, one));
    text.push_str(&revocation(args, one, two));
    text.push_str(&returning(one));
    text.push_str(&restart(two));
    text.push_str(&more(args, one));
    text
}

struct Table {
    text: String,
    budget: BTreeMap<String, f64>,
}

impl Table {
    fn new(head: &str) -> Self {
        let columns = head.matches('|').count().saturating_sub(1);
        let text = format!("{head}\n|{}\n", " --- |".repeat(columns));
        let budget = toml::from_str(include_str!("../../budget.toml")).expect("benches/budget.toml");
        Self { text, budget }
    }

    fn row(&mut self, cells: std::fmt::Arguments<'_>) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.text, "| {cells} |");
    }

    /// The last two cells: the target, and whether a figure meets it.
    fn verdict(&self, name: &str, figure: f64) -> String {
        match self.budget.get(name) {
            Some(target) => format!("≤ {target} | {}", if figure <= *target { "met" } else { "missed" }),
            None => " | ".to_owned(),
        }
    }

    fn end(self) -> String {
        self.text + "\n"
    }
}

/// The median, the lowest and the highest, in milliseconds.
fn spread(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<f64> = times.map(millis).collect();
    times.sort_by(f64::total_cmp);
    let at = |place: usize| times.get(place).copied().unwrap_or(f64::NAN);
    format!("{:.1} ({:.1}–{:.1})", at(times.len() / 2), at(0), at(times.len().saturating_sub(1)))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn holding(args: &Args, connections: usize, one: &measure::Figures) -> String {
    let mut table = Table::new("| holding, on SQLite | all Envoys | compared with | target | |");
    let (envoys, workers) = (args.envoys as f64, rolling::WORKERS);
    let each = one.connections as f64 / envoys;
    let verdict = table.verdict("fleet: connections of an Envoy", connections as f64);
    table.row(format_args!("connections of one real Envoy | {connections} | {workers} workers | {verdict}"));
    table.row(format_args!("connections for each Envoy | {each:.3} | 1 | | "));
    let held = millis(one.held);
    table.row(format_args!("until all hold a poll, from nothing, ms | {held:.0} | | | "));
    let (idle, alone) = (one.idle * 100.0, one.idle_alone * 100.0);
    let verdict = table.verdict("fleet: idle CPU, % of a core", idle);
    table.row(format_args!(
        "idle CPU in {} s, % of a core | {idle:.2} | {alone:.2} without an Envoy | {verdict}",
        args.seconds
    ));
    table.row(format_args!(
        "the busiest second of it, % of a core | {:.1} | {idle:.2} in all of them | | ",
        one.busiest * 100.0
    ));
    let (kib, mib) = (capacity::bytes(one, args) / 1024.0, |bytes: u64| bytes as f64 / 1024.0 / 1024.0);
    table.row(format_args!(
        "memory for each connection, KiB | {kib:.1} | {:.0} MiB resident with all, {:.0} MiB with none | | ",
        mib(one.full),
        mib(one.empty)
    ));
    table.end()
}

fn revocation(args: &Args, one: &measure::Figures, two: &rolling::Figures) -> String {
    let head = "| a revocation, from the call on | half of them, ms | 99 of 100, ms | the last, ms | CPU for each, µs | target | |";
    let mut table = Table::new(head);
    let mut row = |name: String, heard: &[Heard], target: Option<&str>| {
        let of = |pick: fn(&Heard) -> Duration| spread(heard.iter().map(pick));
        let worst = heard.iter().map(|heard| millis(heard.last)).fold(0.0, f64::max);
        let verdict = target.map_or_else(|| " | ".to_owned(), |target| table.verdict(target, worst));
        let cpu = capacity::median(heard.iter().map(|heard| heard.cpu)) * 1e6;
        let (p50, p99, last) = (of(|heard| heard.p50), of(|heard| heard.p99), of(|heard| heard.last));
        table.row(format_args!("{name} | {p50} | {p99} | {last} | {cpu:.0} | {verdict}"));
    };
    let target = Some("fleet: a revocation at the last Envoy, ms");
    row("compared with: one Envoy, SQLite".to_owned(), &one.alone, None);
    row(format!("{} Envoys, SQLite", args.envoys), &one.all, target);
    row(format!("{} Envoys, two control planes on MongoDB", args.envoys), &two.heard, target);
    table.end()
        + "The CPU is that of the control planes, until each Envoy's next poll is held. The target is for the last Envoy in \
           the slowest turn.\n\n"
}

fn faults(faults: &BTreeMap<Fault, usize>) -> String {
    let one = |(fault, number): (&Fault, &usize)| format!("{number} × {fault}");
    let all: Vec<String> = faults.iter().map(one).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

fn returning(one: &measure::Figures) -> String {
    let mut table = Table::new("| all cut off at once (SIGKILL), SQLite | ms | compared with |");
    let (away, back) = (one.returned.iter().map(|one| one.away), one.returned.iter().map(|one| one.back));
    table.row(format_args!("until the control plane answers again | {} | ", spread(away)));
    let held = millis(one.held);
    table.row(format_args!("from then until all hold a poll again | {} | {held:.0}, from nothing", spread(back)));
    let last = one.returned.last().map(|one| faults(&one.faults)).unwrap_or_default();
    table.end() + &format!("Polls that failed on the way, in the last turn: {last}.\n\n")
}

fn restart(two: &rolling::Figures) -> String {
    let mut table = Table::new("| rolling restart of two control planes on MongoDB | ms | compared with | target | |");
    let part = |gaps: &[Duration], part: f64| {
        let place = ((gaps.len() as f64 * part) as usize).min(gaps.len().saturating_sub(1));
        gaps.get(place).copied().map_or(f64::NAN, millis)
    };
    for (name, at) in [("half of the times", 0.5), ("99 of 100", 0.99), ("the longest", 1.0)] {
        let (now, usual) = (part(&two.gaps, at), part(&two.usual_gaps, at));
        table.row(format_args!("an Envoy without a held poll, {name} | {now:.0} | {usual:.0}, without a restart | | "));
    }
    let worst = two.meanwhile.iter().copied().map(millis).fold(0.0, f64::max);
    let verdict = table.verdict("fleet: a revocation at the last Envoy, ms", worst);
    let usual = spread(two.heard.iter().map(|heard| heard.last));
    table.row(format_args!(
        "a revocation while one is away, until the last has heard | {worst:.0} | {usual}, without a restart | {verdict}"
    ));
    table
        .row(format_args!("from SIGTERM to the end of a control plane | {} | | | ", spread(two.stops.iter().copied())));
    table.end()
        + &format!(
            "Each poll goes to the next of the two, as Envoy's cluster does it without health checks; after a poll that \
             failed the filter waits 0.1 to 0.9 s. Polls that failed on the way: {}. No revocation was missed.\n\n",
            faults(&two.faults)
        )
}

fn more(args: &Args, one: &measure::Figures) -> String {
    let capacity = capacity::of(one, args);
    let wanted = capacity::WANTED;
    let mut table = Table::new("| what limits one control plane | one Envoy takes | there is | Envoys |");
    for capacity::Bound { name, of_one, there_is, envoys } in &capacity.bounds {
        let is_tightest = if *envoys <= capacity.envoys { " ← the limit" } else { "" };
        table.row(format_args!("{name} | {of_one} | {there_is} | {envoys:.0}{is_tightest}"));
    }
    let capacity::Capacity { envoys, replicas, .. } = capacity;
    let (each, left) = (wanted / replicas, wanted / (replicas - 1.0));
    let told = capacity::median(one.all.iter().map(|heard| heard.cpu));
    let idle = one.idle / args.envoys as f64;
    table.end()
        + &format!(
            "**{wanted:.0} Envoys.** The tightest bound lets one control plane hold {envoys:.0} on one core of this machine, so \
             {wanted:.0} need {:.0}, and one more so that one may be away: {replicas:.0}. Each then holds {each:.0} ({left:.0} \
             while one is away), in {:.0} MiB ({:.0}) for their connections, spends {:.1} % of a core while nothing happens, \
             and {:.0} ms of CPU ({:.0}) to tell all of its Envoys one change. What each of them spends grows with its own \
             Envoys alone: they share nothing but the store, which each of them reads once for a change. Not in this \
             calculation: TLS, `resolve` and reports of use, and the network.\n",
            replicas - 1.0,
            capacity::bytes(one, args) * each / 1024.0 / 1024.0,
            capacity::bytes(one, args) * left / 1024.0 / 1024.0,
            idle * each * 100.0,
            told * each * 1e3,
            told * left * 1e3,
        )
}

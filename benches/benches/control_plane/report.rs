//! Figures of all turns as a table, and BENCHMARKS.md. It must not know how they came about.

use std::{collections::BTreeMap, fmt::Write as _};

use tollgate_benches::spread::Spread;

use crate::{Args, Case, Figures};

/// Figures by case and store.
pub(crate) struct Report {
    args: Args,
    figures: BTreeMap<(Case, &'static str), Vec<Figures>>,
}

impl Report {
    /// Nothing yet.
    pub(crate) fn new(args: Args) -> Self {
        Self { args, figures: BTreeMap::new() }
    }

    /// Adds those of one turn.
    pub(crate) fn add(&mut self, store: &'static str, case: Case, figures: Figures) {
        self.figures.entry((case, store)).or_default().push(figures);
    }

    fn spread(&self, case: Case, store: &'static str, pick: fn(&Figures) -> f64) -> Spread {
        Spread::of(self.figures[&(case, store)].iter().map(pick))
    }

    /// The tables.
    pub(crate) fn text(&self) -> String {
        let Args { users, millis, turns, polls } = self.args;
        let mut text = format!(
            "{}\n\n{users} users with a key each in each store: one is made by the control plane, the others are \
             copies of what it wrote, and stand in no log of changes; 8 connections that ask again as soon as they are answered; \
             {turns} turns of {millis} ms, SQLite and MongoDB (a replica set of one mongod with 2 GB for its cache) by \
             turns; medians, and the lowest and highest rate. CPU is that of the control plane and of mongod together, for \
             each answer; the last column compares it with that of an answer of the same server which needs no store. The \
             client runs on the same cores.\n\n",
            tollgate_benches::machine()
        );
        text.push_str("| asked | store | answers/s (lowest–highest) | p50 ms | p99 ms | CPU µs | ÷ without store |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for &(case, store) in self.figures.keys().filter(|(case, _)| *case != Case::FanOut) {
            let median = |pick: fn(&Figures) -> f64| self.spread(case, store, pick).median();
            let rate = self.spread(case, store, |one| one.rate.unwrap_or(f64::NAN));
            let ((low, high), cpu) = (rate.ends(), median(|one| one.cpu));
            let _ = writeln!(
                text,
                "| {} | {store} | {:.0} ({low:.0}–{high:.0}) | {:.2} | {:.2} | {cpu:.0} | {:.1} |",
                case.name(),
                rate.median(),
                median(|one| one.p50),
                median(|one| one.p99),
                cpu / self.spread(Case::Health, store, |one| one.cpu).median(),
            );
        }
        let _ = writeln!(
            text,
            "\nA change, until it is heard by {polls} Envoys that wait for one (`sync`), from the moment at which it is asked \
             for:\n\n| store | half of them, ms | 99 of 100, ms |\n| --- | --- | --- |"
        );
        for &(case, store) in self.figures.keys().filter(|(case, _)| *case == Case::FanOut) {
            let median = |pick: fn(&Figures) -> f64| self.spread(case, store, pick).median();
            let _ = writeln!(text, "| {store} | {:.1} | {:.1} |", median(|one| one.p50), median(|one| one.p99));
        }
        text
    }
}

//! Figures of all turns as a table, and BENCHMARKS.md. It must not know how they came about.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{Args, Case, Figures};

const BEGIN: &str = "<!-- control plane: begin (written by `make bench`) -->";
const END: &str = "<!-- control plane: end -->";

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

    /// The tables.
    pub(crate) fn text(&self) -> String {
        let Args { users, seconds, turns, polls } = self.args;
        let mut text = format!(
            "{}\n\n{users} users with a key each; 8 connections that ask again as soon as they are answered; {turns} turns \
             of {seconds} s, SQLite and MongoDB (a replica set of one mongod) by turns; medians, and the lowest and \
             highest rate. CPU is that of the control plane and of mongod together, for each answer. The client runs on \
             the same cores.\n\n",
            tollgate_benches::machine()
        );
        text.push_str("| asked | store | answers/s (lowest–highest) | p50 ms | p99 ms | CPU µs |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for ((case, store), figures) in self.figures.iter().filter(|((case, _), _)| *case != Case::FanOut) {
            let of = |pick: fn(&Figures) -> f64| median(figures.iter().map(pick).collect());
            let rates: Vec<f64> = figures.iter().filter_map(|one| one.rate).collect();
            let (low, high) =
                (rates.iter().copied().fold(f64::MAX, f64::min), rates.iter().copied().fold(0.0, f64::max));
            let (rate, p50, p99, cpu) =
                (of(|one| one.rate.unwrap_or(f64::NAN)), of(|one| one.p50), of(|one| one.p99), of(|one| one.cpu));
            line(
                &mut text,
                format_args!(
                    "| {} | {store} | {rate:.0} ({low:.0}–{high:.0}) | {p50:.2} | {p99:.2} | {cpu:.0} |",
                    case.name()
                ),
            );
        }
        line(
            &mut text,
            format_args!(
                "\nA change, until it is heard by {polls} Envoys that wait for one (`sync`), from the moment at which it is \
             asked for:\n\n| store | half of them, ms | 99 of 100, ms |\n| --- | --- | --- |"
            ),
        );
        for ((_, store), figures) in self.figures.iter().filter(|((case, _), _)| *case == Case::FanOut) {
            let of = |pick: fn(&Figures) -> f64| median(figures.iter().map(pick).collect());
            line(&mut text, format_args!("| {store} | {:.1} | {:.1} |", of(|one| one.p50), of(|one| one.p99)));
        }
        text
    }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = text.write_fmt(what);
    text.push('\n');
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Puts the tables between the marks in a file; the rest of it stays.
pub(crate) fn write(file: &str, text: &str) -> std::io::Result<()> {
    tollgate_benches::put_between(file, BEGIN, END, text)
}

//! Figures of all turns as a table, beside the targets of `budget.toml`. It must not know how they came about.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{Args, cases::Case};

const BEGIN: &str = "<!-- edge: begin (written by `make bench`) -->";
const END: &str = "<!-- edge: end -->";

/// One turn of a case: CPU for each request in µs.
#[derive(Debug, Clone, Copy)]
struct Figures {
    ours: f64,
    beside: f64,
    bare: f64,
}

impl Figures {
    fn ratio(&self) -> f64 {
        (self.ours - self.bare) / (self.beside - self.bare)
    }
}

/// Figures by case.
pub(crate) struct Report {
    args: Args,
    budget: BTreeMap<String, f64>,
    cases: Vec<(&'static Case, Vec<Figures>)>,
}

impl Report {
    /// Nothing yet.
    pub(crate) fn new(args: Args) -> Self {
        let budget = toml::from_str(include_str!("../../budget.toml")).expect("benches/budget.toml");
        Self { args, budget, cases: Vec::new() }
    }

    /// Adds those of one turn.
    pub(crate) fn add(&mut self, case: &'static Case, ours: f64, beside: f64, bare: f64) {
        let figures = Figures { ours, beside, bare };
        match self.cases.iter_mut().find(|(known, _)| known.name == case.name) {
            Some((_, all)) => all.push(figures),
            None => self.cases.push((case, vec![figures])),
        }
    }

    /// The table.
    pub(crate) fn text(&self) -> String {
        let Args { seconds, turns, .. } = self.args;
        let mut text = format!(
            "{}\n\nAdded CPU: what one worker of Envoy spends for each request, in µs, less what the same Envoy spends without a \
             filter (in the same turn). {turns} turns of {seconds} s: Tollgate, the other, none. Medians; of the ratio the \
             lowest and highest, too. The answer is a direct response; the load runs on another core.\n\n\
             | case | beside | Tollgate µs | the other µs | ratio (lowest–highest) | target | |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n",
            tollgate_benches::machine()
        );
        for (case, figures) in &self.cases {
            let of = |pick: &dyn Fn(&Figures) -> f64| median(figures.iter().map(pick).collect());
            let (ours, beside) = (of(&|one| one.ours - one.bare), of(&|one| one.beside - one.bare));
            let ratios = || figures.iter().map(Figures::ratio);
            let (low, high) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(f64::NEG_INFINITY, f64::max));
            let ratio = median(ratios().collect());
            let target = self.budget.get(case.name).copied();
            let verdict = match target {
                Some(target) if ratio <= target => "met",
                Some(_) => "missed",
                None => "",
            };
            let target = target.map(|target| format!("≤ {target}")).unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {} | {ours:.1} | {beside:.1} | {ratio:.2} ({low:.2}–{high:.2}) | {target} | {verdict} |",
                case.name,
                case.beside.name(),
            );
        }
        text
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Puts the tables between the marks in a file; the rest of it stays.
pub(crate) fn write(file: &str, text: &str) -> std::io::Result<()> {
    tollgate_benches::put_between(file, BEGIN, END, text)
}

//! Figures of all turns as tables, beside the targets of `budget.toml`. It must not know how they came about.

use std::fmt::Write as _;

use tollgate_benches::{budget::Budget, spread::Spread};

use crate::cases::Case;

/// One turn of a case: CPU for each request in µs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Costs {
    pub(crate) ours: f64,
    pub(crate) beside: f64,
    pub(crate) floor: f64,
    pub(crate) bare: f64,
}

/// The table of CPU: cases with all their turns.
pub(crate) fn costs(budget: &Budget, seconds: f64, cases: &[(&Case, Vec<Costs>)]) -> String {
    let turns = cases.first().map_or(0, |(_, turns)| turns.len());
    let mut text = format!(
        "{}\n\nAdded CPU: what one worker of Envoy spends for each request, in µs, less what the same Envoy spends without a \
         filter (in the same turn). {turns} turns of {seconds} s each: Tollgate, the other, the floor, none. Medians; of the \
         ratio the lowest and highest, too. The answer is a direct response; the load runs on another core. The floor is \
         what the border between Envoy and any wasm filter costs: a module of a few lines that decides nothing, is called \
         by Envoy as often as the filter, and only makes the calls that the outcome needs (both in the table below).\n\n\
         | case | beside | Tollgate µs | the other µs | floor of any wasm filter µs | ratio (lowest–highest) | floor ÷ the \
         other | target | |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        tollgate_benches::machine()
    );
    for (case, turns) in cases {
        let added = |pick: &dyn Fn(&Costs) -> f64| Spread::of(turns.iter().map(|turn| pick(turn) - turn.bare)).median();
        let to_other = |pick: &dyn Fn(&Costs) -> f64| {
            Spread::of(turns.iter().map(|turn| (pick(turn) - turn.bare) / (turn.beside - turn.bare)))
        };
        let ratio = to_other(&|turn| turn.ours);
        let _ = writeln!(
            text,
            "| {} | {} | {:.1} | {:.1} | {:.1} | {} | {:.2} | {} |",
            case.name,
            case.beside.name(),
            added(&|turn| turn.ours),
            added(&|turn| turn.beside),
            added(&|turn| turn.floor),
            ratio.text(),
            to_other(&|turn| turn.floor).median(),
            budget.verdict(case.name, ratio.median()),
        );
    }
    text
}

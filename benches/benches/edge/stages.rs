//! The table of the stages, from what the benchmark `stages` has left of its last run: Criterion's files, and the lines that
//! were said inside wasm. It must not measure anything.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tollgate_benches::{
    budget::Budget,
    scenes::{IN_THE_VM, IN_THE_VM_AT_FIRST, KNOWN_TOKEN, STAGES_OF_KNOWN_TOKEN},
};

/// Middle, lowest and highest, in µs.
type Spread = [f64; 3];
/// By group and name: natively, and inside wasm.
type Figures = BTreeMap<(String, String), [Option<Spread>; 2]>;

/// Returns the table.
pub(crate) fn table(budget: &Budget) -> String {
    let mut text = format!(
        "{}\n\nWithout Envoy, on one core: natively (Criterion: the mean, and its confidence interval of 95 %), and inside \
         wasm under Node, whose engine is Envoy's (the median of 15 samples, the lowest and highest), built as the module is. \
         Calls to the host are left out: what they cost is the floor in the table of added CPU.\n\n\
         | | | native µs | | in wasm µs | | in wasm ÷ native |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        tollgate_benches::machine()
    );
    let folder = PathBuf::from(std::env::var_os("TOLLGATE_TARGET").unwrap_or_else(|| "target".into()));
    let mut figures = Figures::new();
    for group in ["stage", "request"] {
        for (name, spread) in natively(&folder.join("criterion").join(group)) {
            figures.entry((group.to_owned(), name)).or_default()[0] = Some(spread);
        }
    }
    let said = fs::read_to_string(folder.join("stages-in-wasm.txt")).unwrap_or_default();
    for (key, spread) in said.lines().filter_map(in_wasm) {
        figures.entry(key).or_default()[1] = Some(spread);
    }
    if figures.is_empty() {
        text.push_str("| the benchmark `stages` has not run yet | | | | | | |\n");
        return text;
    }
    let vm = |name| figures.get(&key("stage", name)).and_then(|spreads| Some(spreads[1]?[0]));
    let fall_back = vm(IN_THE_VM).zip(vm(IN_THE_VM_AT_FIRST)).map(|(now, at_first)| now / at_first);
    // Those that make up a request first, in their order, and what is left of it.
    let known: Vec<_> = STAGES_OF_KNOWN_TOKEN.iter().filter_map(|name| figures.remove(&key("stage", name))).collect();
    for (name, spreads) in STAGES_OF_KNOWN_TOKEN.iter().zip(&known) {
        row(&mut text, KNOWN_TOKEN, name, spreads);
    }
    if let Some(whole) = figures.remove(&key("request", KNOWN_TOKEN)) {
        let rest = [0, 1].map(|side| {
            let parts = known.iter().map(|spreads| Some(spreads[side]?[0])).sum::<Option<f64>>();
            Some([whole[side]?[0] - parts?, f64::NAN, f64::NAN])
        });
        row(&mut text, KNOWN_TOKEN, "identify: token and identity from memory (what is left of the whole)", &rest);
        row(&mut text, KNOWN_TOKEN, "the whole", &whole);
    }
    for ((group, name), spreads) in &figures {
        let group = if group == "stage" { "a token not seen before" } else { "a whole request" };
        row(&mut text, group, name, spreads);
    }
    if let Some(ratio) = fall_back {
        let _ = write!(
            text,
            "\nThe fall-back, where Envoy has no crypto of its own, in wasm: all of `{IN_THE_VM}` ÷ {IN_THE_VM_AT_FIRST}.\n\n\
             | ratio | target | |\n| --- | --- | --- |\n| {ratio:.2} | {} |\n",
            budget.verdict("fall-back: RS256 in the VM", ratio)
        );
    }
    text
}

fn key(group: &str, name: &str) -> (String, String) {
    (group.to_owned(), name.to_owned())
}

fn row(text: &mut String, group: &str, name: &str, spreads: &[Option<Spread>; 2]) {
    let _ = write!(text, "| {group} | {name} |");
    for spread in spreads {
        let _ = match spread {
            Some([middle, low, high]) if low.is_finite() => write!(text, " {middle:.3} | {low:.3}–{high:.3} |"),
            Some([middle, ..]) => write!(text, " {middle:.3} | |"),
            None => write!(text, " | |"),
        };
    }
    let _ = match spreads {
        [Some([native, ..]), Some([wasm, ..])] => writeln!(text, " {:.1} |", wasm / native),
        _ => writeln!(text, " |"),
    };
}

/// What Criterion found for each stage of a group.
fn natively(group: &Path) -> Vec<(String, Spread)> {
    let stages = fs::read_dir(group).into_iter().flatten().filter_map(Result::ok);
    let read = |folder: &Path| {
        let of = |file: &str| -> Option<Value> {
            serde_json::from_str(&fs::read_to_string(folder.join("new").join(file)).ok()?).ok()
        };
        let (estimates, names) = (of("estimates.json")?, of("benchmark.json")?);
        let (mean, ends) = (&estimates["mean"], &estimates["mean"]["confidence_interval"]);
        let values = [&mean["point_estimate"], &ends["lower_bound"], &ends["upper_bound"]];
        Some((names["function_id"].as_str()?.to_owned(), values.map(|value| value.as_f64().unwrap_or(f64::NAN) / 1e3)))
    };
    stages.filter_map(|stage| read(&stage.path())).collect()
}

/// One line of `benches/wasm`.
fn in_wasm(line: &str) -> Option<((String, String), Spread)> {
    let mut parts = line.trim().strip_prefix("in wasm\t")?.split('\t');
    let key = key(parts.next()?, parts.next()?);
    let mut number = || parts.next()?.parse().ok();
    Some((key, [number()?, number()?, number()?]))
}

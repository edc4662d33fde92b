//! The table of the stages, from what the benchmark `stages` has left of its last run. It must not measure anything.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde_json::Value;

/// Where Criterion leaves its estimates: a folder for each group, in it one for each stage.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/criterion");

/// Returns the table.
pub(crate) fn table() -> String {
    let mut text = format!(
        "{}\n\nNative, without Envoy, on one core (`benches/benches/stages.rs`): the mean and its confidence interval of 95 %. \
         What the same costs inside wasm is, for whole requests, what Tollgate adds above the floor in the table of added \
         CPU: the floor makes the calls to the host, and the rest is what the VM does.\n\n\
         | | µs | 95 % |\n| --- | --- | --- |\n",
        tollgate_benches::machine()
    );
    let mut all = BTreeMap::new();
    for group in ["stage", "request"] {
        for (name, estimates) in read(&Path::new(RESULTS).join(group)) {
            all.insert(format!("{group}: {name}"), estimates);
        }
    }
    for (name, [mean, low, high]) in &all {
        let _ = writeln!(text, "| {name} | {mean:.2} | {low:.2}–{high:.2} |");
    }
    if all.is_empty() {
        text.push_str("| the benchmark `stages` has not run yet | | |\n");
    }
    text
}

/// Mean, and the ends of its interval, in µs, of each stage of a group.
fn read(group: &Path) -> Vec<(String, [f64; 3])> {
    let stages = std::fs::read_dir(group).into_iter().flatten().filter_map(Result::ok);
    let read = |folder: &Path| {
        let of = |file: &str| -> Option<Value> {
            serde_json::from_str(&std::fs::read_to_string(folder.join("new").join(file)).ok()?).ok()
        };
        let (estimates, names) = (of("estimates.json")?, of("benchmark.json")?);
        let (mean, ends) = (&estimates["mean"], &estimates["mean"]["confidence_interval"]);
        let values = [&mean["point_estimate"], &ends["lower_bound"], &ends["upper_bound"]];
        let [mean, low, high] = values.map(|value| value.as_f64().unwrap_or(f64::NAN) / 1e3);
        Some((names["function_id"].as_str()?.to_owned(), [mean, low, high]))
    };
    stages.filter_map(|stage| read(&stage.path())).collect()
}

//! `tollgate config`: every setting as it holds. It must not show a secret; [`Report`] does not hold any.

use serde_json::json;

use super::{Scene, fault::CliFault, output::clean};
use crate::config::{Origin, Report, Source};

/// Longest value that a table shows, in characters.
const MAX_SHOWN: usize = 60;

/// Prints the settings, and fails if they have faults.
///
/// # Errors
/// [`CliFault::Settings`] with every fault.
pub(super) fn run(scene: &Scene, source: &dyn Source) -> Result<(), CliFault> {
    let report = Report::of(source, scene.shared.config.as_deref());
    if scene.out.is_json() {
        let settings: Vec<_> = report
            .settings
            .iter()
            .map(|shown| {
                let (origin, from) = match &shown.origin {
                    Origin::Default => ("default", None),
                    Origin::File(path) => ("file", Some(path.display().to_string())),
                    Origin::Environment(name) => ("environment", Some((*name).to_owned())),
                };
                json!({ "key": shown.setting.key, "env": shown.setting.env, "value": shown.value,
                    "secret": shown.setting.is_secret(), "origin": origin, "from": from })
            })
            .collect();
        let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
        scene.out.json(&json!({ "settings": settings, "faults": faults }))?;
    } else {
        let rows: Vec<Vec<String>> = report
            .settings
            .iter()
            .map(|shown| {
                let value = shown.value.as_deref().map_or_else(|| "(not set)".to_owned(), shortened);
                vec![shown.setting.key.to_owned(), value, shown.origin.to_string()]
            })
            .collect();
        scene.out.table(&["setting", "value", "from"], &rows)?;
    }
    if report.faults.is_empty() { Ok(()) } else { Err(CliFault::Settings(report.faults)) }
}

/// A public key has many lines: its beginning is enough to know it by.
fn shortened(value: &str) -> String {
    let value = clean(value);
    if value.chars().count() <= MAX_SHOWN {
        return value;
    }
    value.chars().take(MAX_SHOWN).chain(['…']).collect()
}

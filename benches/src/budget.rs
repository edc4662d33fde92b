//! The targets of `budget.toml`, and whether a figure meets its own. It must not know how a figure came about.

use std::collections::BTreeMap;

/// Targets, by the name of what they are about.
#[derive(Debug, Clone)]
pub struct Budget(BTreeMap<String, f64>);

impl Budget {
    /// Those of the repository.
    ///
    /// # Panics
    /// If the file does not say numbers by name.
    pub fn read() -> Self {
        Self(toml::from_str(include_str!("../budget.toml")).expect("benches/budget.toml"))
    }

    /// The last two columns of a table: target, and whether it is met.
    pub fn verdict(&self, name: &str, figure: f64) -> String {
        match self.0.get(name) {
            Some(target) => format!("≤ {target} | {}", if figure <= *target { "met" } else { "missed" }),
            None => " | ".to_owned(),
        }
    }
}

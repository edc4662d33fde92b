//! What can be wrong with the settings, said so that an operator can mend it. It must not hold a secret's value.

use std::path::PathBuf;

/// One fault of the settings. Loading reports all of them at once.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The settings file cannot be read.
    #[error("settings file {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The settings file is not TOML.
    #[error("settings file {}: {problem}", path.display())]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What the parser says, without quoting the file: a line may hold a secret.
        problem: String,
    },
    /// The settings file has a key that means nothing.
    #[error("unknown key '{key}' in {}{}", path.display(), hint(.near))]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// The key, in full.
        key: String,
        /// A known key that looks alike.
        near: Option<&'static str>,
    },
    /// A setting that has to be there is not.
    #[error("{key} ({env}) is not set: {problem}")]
    Missing {
        /// Key in the file.
        key: &'static str,
        /// Name in the environment.
        env: &'static str,
        /// What it is for.
        problem: &'static str,
    },
    /// A setting has a value that cannot be used.
    #[error("{key} ({env}): {problem}")]
    Value {
        /// Key in the file.
        key: &'static str,
        /// Name in the environment.
        env: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

fn hint(near: &Option<&'static str>) -> String {
    near.map(|near| format!(" (did you mean '{near}'?)")).unwrap_or_default()
}

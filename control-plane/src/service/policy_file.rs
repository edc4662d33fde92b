//! Watches the policy file. A faulty new text is refused as a whole and every fault is logged; the last good policy goes
//! on. It must not know what a rule means.

use std::{path::PathBuf, time::Duration};

use tollgate_protocol::policy::Policy;

use super::{
    policies::Policies,
    policy::{self, PolicyFault},
};

/// How often the file is looked at. A new text is taken when it is the same at the next look: until then somebody may
/// still be writing, and half a policy could be a good one that forbids less.
const INTERVAL: Duration = Duration::from_millis(150);
/// Largest file that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyFileFault {
    /// The file cannot be read.
    #[error("policy file {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is written in it is faulty.
    #[error("policy file {}:{}", path.display(), .faults.iter().map(|fault| format!("\n  {fault}")).collect::<String>())]
    Faulty {
        /// Which file.
        path: PathBuf,
        /// Every fault.
        faults: Vec<PolicyFault>,
    },
}

/// A policy file and the text that was read last.
#[derive(Debug)]
pub struct PolicyFile {
    path: PathBuf,
    text: String,
}

impl PolicyFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// [`PolicyFileFault`]: without a good policy nothing starts.
    pub fn open(path: PathBuf) -> Result<(Self, Policy), PolicyFileFault> {
        let text = read(&path)?;
        let policy = parse(&path, &text)?;
        Ok((Self { path, text }, policy))
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Watches the file, for as long as it is not stopped. The text itself is compared: a file that is put in place of
    /// the former one may have the same time.
    pub async fn watch(mut self, policies: Policies) {
        let mut unreadable = false;
        let mut seen: Option<String> = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let path = self.path.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || read(&path)).await else { return };
            let text = match read {
                Ok(text) => text,
                Err(fault) => {
                    if !unreadable {
                        tracing::error!(%fault, "the last good policy goes on");
                    }
                    unreadable = true;
                    continue;
                }
            };
            unreadable = false;
            if text == self.text {
                seen = None;
                continue;
            }
            if seen.as_ref() != Some(&text) {
                seen = Some(text);
                continue;
            }
            match parse(&self.path, &text) {
                Ok(policy) => {
                    tracing::info!(routes = policy.routes.len(), "new policy");
                    policies.written(&text, policy);
                }
                Err(fault) => {
                    tracing::error!(%fault, "policy refused as a whole, the last good one goes on");
                    policies.refused();
                }
            }
            self.text = text;
        }
    }
}

fn read(path: &std::path::Path) -> Result<String, PolicyFileFault> {
    let unreadable = |source| PolicyFileFault::Unreadable { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > MAX_BYTES {
        return Err(unreadable(std::io::Error::other("is larger than 1 MiB")));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    // Whoever writes into a file empties it first, and on a busy disk that may be all there is for a while.
    if text.trim().is_empty() {
        return Err(unreadable(std::io::Error::other("is empty; to refuse everything, say default = \"deny\"")));
    }
    Ok(text)
}

fn parse(path: &std::path::Path, text: &str) -> Result<Policy, PolicyFileFault> {
    policy::parse(text).map_err(|faults| PolicyFileFault::Faulty { path: path.to_owned(), faults })
}

//! Which rules hold: those of a file, if the settings name one; else those that the store keeps, for all control planes
//! of it; else the built-in ones. It must not know what a rule means, nor a status code.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use tollgate_protocol::policy::Policy;

use super::{
    ServiceError,
    board::Board,
    policy::{self, PolicyFault},
    policy_file::{PolicyFile, PolicyFileFault},
    policy_place::{Place, locate},
};
use crate::{
    app::App,
    config::Config,
    domain::{Revision, Timestamp},
    metrics::Metrics,
    store::{Conflict, KeptPolicy, StoreError},
};

/// How often it is looked whether another control plane has put a policy into the store.
const INTERVAL: Duration = Duration::from_millis(250);
/// Longest text of a policy, in bytes.
pub const MAX_TEXT: usize = 1024 * 1024;

/// Where rules come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The file that the settings name.
    File,
    /// The store.
    Store,
    /// This program.
    BuiltIn,
}

impl Origin {
    /// Every origin.
    pub const ALL: &'static [Self] = &[Self::File, Self::Store, Self::BuiltIn];

    /// The word in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Store => "store",
            Self::BuiltIn => "built_in",
        }
    }
}

/// The text of the rules that hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The text (TOML).
    pub text: Arc<str>,
    /// Where it is from.
    pub origin: Origin,
    /// How many times it was put into the store; 0 where it is not from there.
    pub version: u64,
    /// When it was put into the store.
    pub changed_at: Option<Timestamp>,
    /// By whom.
    pub changed_by: Option<String>,
    /// How many routes it has.
    pub routes: usize,
}

impl InForce {
    /// Names this state of it.
    pub fn revision(&self) -> Revision {
        match self.origin {
            Origin::File => {
                let hash = Sha256::digest(self.text.as_bytes());
                Revision::new(hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect::<String>())
            }
            Origin::Store | Origin::BuiltIn => Revision::new(self.version.to_string()),
        }
    }
}

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesFault {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] PolicyFileFault),
    /// What the store keeps cannot be used: a newer program may have put it there.
    #[error("the policy in the store (version {version}) cannot be used; put another one there with: tollgate policy put:{}", listed(.faults))]
    Kept {
        /// Which version.
        version: u64,
        /// Every fault.
        faults: Vec<PlacedFault>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a policy was not put into the store.
#[derive(Debug, thiserror::Error)]
pub enum PutFault {
    /// The rules of a file hold.
    #[error("the settings name a policy file: change that")]
    IsAFile,
    /// The text is faulty.
    #[error("this policy is refused as a whole:{}", listed(.0))]
    Faulty(Vec<PlacedFault>),
    /// Anything else.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// A fault and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedFault {
    /// Line and column, where they can be told.
    pub at: Option<Place>,
    /// What is wrong.
    pub fault: PolicyFault,
}

impl core::fmt::Display for PlacedFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.at {
            Some((line, column)) => write!(f, "{line}:{column}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

fn listed(faults: &[PlacedFault]) -> String {
    faults.iter().map(|fault| format!("\n  {fault}")).collect()
}

/// Reads a text, with the place of every fault.
///
/// # Errors
/// Every fault there is.
pub fn read(text: &str) -> Result<Policy, Vec<PlacedFault>> {
    if text.len() > MAX_TEXT {
        let fault = PolicyFault { place: "policy".to_owned(), problem: "is longer than 1 MiB".to_owned(), at: None };
        return Err(vec![PlacedFault { at: None, fault }]);
    }
    policy::parse(text).map_err(|faults| {
        let placed = |fault| PlacedFault { at: locate(text, &fault), fault };
        let mut placed: Vec<PlacedFault> = faults.into_iter().map(placed).collect();
        placed.sort_by_key(|fault| (fault.at.is_none(), fault.at));
        placed
    })
}

fn read_kept(kept: KeptPolicy) -> Result<(InForce, Policy), PoliciesFault> {
    let KeptPolicy { version, text, at, by } = kept;
    let policy = read(&text).map_err(|faults| PoliciesFault::Kept { version, faults })?;
    let in_force = InForce {
        text: text.into(),
        origin: Origin::Store,
        version,
        changed_at: Some(at),
        changed_by: Some(by),
        routes: policy.routes.len(),
    };
    Ok((in_force, policy))
}

fn unchanged(text: &str, origin: Origin, policy: &Policy) -> InForce {
    let (changed_at, changed_by) = (None, None);
    InForce { text: text.into(), origin, version: 0, changed_at, changed_by, routes: policy.routes.len() }
}

/// The rules that hold now, by the settings and the store; and the file, if they are from one.
///
/// # Errors
/// [`PoliciesFault`]: without good rules nothing starts.
pub async fn load(app: &App, config: &Config) -> Result<(InForce, Policy, Option<PolicyFile>), PoliciesFault> {
    if let Some(path) = config.policy_file.clone() {
        let (file, policy) = PolicyFile::open(path)?;
        return Ok((unchanged(file.text(), Origin::File, &policy), policy, Some(file)));
    }
    if let Some(kept) = app.store.policy().await? {
        let (in_force, policy) = read_kept(kept)?;
        return Ok((in_force, policy, None));
    }
    let (text, policy) = (policy::built_in_text(config.clerk_names()), policy::built_in(config.clerk_names()));
    Ok((unchanged(&text, Origin::BuiltIn, &policy), policy, None))
}

/// Puts a text into the store, if it is a good policy and `expected` is the state there. Every control plane takes it
/// within a moment.
///
/// # Errors
/// [`PutFault`].
pub async fn put(app: &App, text: &str, expected: Option<&Revision>) -> Result<(InForce, Policy), PutFault> {
    let policy = read(text).map_err(PutFault::Faulty)?;
    let expected = match expected.map(|expected| expected.as_str().parse::<u64>()) {
        None => None,
        Some(Ok(version)) => Some(version),
        // No state of the store is named so.
        Some(Err(_)) => return Err(ServiceError::Changed.into()),
    };
    let kept = match app.store.put_policy(text, expected, &app.stamp()).await {
        Ok(kept) => kept,
        Err(StoreError::Conflict(Conflict::Revision)) => return Err(ServiceError::Changed.into()),
        Err(error) => return Err(ServiceError::from(error).into()),
    };
    let KeptPolicy { version, text, at, by } = kept;
    let (changed_at, changed_by, routes) = (Some(at), Some(by), policy.routes.len());
    Ok((InForce { text: text.into(), origin: Origin::Store, version, changed_at, changed_by, routes }, policy))
}

/// The rules that a server tells its edges.
#[derive(Debug, Clone)]
pub struct Policies {
    board: Board,
    metrics: Metrics,
    now: Arc<Mutex<InForce>>,
    /// Held while the store is asked and what it says is taken, so that an older answer never follows a newer one.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Policies {
    /// Begins with what [`load`] gave. The board has its policy already.
    pub fn new(board: Board, metrics: Metrics, now: InForce) -> Self {
        Self { board, metrics, now: Arc::new(Mutex::new(now)), turn: Arc::default() }
    }

    fn now(&self) -> MutexGuard<'_, InForce> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, in_force: InForce, policy: Policy) {
        *self.now() = in_force;
        self.board.set_policy(policy);
        self.metrics.policy_current.set(1.0);
    }

    /// The file has other rules.
    pub(super) fn written(&self, text: &str, policy: Policy) {
        self.take(unchanged(text, Origin::File, &policy), policy);
    }

    /// New rules were refused as a whole.
    pub(super) fn refused(&self) {
        self.metrics.policy_current.set(0.0);
    }

    /// The rules that hold, whichever control plane was told them last.
    ///
    /// # Errors
    /// The store fails.
    pub async fn get(&self, app: &App) -> Result<InForce, StoreError> {
        if self.now().origin != Origin::File {
            match self.look(app).await {
                // What is kept and cannot be used does not hold.
                Ok(()) | Err(PoliciesFault::Kept { .. } | PoliciesFault::File(_)) => {}
                Err(PoliciesFault::Store(error)) => return Err(error),
            }
        }
        Ok(self.now().clone())
    }

    /// Puts other rules in place of those of the store. They hold here when it returns.
    ///
    /// # Errors
    /// [`PutFault`].
    pub async fn put(&self, app: &App, text: &str, expected: Option<&Revision>) -> Result<InForce, PutFault> {
        if self.now().origin == Origin::File {
            return Err(PutFault::IsAFile);
        }
        let _turn = self.turn.lock().await;
        let (in_force, policy) = put(app, text, expected).await?;
        tracing::info!(version = in_force.version, routes = in_force.routes, "new policy");
        self.take(in_force.clone(), policy);
        Ok(in_force)
    }

    /// Takes what the store keeps, if it is not what holds.
    async fn look(&self, app: &App) -> Result<(), PoliciesFault> {
        let _turn = self.turn.lock().await;
        if app.store.policy_version().await? == self.now().version {
            return Ok(());
        }
        if let Some(kept) = app.store.policy().await? {
            let (in_force, policy) = read_kept(kept)?;
            tracing::info!(version = in_force.version, routes = in_force.routes, "new policy from the store");
            self.take(in_force, policy);
        }
        Ok(())
    }

    /// Looks again and again, for as long as it is not stopped. What goes wrong is told once.
    pub async fn keep_up(self, app: App) {
        let mut told = String::new();
        loop {
            tokio::time::sleep(INTERVAL).await;
            let said = match self.look(&app).await {
                Ok(()) => String::new(),
                Err(fault) => {
                    if matches!(fault, PoliciesFault::Kept { .. }) {
                        self.refused();
                    }
                    fault.to_string()
                }
            };
            if said != told && !said.is_empty() {
                tracing::error!(fault = said, "the last good policy goes on");
            }
            told = said;
        }
    }
}

//! What every use case needs: a store, a clock, Clerk's directory, and who acts. It must not know HTTP; commands use it
//! without a server.

use std::sync::Arc;

use crate::{
    clock::{Clock, SystemClock},
    config::{Config, StoreLocation},
    domain::{Actor, Stamp, ledger::Allowances},
    service::{directory::Directory, resolve::Firsts},
    store::{self, Store, StoreError},
};

/// The store, the clock, and who acts with them. Cloning is cheap and shares store and clock.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) allowances: Allowances,
    pub(crate) directory: Directory,
    /// First requests of people whom nobody knows yet.
    pub(crate) firsts: Arc<Firsts>,
    actor: Actor,
    request_id: Option<String>,
}

impl App {
    /// Opens the store that the settings name. A running server hears of what is changed through it within a moment.
    ///
    /// # Errors
    /// [`StoreError`] says why the store cannot be used.
    pub async fn open(config: &Config) -> Result<Self, StoreError> {
        Self::open_at(&config.store, config.allowances).await
    }

    /// The same, by the two settings that it needs.
    ///
    /// # Errors
    /// [`StoreError`] says why the store cannot be used.
    pub async fn open_at(store: &StoreLocation, allowances: Allowances) -> Result<Self, StoreError> {
        let app = Self::with(store::open(store).await?, Arc::new(SystemClock));
        Ok(app.with_allowances(allowances))
    }

    /// Puts given parts together. Until [`Self::acting`] says who acts, it is somebody at the command line.
    pub fn with(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            allowances: Allowances::default(),
            directory: Directory::default(),
            firsts: Arc::default(),
            actor: Actor::Command,
            request_id: None,
        }
    }

    /// The same, topping balances up to these allowances.
    pub fn with_allowances(self, allowances: Allowances) -> Self {
        Self { allowances, ..self }
    }

    /// The same, asking Clerk about users who are to be made.
    pub fn with_directory(self, directory: Directory) -> Self {
        Self { directory, ..self }
    }

    /// The same, for changes made by `actor` in this request.
    pub fn acting(&self, actor: Actor, request_id: Option<&str>) -> Self {
        Self { actor, request_id: request_id.map(str::to_owned), ..self.clone() }
    }

    /// The request in which it acts.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// What a change made now carries.
    pub fn stamp(&self) -> Stamp {
        Stamp { at: self.clock.now(), actor: self.actor.clone(), request_id: self.request_id.clone() }
    }
}

impl core::fmt::Debug for App {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

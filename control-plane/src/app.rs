//! What every use case needs: a store and a clock. It must not know HTTP; commands use it without a server.

use std::sync::Arc;

use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    store::{self, Store, StoreError},
};

/// The store and the clock. Cloning is cheap and shares both.
#[derive(Clone)]
pub struct App {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl App {
    /// Opens the store that the settings name. A running server hears of what is changed through it within a moment.
    ///
    /// # Errors
    /// [`StoreError`] says why the store cannot be used.
    pub async fn open(config: &Config) -> Result<Self, StoreError> {
        Ok(Self::with(store::open(&config.store).await?, Arc::new(SystemClock)))
    }

    /// Puts given parts together.
    pub fn with(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

impl core::fmt::Debug for App {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

//! The store that the settings name, and who is meant by an id or an address. It must not know a command.

use std::sync::Arc;

use super::{Scene, fault::CliFault};
use crate::{
    app::App,
    config::{Environment, StoreConfig},
    domain::{User, UserId},
    service::{ServiceError, users},
};

/// Opens the store that the settings name.
///
/// # Errors
/// The settings or the store cannot be used.
pub(super) async fn open(scene: &Scene) -> Result<(App, Arc<StoreConfig>), CliFault> {
    let config = StoreConfig::load(&Environment, scene.shared.config.as_deref()).map_err(CliFault::Settings)?;
    let app = App::open_at(&config.store, config.allowances).await?;
    Ok((app, Arc::new(config)))
}

/// The user of an id or of an e-mail address.
///
/// # Errors
/// [`CliFault::NotFound`], or the store fails.
pub(super) async fn user(app: &App, who: &str) -> Result<User, CliFault> {
    let found = match users::get(app, &UserId::new(who)).await {
        Err(ServiceError::NotFound) if who.contains('@') => users::get_by_email(app, who).await,
        found_or_failed => found_or_failed,
    };
    found.map_err(|error| match error {
        ServiceError::NotFound => CliFault::NotFound(format!("there is no user '{who}' (an id or an e-mail address)")),
        error => error.into(),
    })
}

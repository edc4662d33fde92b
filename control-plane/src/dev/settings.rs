//! The settings of a development control plane: all defaults, but for what belongs to this machine. It must not start
//! anything.

use std::{net::SocketAddr, time::Duration};

use super::{args::RunArgs, credentials::LEGACY_SECRET_FILE, data::Data, fault::DevFault};
use crate::{
    app::App,
    clerk::url::JwksUrl,
    config::{ClerkConfig, ClerkKeys, Config, LegacyConfig, Secret, StoreLocation},
};

/// Name of the development issuer, the claim `iss`. It stays the same whatever the ports are.
pub(super) const ISSUER: &str = "https://issuer.tollgate.test";
/// Origin of the web app, the claim `azp`.
pub(super) const PARTY: &str = "http://localhost:3000";
/// File of the secret shared with Envoy.
pub(super) const EDGE_SECRET_FILE: &str = "edge.secret";
const STORE_FILE: &str = "tollgate.db";
/// File of the rules, where nobody named another.
pub(super) const POLICY_FILE: &str = "policy.toml";

/// The control plane's settings.
///
/// # Errors
/// [`DevFault`] if a secret cannot be read or made.
pub(super) fn config(args: &RunArgs, data: &Data, jwks_url: &str) -> Result<Config, DevFault> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let other = |fault: String| DevFault::Other(fault);
    let legacy = LegacyConfig::shared("HS256", &Secret::new(data.secret(LEGACY_SECRET_FILE)?), None).map_err(other)?;
    let mut clerk = ClerkConfig::of_issuer(ISSUER).map_err(other)?;
    clerk.authorized_parties = vec![PARTY.to_owned()];
    clerk.keys = ClerkKeys::Fetched {
        url: JwksUrl::parse(jwks_url).map_err(|fault| DevFault::Other(fault.to_string()))?,
        refresh: Duration::from_secs(300),
        // The issuer's key is rotated by hand here, and whoever does so wants to see it.
        min_interval: Duration::from_millis(200),
    };
    let mut config = store_config(data)?;
    config.api_listen = local(args.api_port);
    config.edge_listen = local(args.edge_port);
    config.clerk = Some(clerk);
    config.legacy = Some(legacy);
    config.policy_file = Some(args.policy.clone().unwrap_or_else(|| data.path(POLICY_FILE)));
    Ok(config)
}

fn store_config(data: &Data) -> Result<Config, DevFault> {
    let secret = Secret::new(data.secret(EDGE_SECRET_FILE)?);
    Ok(Config::new(StoreLocation::Sqlite(data.path(STORE_FILE)), secret))
}

/// The store of a data directory, without a server.
///
/// # Errors
/// [`DevFault`] if it cannot be opened.
pub(super) async fn open_app(data: &Data) -> Result<App, DevFault> {
    App::open(&store_config(data)?).await.map_err(|fault| DevFault::Other(format!("store: {fault}")))
}

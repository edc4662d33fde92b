//! What a test may have different, and the settings that follow from it. It must not start anything.

use std::{net::SocketAddr, time::Duration};

use tempfile::TempDir;
use tollgate::{
    clerk::{svix::SigningSecret, url::JwksUrl},
    config::{ClerkConfig, ClerkKeys, Config, LegacyConfig, RedisConfig, Secret, SignInConfig, Signing, StoreLocation},
    dev::{issuer::Issuer, shipped},
};
use tollgate_protocol::issuer::Jwk;

use crate::{control_plane::Kind, ports};

/// The issuer of Clerk tokens, claim `iss`.
pub const ISSUER: &str = "https://issuer.test";
/// The web app, claim `azp`.
pub const PARTY: &str = "https://app.test";
/// The signing secret of Clerk's webhooks.
pub const WEBHOOK_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
/// The shared secret of the older sign-in.
pub const LEGACY_SECRET: &str = "legacy-secret-of-the-tests-0123456789";
pub(super) const EDGE_SECRET: &str = "edge-secret-of-the-tests-0123456789";

/// What is different from the usual.
#[derive(Debug, Clone)]
pub struct Options {
    /// Worker threads of Envoy.
    pub workers: u16,
    /// Where the control plane runs.
    pub control_plane: Kind,
    /// Start Envoy alone; the control plane's ports are free until `Stack::start_control_plane`.
    pub control_plane_later: bool,
    /// Settings of the filter, one `name: value` each.
    pub filter_settings: Vec<String>,
    /// Values of `aud` of which legacy tokens need one.
    pub legacy_audience: Vec<String>,
    /// Keys of the legacy issuer, instead of the shared secret.
    pub legacy_keys: Vec<Jwk>,
    /// Where the data is, instead of a SQLite file in the stack's folder.
    pub store: Option<StoreLocation>,
    /// Port of a backend of the test's own, instead of the one that echoes.
    pub backend_port: Option<u16>,
    /// How many proxies in front of it Envoy trusts.
    pub trusted_hops: u32,
    /// A Redis that control planes share.
    pub redis: Option<RedisConfig>,
    /// Sign the tokens of the older sign-in with a key of our own, beside those that the shared secret has signed.
    pub own_key: bool,
    /// No file names the rules: those of the store hold, and the built-in ones at first.
    pub policy_in_store: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 2,
            control_plane: Kind::Inside,
            control_plane_later: false,
            filter_settings: Vec::new(),
            legacy_audience: Vec::new(),
            legacy_keys: Vec::new(),
            store: None,
            backend_port: None,
            trusted_hops: 0,
            redis: None,
            own_key: false,
            policy_in_store: false,
        }
    }
}

pub(super) fn config(dir: &TempDir, options: &Options, issuer: &Issuer) -> Config {
    let policy = dir.path().join("policy.toml");
    std::fs::write(&policy, shipped::POLICY).expect("the policy");
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut clerk = ClerkConfig::of_issuer(ISSUER).expect("an issuer");
    clerk.authorized_parties = vec![PARTY.to_owned()];
    clerk.keys = ClerkKeys::Fetched {
        url: JwksUrl::parse(issuer.jwks_url()).expect("an address"),
        refresh: Duration::from_secs(300),
        min_interval: Duration::from_millis(100),
    };
    clerk.webhook_secrets = vec![SigningSecret::parse(WEBHOOK_SECRET).expect("a secret")];
    let mut legacy = LegacyConfig::shared("HS256", &Secret::new(LEGACY_SECRET), None).expect("a secret");
    legacy.audience.clone_from(&options.legacy_audience);
    if !options.legacy_keys.is_empty() {
        legacy.keys.clone_from(&options.legacy_keys);
    }
    if options.own_key {
        legacy.sign_in = Some(SignInConfig::new(Signing::OwnKey));
    }
    let own = || StoreLocation::Sqlite(dir.path().join("tollgate.db"));
    let mut config = Config::new(options.store.clone().unwrap_or_else(own), Secret::new(EDGE_SECRET));
    config.api_listen = local(ports::free());
    config.edge_listen = local(ports::free());
    config.clerk = Some(clerk);
    config.legacy = Some(legacy);
    config.redis.clone_from(&options.redis);
    config.policy_file = (!options.policy_in_store).then_some(policy);
    config
}

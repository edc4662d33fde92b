//! All settings of the control plane: a TOML file, the environment over it, every fault listed. It must not open, bind
//! or fetch anything.

mod bind;
mod clerk;
mod fault;
mod issuers;
mod mongo_url;
mod otlp;
mod redis;
mod report;
mod secret;
pub mod settings;
mod sign_in;
mod source;
mod tls;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bind::{Binder, truth};

use crate::{
    clerk::publishable_key,
    domain::ledger::{Allowances, MAX_AMOUNT},
};

pub use clerk::{ClerkConfig, ClerkKeys};
pub use fault::ConfigFault;
pub use issuers::LegacyConfig;
pub use mongo_url::MongoUrl;
pub use otlp::OtlpEndpoint;
pub use redis::{RedisConfig, RedisUrl};
pub use report::{Origin, Report, Shown};
pub use secret::Secret;
pub use sign_in::{AttemptLimit, PasswordCost, SharedAlgorithm, SignInConfig, Signing};
pub use source::{Environment, Source};
pub use tls::TlsFiles;

/// Everything `tollgate serve` needs to know. [`settings`] documents each value.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where users, keys and the feed are kept.
    pub store: StoreLocation,
    /// Address of the public API, which Envoy reaches.
    pub api_listen: SocketAddr,
    /// Address of the edge API, health and metrics. Never public.
    pub edge_listen: SocketAddr,
    /// Secret shared with every Envoy.
    pub edge_secret: Secret,
    /// Both listeners speak TLS with these files; without them plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The Redis that several control planes share, where there is one.
    pub redis: Option<RedisConfig>,
    /// Clerk, where it is used.
    pub clerk: Option<ClerkConfig>,
    /// Further instances of Clerk, each with a name and an issuer of its own.
    pub more_clerk: Vec<ClerkConfig>,
    /// The older sign-in, where it is used.
    pub legacy: Option<LegacyConfig>,
    /// The rules for routes; without a file those of the store hold.
    pub policy_file: Option<PathBuf>,
    /// Whether API keys without a checksum are looked up.
    pub accept_imported_keys: bool,
    /// Tokens to which balances are topped up each billing month.
    pub allowances: Allowances,
    /// Where traces are sent, if anywhere.
    pub otlp: Option<OtlpEndpoint>,
    /// Form of the log.
    pub log_format: LogFormat,
    /// What is logged, as tracing directives.
    pub log_filter: String,
}

/// Where the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// One SQLite file.
    Sqlite(PathBuf),
    /// A database of a MongoDB.
    Mongo(MongoUrl),
}

/// Form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Settings with all defaults, for programs and tests that set the rest themselves.
    pub fn new(store: StoreLocation, edge_secret: Secret) -> Self {
        Self {
            store,
            api_listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            edge_listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            edge_secret,
            tls: None,
            redis: None,
            clerk: None,
            more_clerk: Vec::new(),
            legacy: None,
            policy_file: None,
            accept_imported_keys: false,
            allowances: Allowances::default(),
            otlp: None,
            log_format: LogFormat::Text,
            log_filter: settings::LOG_FILTER.default.to_owned(),
        }
    }

    /// All instances of Clerk.
    pub fn clerks(&self) -> impl Iterator<Item = &ClerkConfig> {
        self.clerk.iter().chain(&self.more_clerk)
    }

    /// The names of the further instances of Clerk.
    pub fn clerk_names(&self) -> impl Iterator<Item = &str> {
        self.more_clerk.iter().map(|clerk| &*clerk.name)
    }

    /// Reads the settings: `file` (or the one that `TOLLGATE_CONFIG` names), and over it `source`.
    ///
    /// # Errors
    /// Every fault there is, not only the first.
    pub fn load(source: &dyn Source, file: Option<&Path>) -> Result<Self, Vec<ConfigFault>> {
        Self::bind(Binder::new(source, file), edge_secret)
    }

    /// The same for a program that answers nobody: an edge secret that is not set is no fault, and empty.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_to_look_at(source: &dyn Source, file: Option<&Path>) -> Result<Self, Vec<ConfigFault>> {
        Self::bind(Binder::new(source, file), |from| match from.text(&settings::EDGE_SECRET) {
            None => Some(Secret::new("")),
            Some(_) => edge_secret(from),
        })
    }

    fn bind(
        mut from: Binder<'_>,
        edge_secret: impl Fn(&mut Binder<'_>) -> Option<Secret>,
    ) -> Result<Self, Vec<ConfigFault>> {
        let store = from.parsed(&settings::STORE, StoreLocation::parse);
        let api_listen = from.parsed(&settings::API_LISTEN, address);
        let edge_listen = from.parsed(&settings::EDGE_LISTEN, address);
        let edge_secret = edge_secret(&mut from);
        let tls = tls::tls(&mut from);
        let redis = redis::redis(&mut from);
        let clerk = clerk::first(&mut from);
        let more_clerk = clerk::further(&mut from, clerk.as_ref());
        let legacy = issuers::legacy(&mut from);
        let policy_file = from.text(&settings::POLICY_FILE).map(PathBuf::from);
        let accept_imported_keys = from.parsed(&settings::ACCEPT_IMPORTED_KEYS, truth);
        let allowances = allowances(&mut from);
        let otlp = from.parsed(&settings::OTLP_ENDPOINT, OtlpEndpoint::parse);
        let log_format = from.parsed(&settings::LOG_FORMAT, LogFormat::parse);
        let log_filter = from.parsed(&settings::LOG_FILTER, crate::telemetry::check_filter);
        if let (Some(api), Some(edge)) = (api_listen, edge_listen)
            && api == edge
            && api.port() != 0
        {
            from.value(&settings::EDGE_LISTEN, "is the same address as api_listen: the edge API must not be public");
        }
        if !from.faults.is_empty() {
            return Err(from.faults);
        }
        // Every `None` below has left a fault above; the defaults of the list parse, as a test holds.
        match (store, api_listen, edge_listen, edge_secret, accept_imported_keys, allowances, log_format, log_filter) {
            (
                Some(store),
                Some(api_listen),
                Some(edge_listen),
                Some(edge_secret),
                Some(accept_imported_keys),
                Some(allowances),
                Some(log_format),
                Some(log_filter),
            ) => Ok(Self {
                store,
                api_listen,
                edge_listen,
                edge_secret,
                tls,
                redis,
                clerk,
                more_clerk,
                legacy,
                policy_file,
                accept_imported_keys,
                allowances,
                otlp,
                log_format,
                log_filter,
            }),
            _ => Err(from.faults),
        }
    }
}

/// What commands need to know: they work on the store, without a server.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where users, keys and the feed are kept.
    pub store: StoreLocation,
    /// Tokens to which balances are topped up each billing month.
    pub allowances: Allowances,
    /// What a new password costs.
    pub password_cost: PasswordCost,
    /// Exact claim `iss` of Clerk's tokens, where it is known.
    pub clerk_issuer: Option<String>,
}

impl StoreConfig {
    /// Reads these settings only, from the same places as [`Config::load`]. Others may be missing or faulty.
    ///
    /// # Errors
    /// Every fault of the file as a whole and of these settings.
    pub fn load(source: &dyn Source, file: Option<&Path>) -> Result<Self, Vec<ConfigFault>> {
        let mut from = Binder::new(source, file);
        let store = from.parsed(&settings::STORE, StoreLocation::parse);
        let allowances = allowances(&mut from);
        let password_cost = sign_in::password_cost(&mut from);
        let named = from.text(&settings::CLERK_ISSUER);
        let clerk_issuer = named.or_else(|| {
            let key = from.text(&settings::CLERK_PUBLISHABLE_KEY)?;
            publishable_key::parse(&key).ok().map(|key| key.issuer())
        });
        match (store, allowances, password_cost) {
            (Some(store), Some(allowances), Some(password_cost)) if from.faults.is_empty() => {
                Ok(Self { store, allowances, password_cost, clerk_issuer })
            }
            _ => Err(from.faults),
        }
    }
}

impl StoreLocation {
    /// Reads `sqlite://PATH` or the address of a MongoDB with a database.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("mongodb") {
            return MongoUrl::parse(text).map(Self::Mongo);
        }
        match text.strip_prefix("sqlite://") {
            Some("") => Err("names no file: write sqlite://PATH".to_owned()),
            Some(path) if path.contains(['?', '#']) => Err("takes no options: write sqlite://PATH".to_owned()),
            Some(path) => Ok(Self::Sqlite(PathBuf::from(path))),
            None => Err("must be sqlite://PATH or mongodb://HOST/DB".to_owned()),
        }
    }
}

impl LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("must be text or json".to_owned()),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address with a port, such as 127.0.0.1:8080".to_owned())
}

fn allowances(from: &mut Binder<'_>) -> Option<Allowances> {
    let tokens = |text: &str| match text.parse() {
        Ok(tokens @ 0..=MAX_AMOUNT) => Ok(tokens),
        _ => Err(format!("must be a whole number of tokens from 0 to {MAX_AMOUNT}")),
    };
    let free = from.parsed(&settings::CREDITS_REFILL_FREE, tokens);
    let pro = from.parsed(&settings::CREDITS_REFILL_PRO, tokens);
    let enterprise = from.parsed(&settings::CREDITS_REFILL_ENTERPRISE, tokens);
    Some(Allowances { free: free?, pro: pro?, enterprise: enterprise? })
}

fn edge_secret(from: &mut Binder<'_>) -> Option<Secret> {
    let Some(text) = from.text(&settings::EDGE_SECRET) else {
        from.missing(&settings::EDGE_SECRET, "the secret that every Envoy shows; make one with: openssl rand -hex 32");
        return None;
    };
    if text.len() < 16 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        from.value(&settings::EDGE_SECRET, "needs at least 16 printable ASCII characters without spaces");
        return None;
    }
    Some(Secret::new(text))
}

#[cfg(test)]
mod tests;

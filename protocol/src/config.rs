//! The plugin configuration, as an operator writes it into Envoy or a WasmPlugin. Unknown fields are refused.

use serde::Deserialize;

/// The whole plugin configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginConfig {
    /// Where the control plane is.
    pub control_plane: ControlPlane,
    /// `realm` of `WWW-Authenticate` challenges. Printable ASCII without `"` and `\`.
    #[serde(default = "default_realm")]
    pub realm: String,
    /// How long a request waits for the first settings, in milliseconds, before 503 `not_ready`.
    #[serde(default = "default_startup_hold")]
    pub startup_hold_ms: u32,
    /// How long known identities are served without news from the control plane, in seconds.
    #[serde(default = "default_max_stale")]
    pub max_stale_seconds: u32,
    /// Bounds on what a request may carry.
    #[serde(default)]
    pub limits: Limits,
    /// Sizes of the caches in each worker.
    #[serde(default)]
    pub cache: CacheSizes,
    /// How tokens (credits) are leased and reported.
    #[serde(default)]
    pub credits: Credits,
    /// Which facts about whoever passes go into filter state, for access logs and filters of Envoy's own. Each costs every
    /// request about as much as a header does.
    #[serde(default = "default_filter_state")]
    pub filter_state: Vec<Fact>,
    /// Set to `false` to verify every signature inside the VM (for comparison and for hosts whose native verifier is not trusted).
    #[serde(default = "default_true")]
    pub native_crypto: bool,
}

/// A fact about whoever passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The user's id.
    UserId,
    /// Which kind of credential.
    Method,
    /// The user's role.
    Role,
    /// The session of a token.
    SessionId,
    /// The id of an API key.
    KeyId,
    /// The user's subscription.
    Subscription,
    /// Who acts as the user.
    Actor,
}

impl Fact {
    /// Its name in filter state, below `wasm.`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserId => "tollgate.user_id",
            Self::Method => "tollgate.method",
            Self::Role => "tollgate.role",
            Self::SessionId => "tollgate.session_id",
            Self::KeyId => "tollgate.key_id",
            Self::Subscription => "tollgate.subscription",
            Self::Actor => "tollgate.actor",
        }
    }
}

/// Where the control plane's edge listener is.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControlPlane {
    /// Name of the Envoy cluster.
    pub cluster: String,
    /// `:authority` of the calls.
    #[serde(default = "default_authority")]
    pub authority: String,
    /// The secret that every call carries; at least 16 characters.
    pub edge_secret: String,
}

impl core::fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ControlPlane")
            .field("cluster", &self.cluster)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// Bounds on what a request may carry. Larger is refused as malformed.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Longest bearer token in bytes.
    pub token_bytes: usize,
    /// Deepest nesting of a token's JSON.
    pub claim_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { token_bytes: 8192, claim_depth: 8 }
    }
}

/// Sizes of the caches in each worker.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheSizes {
    /// Most verified tokens.
    pub tokens: usize,
    /// Most bytes of verified tokens.
    pub token_bytes: usize,
    /// Most identities and keys.
    pub identities: usize,
    /// Most unknown keys and users that are remembered, for 10 s each.
    pub unknown: usize,
}

impl Default for CacheSizes {
    fn default() -> Self {
        Self { tokens: 20_000, token_bytes: 32 << 20, identities: 50_000, unknown: 10_000 }
    }
}

/// How each worker leases tokens of users, and reports what was used.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Credits {
    /// How long a lease lasts without renewal, in seconds: so long tokens are out of reach that a killed Envoy held, and so
    /// long those that it holds can be used while the control plane is away.
    pub lease_seconds: u32,
    /// How often use is reported, in milliseconds: so much of it a killed Envoy takes with it.
    pub report_ms: u32,
}

impl Default for Credits {
    fn default() -> Self {
        Self { lease_seconds: 30, report_ms: 1_000 }
    }
}

fn default_realm() -> String {
    "tollgate".into()
}
fn default_authority() -> String {
    "tollgate-control-plane".into()
}
const fn default_startup_hold() -> u32 {
    2000
}
const fn default_max_stale() -> u32 {
    3600
}
/// What the access logs of the shipped configurations show.
fn default_filter_state() -> Vec<Fact> {
    vec![Fact::UserId, Fact::Method]
}
const fn default_true() -> bool {
    true
}

/// Why a plugin configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// Not the JSON it should be.
    #[error("plugin configuration: {0}")]
    Json(serde_json::Error),
    /// One value is out of range.
    #[error("plugin configuration: {field} {problem}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What is wrong and what to do.
        problem: &'static str,
    },
}

impl PluginConfig {
    /// Parses and checks a configuration.
    ///
    /// # Errors
    /// [`ConfigFault`] says what is wrong; nothing of a faulty configuration is used.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigFault> {
        serde_json::from_slice(json).map_err(ConfigFault::Json).and_then(Self::check)
    }

    /// Takes and checks a configuration that was parsed already.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn from_value(value: serde_json::Value) -> Result<Self, ConfigFault> {
        serde_json::from_value(value).map_err(ConfigFault::Json).and_then(Self::check)
    }

    fn check(self) -> Result<Self, ConfigFault> {
        let config = self;
        let fault = |field, problem| Err(ConfigFault::Value { field, problem });
        if config.control_plane.cluster.is_empty() {
            return fault("control_plane.cluster", "is empty: name the Envoy cluster of the control plane");
        }
        let secret = &config.control_plane.edge_secret;
        if secret.len() < 16 || !secret.bytes().all(|b| b.is_ascii_graphic()) {
            return fault("control_plane.edge_secret", "needs at least 16 printable ASCII characters without spaces");
        }
        if !config.realm.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\') {
            return fault("realm", "may hold printable ASCII only, without quotes and backslashes");
        }
        if !config.control_plane.authority.bytes().all(|b| b.is_ascii_graphic())
            || config.control_plane.authority.is_empty()
        {
            return fault("control_plane.authority", "is not a host name");
        }
        if config.startup_hold_ms > 10_000 {
            return fault("startup_hold_ms", "is above 10000: a held request would look like a hang");
        }
        if !(256..=60_000).contains(&config.limits.token_bytes) {
            return fault("limits.token_bytes", "must be between 256 and 60000, Envoy's own limit for headers");
        }
        if !(2..=32).contains(&config.limits.claim_depth) {
            return fault("limits.claim_depth", "must be between 2 and 32");
        }
        if !(4..=600).contains(&config.credits.lease_seconds) {
            return fault("credits.lease_seconds", "must be between 4 and 600");
        }
        if !(100..=60_000).contains(&config.credits.report_ms) {
            return fault("credits.report_ms", "must be between 100 and 60000");
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expect: Result<(), &str>) {
        match (PluginConfig::parse(json.as_bytes()), expect) {
            (Ok(_), Ok(())) => {}
            (Err(fault), Err(part)) => assert!(fault.to_string().contains(part), "{fault}"),
            (got, _) => panic!("{json}: {got:?}"),
        }
    }

    #[test]
    fn good_and_bad_configurations() {
        let cp = r#""control_plane":{"cluster":"c","edge_secret":"0123456789abcdef"}"#;
        check(&format!("{{{cp}}}"), Ok(()));
        check(&format!(r#"{{{cp},"limits":{{"token_bytes":4096}}}}"#), Ok(()));
        check(&format!(r#"{{{cp},"credits":{{"lease_seconds":10}}}}"#), Ok(()));
        check(&format!(r#"{{{cp},"credits":{{"lease_seconds":601}}}}"#), Err("credits.lease_seconds"));
        check(&format!(r#"{{{cp},"credits":{{"report_ms":1}}}}"#), Err("credits.report_ms"));
        check("", Err("EOF"));
        check("{}", Err("control_plane"));
        check(&format!(r#"{{{cp},"relm":"x"}}"#), Err("relm"));
        check(&format!(r#"{{{cp},"realm":"a\"b"}}"#), Err("realm"));
        check(&format!(r#"{{{cp},"startup_hold_ms":60000}}"#), Err("startup_hold_ms"));
        check(&format!(r#"{{{cp},"limits":{{"token_bytes":1}}}}"#), Err("token_bytes"));
        check(r#"{"control_plane":{"cluster":"c","edge_secret":"short"}}"#, Err("edge_secret"));
        check(r#"{"control_plane":{"cluster":"","edge_secret":"0123456789abcdef"}}"#, Err("cluster"));
    }

    #[test]
    fn the_secret_does_not_print() {
        let config =
            PluginConfig::parse(br#"{"control_plane":{"cluster":"c","edge_secret":"0123456789abcdef"}}"#).unwrap();
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
    }
}

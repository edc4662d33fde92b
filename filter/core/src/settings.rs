//! The settings in force, compiled once when they arrive. They are replaced as a whole, so no request is judged by
//! half of a change. This module must not know how settings travel.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use tollgate_protocol::edge::Settings;

use crate::{
    policy::{CompiledPolicy, PolicyFault},
    verify::{IssuerSet, KeyFault},
};

/// Settings, ready for use.
#[derive(Debug)]
pub struct Compiled {
    /// Whose tokens are believed.
    pub issuers: IssuerSet,
    /// Which route asks for what.
    pub policy: CompiledPolicy,
    /// Whether API keys without a checksum are looked up.
    pub accept_imported_keys: bool,
    /// Who signs assertions.
    pub assertion: Option<Signer>,
}

/// The key with which this edge signs assertions. Its secret does not print.
pub struct Signer {
    pub(crate) key: SigningKey,
    pub(crate) kid: String,
    pub(crate) issuer: String,
    pub(crate) lifetime_seconds: u64,
}

impl core::fmt::Debug for Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Signer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Why pushed settings are refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFault {
    /// Faulty routes, all of them.
    #[error("policy refused: {}", list(.0))]
    Policy(Vec<PolicyFault>),
    /// The assertion key is not 32 bytes of base64url.
    #[error("assertion key refused: the seed is not 32 bytes of base64url")]
    AssertionKey,
}

fn list(faults: &[PolicyFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Compiled {
    /// Compiles settings. Keys that cannot be used are left out and listed beside the result: one bad key of one
    /// issuer must not harm the others.
    ///
    /// # Errors
    /// [`SettingsFault`]; the settings before stay in force.
    pub fn compile(settings: &Settings) -> Result<(Self, Vec<KeyFault>), SettingsFault> {
        let policy = CompiledPolicy::compile(&settings.policy).map_err(SettingsFault::Policy)?;
        let assertion = settings.assertion.as_ref().map(signer).transpose()?;
        let (issuers, faults) = IssuerSet::compile(&settings.issuers);
        Ok((Self { issuers, policy, accept_imported_keys: settings.accept_imported_keys, assertion }, faults))
    }
}

fn signer(wire: &tollgate_protocol::edge::AssertionKey) -> Result<Signer, SettingsFault> {
    let seed = URL_SAFE_NO_PAD.decode(&wire.seed).map_err(|_| SettingsFault::AssertionKey)?;
    let seed: [u8; 32] = seed.try_into().map_err(|_| SettingsFault::AssertionKey)?;
    Ok(Signer {
        key: SigningKey::from_bytes(&seed),
        kid: wire.kid.clone(),
        issuer: wire.issuer.clone(),
        lifetime_seconds: u64::from(wire.lifetime_seconds),
    })
}

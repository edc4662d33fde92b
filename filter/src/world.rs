//! What the decision may ask of the host while it decides: Envoy's own signature check, and the memory that the
//! workers share. It must not decide anything.

use core::cell::Cell;

use tollgate_core::{
    engine::World,
    verify::{HashName, NativeVerifier},
};

use crate::{crypto, host};

/// The host, as the core sees it.
#[derive(Debug)]
pub(crate) struct HostWorld {
    namespace: String,
    native: bool,
    native_checks: Cell<u64>,
}

impl HostWorld {
    /// `namespace` keeps two control planes apart in one Envoy. `native`: Envoy's verifier was tried and works.
    pub(crate) fn new(namespace: String, native: bool) -> Self {
        Self { namespace, native, native_checks: Cell::new(0) }
    }

    /// Whether Envoy's verifier is in use.
    pub(crate) fn is_native(&self) -> bool {
        self.native
    }

    /// How many signatures Envoy's verifier has judged since this was asked last.
    pub(crate) fn take_native_checks(&self) -> u64 {
        self.native_checks.replace(0)
    }

    /// The name of a slot among those of all plugins.
    pub(crate) fn slot(&self, slot: &str) -> String {
        format!("{slot}@{}", self.namespace)
    }
}

impl NativeVerifier for HostWorld {
    fn verify(&self, hash: HashName, spki_der: &[u8], signature: &[u8], message: &[u8]) -> Option<bool> {
        if !self.native {
            return None;
        }
        let verdict = crypto::verify_signature(hash, spki_der, signature, message);
        self.native_checks.set(self.native_checks.get().saturating_add(u64::from(verdict.is_some())));
        verdict
    }
}

impl World for HostWorld {
    fn shared_get(&self, slot: &str) -> Option<Vec<u8>> {
        host::get_shared(&self.slot(slot)).map(|(value, _)| value)
    }

    fn shared_set(&self, slot: &str, value: &[u8]) {
        // A value that cannot be shared is asked for again by the other workers.
        let _ = host::set_shared(&self.slot(slot), value, 0);
    }

    fn shared_read(&self, slot: &str) -> Option<(Vec<u8>, u32)> {
        host::get_shared(&self.slot(slot))
    }

    fn shared_swap(&self, slot: &str, value: &[u8], version: u32) -> bool {
        host::set_shared(&self.slot(slot), value, version)
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        // Envoy has counted the trusted hops already (`xff_num_trusted_hops`), so a client cannot choose it.
        host::property(&["source", "address"])
    }
}

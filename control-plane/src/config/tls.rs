//! TLS of our listeners: which files. It must not read them.

use std::path::PathBuf;

use super::{bind::Binder, settings};

/// The files, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Our certificate, then those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of clients' certificates; with it, clients have to show one.
    pub client_ca: Option<PathBuf>,
}

/// Reads the settings: certificate and key go together, and authorities of clients with both.
pub(super) fn tls(from: &mut Binder<'_>) -> Option<TlsFiles> {
    let certificate = from.text(&settings::TLS_CERTIFICATE);
    let key = from.text(&settings::TLS_KEY);
    let client_ca = from.text(&settings::TLS_CLIENT_CA).map(PathBuf::from);
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate: certificate.into(), key: key.into(), client_ca })
        }
        (None, None) if client_ca.is_none() => None,
        (certificate, key) => {
            if certificate.is_none() {
                from.missing(&settings::TLS_CERTIFICATE, "the certificate that belongs to the other tls settings");
            }
            if key.is_none() {
                from.missing(&settings::TLS_KEY, "the private key of the certificate");
            }
            None
        }
    }
}

//! TLS of our listeners: certificate and key from files, read again when the files change, and whether a client has shown
//! a certificate of its own. It must not know a route.

use std::{path::Path, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpStream, sync::watch};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use zeroize::Zeroizing;

use super::{
    Shared,
    error::{ApiCode, Refusal},
};
use crate::{
    config::{
        TlsFiles,
        settings::{self, Setting},
    },
    metrics::Metrics,
};

/// How often the files are looked at. What is new is taken when it is the same at the next look: certificate and key are
/// two files, and between the two writes they do not belong together.
const INTERVAL: Duration = Duration::from_millis(500);
/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[error("{} ({}), {file}: {problem}", .setting.key, .setting.env)]
pub struct TlsFault {
    setting: &'static Setting,
    file: String,
    problem: String,
}

impl TlsFault {
    fn new(setting: &'static Setting, path: &Path, problem: impl Into<String>) -> Self {
        Self { setting, file: path.display().to_string(), problem: problem.into() }
    }
}

/// What is in the files.
struct Material {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// The present certificate of our listeners, followed by [`Tls`].
#[derive(Debug)]
pub struct TlsWatch {
    files: TlsFiles,
    digest: [u8; 32],
    current: watch::Sender<Arc<ServerConfig>>,
}

/// How a listener answers in TLS: always with the present certificate.
#[derive(Debug, Clone)]
pub struct Tls(watch::Receiver<Arc<ServerConfig>>);

/// The client of this connection has shown a certificate of an authority that is believed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Certified;

impl TlsWatch {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`TlsFault`]: a listener that should speak TLS and cannot does not start.
    pub fn open(files: TlsFiles) -> Result<(Self, Tls), TlsFault> {
        let material = Material::read(&files)?;
        let (current, follower) = watch::channel(Arc::new(material.server(&files)?));
        Ok((Self { digest: material.digest(), files, current }, Tls(follower)))
    }

    /// Watches the files for as long as it is not stopped. A faulty new set is refused as a whole, and the last good one
    /// goes on.
    pub async fn watch(mut self, metrics: Metrics) {
        let mut unreadable = false;
        let mut seen = None;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let files = self.files.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || Material::read(&files)).await else { return };
            let material = match read {
                Ok(material) => material,
                Err(fault) => {
                    if !unreadable {
                        tracing::error!(%fault, "the last good certificate goes on");
                    }
                    unreadable = true;
                    continue;
                }
            };
            unreadable = false;
            let digest = material.digest();
            if digest == self.digest {
                seen = None;
            } else if seen == Some(digest) {
                self.digest = digest;
                match material.server(&self.files) {
                    Ok(server) => {
                        tracing::info!("new certificate");
                        self.current.send_replace(Arc::new(server));
                        metrics.tls_current.set(1.0);
                    }
                    Err(fault) => {
                        tracing::error!(%fault, "the last good certificate goes on");
                        metrics.tls_current.set(0.0);
                    }
                }
            } else {
                seen = Some(digest);
            }
        }
    }
}

impl Tls {
    /// The handshake of one connection.
    ///
    /// # Errors
    /// As rustls says: also for a client whose certificate is not believed.
    pub(super) async fn accept(&self, stream: TcpStream) -> std::io::Result<(TlsStream<TcpStream>, Option<Certified>)> {
        let server = Arc::clone(&self.0.borrow());
        let stream = TlsAcceptor::from(server).accept(stream).await?;
        // One that is there was verified in the handshake.
        let certified = stream.get_ref().1.peer_certificates().is_some_and(|shown| !shown.is_empty());
        Ok((stream, certified.then_some(Certified)))
    }
}

impl Material {
    fn read(files: &TlsFiles) -> Result<Self, TlsFault> {
        let read = |setting, path: &Path| {
            let unreadable = |source: std::io::Error| TlsFault::new(setting, path, source.to_string());
            match std::fs::metadata(path).map_err(unreadable)?.len() {
                0..=MAX_BYTES => std::fs::read(path).map_err(unreadable),
                _ => Err(TlsFault::new(setting, path, "is larger than 1 MiB")),
            }
        };
        Ok(Self {
            certificate: read(&settings::TLS_CERTIFICATE, &files.certificate)?,
            key: Zeroizing::new(read(&settings::TLS_KEY, &files.key)?),
            client_ca: files.client_ca.as_deref().map(|path| read(&settings::TLS_CLIENT_CA, path)).transpose()?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let parts = [Some(&self.certificate), Some(&*self.key), self.client_ca.as_ref()];
        // Hashes of hashes: where one part ends and the next begins is no question.
        let digests = parts.map(|part| part.map(Sha256::digest).unwrap_or_default());
        digests.iter().fold(Sha256::new(), |all, one| all.chain_update(one)).finalize().into()
    }

    /// TLS 1.2 and 1.3 with HTTP/2 before HTTP/1.1. Clients are asked for a certificate where there are authorities; one
    /// that shows none is let in as far as [`certified`] lets it.
    fn server(&self, files: &TlsFiles) -> Result<ServerConfig, TlsFault> {
        let own = |problem: String| TlsFault::new(&settings::TLS_CERTIFICATE, &files.certificate, problem);
        let chain = certificates(&self.certificate).map_err(own)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            TlsFault::new(&settings::TLS_KEY, &files.key, "holds no private key in PEM (PKCS#8, PKCS#1 or SEC1)")
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|fault| own(fault.to_string()))?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(authorities), Some(path)) => {
                let theirs = |problem: String| TlsFault::new(&settings::TLS_CLIENT_CA, path, problem);
                let mut roots = RootCertStore::empty();
                for authority in certificates(authorities).map_err(theirs)? {
                    roots.add(authority).map_err(|fault| theirs(fault.to_string()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|fault| theirs(fault.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut server = builder.with_single_cert(chain, key).map_err(|fault| own(fault.to_string()))?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(server)
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err("holds no certificate in PEM".to_owned()),
        Err(fault) => Err(format!("is no PEM: {fault}")),
    }
}

/// Around every route that Envoy alone may ask: where clients have to show a certificate, one that has shown none goes no
/// further.
pub(super) async fn certified(State(shared): State<Shared>, request: Request, next: Next) -> Result<Response, Refusal> {
    if shared.client_certificates && request.extensions().get::<Certified>().is_none() {
        return Err(Refusal::new(ApiCode::CertificateRequired));
    }
    Ok(next.run(request).await)
}

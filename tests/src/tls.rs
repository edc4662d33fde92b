//! A client of TLS that believes one authority, and may show a certificate of its own. It must not know who answers.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::wait::PATIENCE;

/// Who connects.
#[derive(Debug, Clone, Copy)]
pub struct Client<'c> {
    /// Folder of the certificates, as `tollgate dev certs` writes them: `ca.pem` is believed.
    pub certs: &'c Path,
    /// Name of the certificate that is shown, if one is.
    pub shows: Option<&'c str>,
    /// Protocols that are offered.
    pub alpn: &'c [&'c str],
}

impl<'c> Client<'c> {
    /// One that shows no certificate, and speaks HTTP/1.1.
    pub fn new(certs: &'c Path) -> Self {
        Self { certs, shows: None, alpn: &["http/1.1"] }
    }

    /// Connects to `localhost` there.
    ///
    /// # Errors
    /// If the server does not answer, or its certificate does not hold. That ours does not is told by what is read later.
    ///
    /// # Panics
    /// If the certificates cannot be read.
    pub async fn connect(&self, addr: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let chain = |name: &str| -> Vec<CertificateDer<'static>> {
            let file = self.certs.join(format!("{name}.pem"));
            CertificateDer::pem_file_iter(file).expect("a file").map(|one| one.expect("a certificate")).collect()
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(chain("ca"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.expect("versions").with_root_certificates(roots);
        let mut config = match self.shows {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.certs.join(format!("{name}-key.pem"))).expect("a key");
                builder.with_client_auth_cert(chain(name), key).expect("a certificate with its key")
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let connecting = async {
            let stream = TcpStream::connect(addr).await?;
            let name = ServerName::try_from("localhost").expect("a name");
            TlsConnector::from(Arc::new(config)).connect(name, stream).await
        };
        timeout(PATIENCE, connecting).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

//! Fetches a key set: one answer, bounded in time and size, never by a redirect. It must not judge what is in it.

use std::time::Duration;

use super::{jwks::MAX_BYTES, url::JwksUrl};

/// Longest time for a whole fetch.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchFault {
    /// The HTTP client cannot be made.
    #[error("no HTTP client: {0}")]
    Client(#[source] reqwest::Error),
    /// The secret cannot stand in a header.
    #[error("the secret key has characters that no header may have")]
    Secret,
    /// No answer, or it broke off, or it took too long.
    #[error("no answer: {}", causes(.0))]
    Transport(#[source] reqwest::Error),
    /// Another status than 200. Redirects are not followed.
    #[error("status {0}")]
    Status(u16),
    /// Longer than any key set is.
    #[error("longer than {MAX_BYTES} bytes")]
    TooLarge,
}

/// An error and what caused it: the client's own text leaves out why there was no connection.
fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// An HTTP client for key sets.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: reqwest::Client,
}

impl Fetcher {
    /// Makes the client. It trusts the certificates of this machine.
    ///
    /// # Errors
    /// [`FetchFault::Client`].
    pub fn new() -> Result<Self, FetchFault> {
        // An error says that a provider was installed before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(FetchFault::Client)?;
        Ok(Self { client })
    }

    /// Fetches the document.
    ///
    /// # Errors
    /// [`FetchFault`] says why there is none.
    pub async fn fetch(&self, url: &JwksUrl) -> Result<Vec<u8>, FetchFault> {
        let request = self.client.get(url.url()).header("accept", "application/json");
        let mut response = request.send().await.map_err(FetchFault::Transport)?;
        if response.status().as_u16() != 200 {
            return Err(FetchFault::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(FetchFault::Transport)? {
            if body.len().saturating_add(chunk.len()) > MAX_BYTES {
                return Err(FetchFault::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

//! Clerk's Backend API, as far as it is asked: one user by id (`GET /v1/users/{id}`). One answer, bounded in time and
//! size, never by a redirect. It must not know why somebody asks.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};

use super::{fetch::FetchFault, url::ApiUrl, user};
use crate::{
    config::Secret,
    domain::{ClerkIdentity, clerk::ClerkProfile},
};

/// Longest time for a whole look-up. An Envoy waits two seconds for the answer that needs it.
pub const TIMEOUT: Duration = Duration::from_millis(1_200);
/// Largest answer that is read.
const MAX_BYTES: usize = 256 * 1024;
/// The version of the API that [`user`] was written for.
const API_VERSION: &str = "2025-04-10";

/// Why there is no user.
#[derive(Debug, thiserror::Error)]
pub enum LookupFault {
    /// No answer, or not in time.
    #[error("no answer: {0}")]
    Transport(#[source] reqwest::Error),
    /// Another status than 200. Redirects are not followed.
    #[error("status {status}")]
    Status {
        /// Which.
        status: u16,
        /// How long Clerk asks not to be asked.
        retry_after: Option<Duration>,
    },
    /// Longer than any user is.
    #[error("longer than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not the JSON of this user.
    #[error("not the user who was asked for")]
    NotTheUser,
}

/// The Backend API of one instance.
#[derive(Debug, Clone)]
pub struct Backend {
    client: reqwest::Client,
    url: ApiUrl,
    authorization: HeaderValue,
}

impl Backend {
    /// Makes the client. It trusts the certificates of this machine.
    ///
    /// # Errors
    /// [`FetchFault::Client`].
    pub fn new(url: ApiUrl, secret: &Secret) -> Result<Self, FetchFault> {
        // An error says that a provider was installed before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .no_proxy()
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(FetchFault::Client)?;
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {}", secret.expose())).map_err(|_| FetchFault::Secret)?;
        authorization.set_sensitive(true);
        Ok(Self { client, url, authorization })
    }

    /// Looks a user up. An id that is none of Clerk's is asked for nowhere.
    ///
    /// # Errors
    /// [`LookupFault`] says why there is none.
    pub async fn user(&self, identity: &ClerkIdentity) -> Result<ClerkProfile, LookupFault> {
        if !user::is_id(&identity.id) {
            return Err(LookupFault::NotTheUser);
        }
        let request = self
            .client
            .get(self.url.user(&identity.id))
            .header(AUTHORIZATION, self.authorization.clone())
            .header("accept", "application/json")
            .header("clerk-api-version", API_VERSION);
        let mut response = request.send().await.map_err(LookupFault::Transport)?;
        let status = response.status().as_u16();
        if status != 200 {
            let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(LookupFault::Status { status, retry_after: seconds.map(Duration::from_secs) });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(LookupFault::Transport)? {
            if body.len().saturating_add(chunk.len()) > MAX_BYTES {
                return Err(LookupFault::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        let document = serde_json::from_slice(&body).map_err(|_| LookupFault::NotTheUser)?;
        let profile = user::parse(&identity.issuer, &document).ok_or(LookupFault::NotTheUser)?;
        if profile.identity == *identity { Ok(profile) } else { Err(LookupFault::NotTheUser) }
    }
}

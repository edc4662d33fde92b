//! The development issuer: a separate HTTP endpoint with its own RSA key that publishes keys as Clerk's Frontend API
//! does. It must not know the control plane or the users, and it hands out no tokens over HTTP.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{data::Data, fault::DevFault, mint::IssuerKey};

/// The file of the current key in the data directory.
pub const KEY_FILE: &str = "issuer.pem";
const JWKS_PATH: &str = "/.well-known/jwks.json";

/// A running issuer. It ends when this is dropped.
#[derive(Debug)]
pub struct Issuer {
    /// Where it listens.
    pub addr: SocketAddr,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    name: String,
    jwks_url: String,
    /// The first one signs; the others are still published.
    keys: Mutex<Vec<IssuerKey>>,
    fetches: AtomicU64,
    data: Option<Data>,
}

impl Issuer {
    /// Serves on a non-blocking listener. `name` is the claim `iss`: it stays the same whatever the port, because people
    /// are linked to their ids at an issuer of this name. With a data directory, a new key is kept there.
    ///
    /// # Errors
    /// If the listener cannot be used.
    pub fn start(listener: TcpListener, name: &str, key: IssuerKey, data: Option<Data>) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let addr = listener.local_addr()?;
        let jwks_url = format!("http://{addr}{JWKS_PATH}");
        let (keys, fetches) = (Mutex::new(vec![key]), AtomicU64::new(0));
        let shared = Arc::new(Shared { name: name.to_owned(), jwks_url, keys, fetches, data });
        let router = Router::new()
            .route(JWKS_PATH, get(jwks))
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/dev/rotate", post(rotate))
            .with_state(Arc::clone(&shared));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let served = axum::serve(listener, router).await;
            drop(served.inspect_err(|fault| tracing::error!(%fault, "the development issuer has ended")));
        });
        Ok(Self { addr, shared, _task: task })
    }

    /// Its name, the claim `iss`.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where its keys are.
    pub fn jwks_url(&self) -> &str {
        &self.shared.jwks_url
    }

    /// The key that signs now.
    ///
    /// # Errors
    /// [`DevFault::Other`] if there is none, which cannot be.
    pub fn key(&self) -> Result<IssuerKey, DevFault> {
        self.shared.keys().first().cloned().ok_or_else(|| DevFault::Other("the issuer has no key".to_owned()))
    }

    /// How often its key set has been fetched.
    pub fn fetches(&self) -> u64 {
        self.shared.fetches.load(Ordering::Relaxed)
    }

    /// Replaces the key that signs. With `keep`, the former ones are published still.
    ///
    /// # Errors
    /// [`DevFault`] if the new key cannot be kept.
    pub fn rotate_to(&self, key: IssuerKey, keep: bool) -> Result<(), DevFault> {
        self.shared.rotate_to(key, keep)
    }
}

impl Shared {
    fn keys(&self) -> std::sync::MutexGuard<'_, Vec<IssuerKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rotate_to(&self, key: IssuerKey, keep: bool) -> Result<(), DevFault> {
        if let Some(data) = &self.data {
            data.keep_issuer_key(KEY_FILE, &key)?;
        }
        let mut keys = self.keys();
        if !keep {
            keys.clear();
        }
        keys.insert(0, key);
        Ok(())
    }
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Json<Value> {
    shared.fetches.fetch_add(1, Ordering::Relaxed);
    let keys: Vec<Value> = shared.keys().iter().map(IssuerKey::public_jwk).collect();
    Json(json!({ "keys": keys }))
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(json!({
        "issuer": shared.name,
        "jwks_uri": shared.jwks_url,
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

#[derive(Deserialize)]
struct Rotate {
    #[serde(default)]
    keep: bool,
}

async fn rotate(State(shared): State<Arc<Shared>>, Query(rotate): Query<Rotate>) -> (StatusCode, Json<Value>) {
    let change = move || -> Result<String, DevFault> {
        let key = IssuerKey::generate()?;
        let kid = key.kid().to_owned();
        shared.rotate_to(key, rotate.keep)?;
        Ok(kid)
    };
    match tokio::task::spawn_blocking(change).await {
        Ok(Ok(kid)) => (StatusCode::OK, Json(json!({ "kid": kid }))),
        Ok(Err(fault)) => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": fault.to_string() }))),
        Err(fault) => (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": fault.to_string() }))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::envoy;

    #[tokio::test]
    async fn publishes_its_keys_and_rotates_on_demand() {
        let temp = tempfile::tempdir().unwrap();
        let data = Data::create(temp.path()).unwrap();
        let key = data.issuer_key_or_new(KEY_FILE).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let issuer = Issuer::start(listener, "https://issuer.test", key.clone(), Some(data.clone())).unwrap();
        let published = async || envoy::get(issuer.addr, JWKS_PATH, &[]).await.unwrap();
        assert!(published().await.contains(key.kid()));

        issuer.rotate_to(IssuerKey::generate().unwrap(), true).unwrap();
        let second = issuer.key().unwrap();
        let both = published().await;
        assert!(both.contains(key.kid()) && both.contains(second.kid()));

        let answer = post_rotate(issuer.addr).await;
        let third = issuer.key().unwrap();
        assert!(answer.contains(third.kid()));
        let last = published().await;
        assert!(last.contains(third.kid()) && !last.contains(key.kid()) && !last.contains(second.kid()));
        assert_eq!(data.issuer_key(KEY_FILE).unwrap().unwrap().kid(), third.kid());
        assert_eq!(issuer.fetches(), 3);
        assert!(
            envoy::get(issuer.addr, "/.well-known/openid-configuration", &[]).await.unwrap().contains("issuer.test")
        );
    }

    async fn post_rotate(addr: SocketAddr) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"POST /dev/rotate HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

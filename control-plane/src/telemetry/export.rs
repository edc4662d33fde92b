//! Sends spans to a collector over HTTP. It must not know what is in them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::ExporterBuildError;

/// Most bytes of an answer that are read: it says what was not taken.
const MOST: usize = 64 * 1024;

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
pub enum ExportFault {
    /// There is no HTTP client.
    #[error("no HTTP client for traces: {0}")]
    Client(#[from] reqwest::Error),
    /// There is no exporter.
    #[error("no exporter for traces: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// The way to the collector.
#[derive(Debug)]
pub(super) struct Collector {
    client: reqwest::Client,
    /// Spans are sent from a thread that is not one of the runtime's.
    runtime: tokio::runtime::Handle,
    away: AtomicBool,
}

impl Collector {
    pub(super) fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        // An error says that a provider was installed before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(timeout)
            .no_proxy()
            .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, runtime: tokio::runtime::Handle::current(), away: AtomicBool::new(false) })
    }

    /// Says once that it is away, and once that it is back.
    fn note(&self, away: bool) {
        if self.away.swap(away, Ordering::Relaxed) != away {
            if away {
                tracing::warn!("the collector of traces does not take them; they are lost until it does");
            } else {
                tracing::info!("the collector of traces takes them again");
            }
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sent = self.runtime.spawn(send(client, request)).await.map_err(HttpError::from).and_then(|sent| sent);
        self.note(!sent.as_ref().is_ok_and(|answer| answer.status().is_success()));
        sent
    }
}

async fn send(client: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(reqwest::Request::try_from(request)?).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len().saturating_add(chunk.len()) > MOST {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        *headers = answer.headers().clone();
    }
    Ok(response.body(Bytes::from(body))?)
}

//! Accepts connections, bounded in number and time, and lets them finish when it is told to stop. It must not know what
//! is served.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use hyper::{
    Request,
    body::Incoming,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

use super::tls::{Certified, Tls};

/// How many connections may wait until they are accepted. All Envoys that have lost a control plane come back at once, and
/// the system drops what does not fit: it tries again by itself, after a second, then after three. Where the system's own
/// bound is lower (`net.core.somaxconn`), that holds.
const BACKLOG: u32 = 16 * 1024;
/// How long a client may take to send a request's headers, or to say anything at all.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is said that all connections are taken.
const FULL_INTERVAL: Duration = Duration::from_secs(10);
/// Largest headers of a request.
const MAX_HEADERS: usize = 64 * 1024;

/// Listens at an address.
///
/// # Errors
/// As the system says.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a restart does not wait for connections of the former process to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves at most so many connections, in TLS where it is given, until `stopping` becomes true, then lets requests in
/// flight finish within `deadline`.
pub async fn serve(
    listener: TcpListener,
    connections: usize,
    tls: Option<Tls>,
    router: Router,
    mut stopping: watch::Receiver<bool>,
    deadline: Duration,
) {
    let graceful = GracefulShutdown::new();
    let mut places = Places { free: Arc::new(Semaphore::new(connections)), of: connections, said: None };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADERS);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(MAX_HEADERS as u32);
    let builder = Arc::new(builder);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &mut places) => accepted,
            // An error says that whoever could tell us to stop is gone: that is a stop, too.
            _ = stopping.wait_for(|stopping| *stopping) => break,
        };
        let Some((stream, place)) = accepted else { continue };
        let conversation =
            Conversation { builder: Arc::clone(&builder), router: router.clone(), graceful: graceful.watcher() };
        let (tls, mut stopped) = (tls.clone(), stopping.clone());
        tokio::spawn(async move {
            let _place = place;
            // Silence from the start would otherwise hold a place for ever, and hold up a stop.
            let spoken = tokio::select! {
                spoken = tokio::time::timeout(HEADER_TIMEOUT, stream.readable()) => matches!(spoken, Ok(Ok(()))),
                _ = stopped.wait_for(|stopped| *stopped) => false,
            };
            if !spoken {
                return;
            }
            let Some(tls) = tls else { return conversation.hold(stream, None).await };
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(HEADER_TIMEOUT, tls.accept(stream)) => shaken,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            match shaken {
                Ok(Ok((stream, certified))) => conversation.hold(stream, certified).await,
                Ok(Err(error)) => tracing::info!(%error, "no TLS with a client"),
                Err(_) => tracing::debug!("a client did not finish its TLS handshake in time"),
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(deadline, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
}

/// What one connection needs.
struct Conversation {
    builder: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    graceful: Watcher,
}

impl Conversation {
    /// Answers what comes on a connection until it ends. Every request says whether its client has shown a certificate.
    async fn hold<S>(self, stream: S, certified: Option<Certified>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            if let Some(certified) = certified {
                request.extensions_mut().insert(certified);
            }
            router.call(request)
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = self.graceful.watch(connection.into_owned()).await {
            tracing::debug!(%error, "connection ended");
        }
    }
}

/// Places for connections.
struct Places {
    free: Arc<Semaphore>,
    of: usize,
    /// When it was said last that there is none.
    said: Option<Instant>,
}

impl Places {
    /// Takes one, as soon as there is one. Whoever waits for it in front of the door gets no answer, so the log says so.
    async fn take(&mut self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        if self.said.is_none_or(|said| said.elapsed() > FULL_INTERVAL) {
            self.said = Some(Instant::now());
            tracing::warn!(connections = self.of, "all connections of a listener are taken: who comes now waits");
        }
        // The semaphore is never closed.
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

async fn accept(listener: &TcpListener, places: &mut Places) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    match listener.accept().await {
        Ok((stream, _)) => {
            // Small answers should not wait for an acknowledgement; where that cannot be set they do.
            let _ = stream.set_nodelay(true);
            Some((stream, places.take().await?))
        }
        Err(error) => {
            // Out of file descriptors, or a connection that is gone already: try again in a moment.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

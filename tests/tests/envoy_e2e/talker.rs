//! A backend that answers while it is still being asked: each piece of a body is sent back as it comes, an upgraded
//! connection gives every byte back, and a call of gRPC ends with trailers. It must not know Tollgate.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::{
    body::{Body, Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpListener, task::JoinSet};

/// A running backend. It ends when this is dropped.
pub(crate) struct Talker {
    pub(crate) addr: SocketAddr,
    _task: JoinSet<()>,
}

/// Gives back what comes in, and ends with trailers where there are any.
struct Back {
    incoming: Option<Incoming>,
    trailers: Option<HeaderMap>,
}

impl Body for Back {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(incoming) = &mut self.incoming {
            match Pin::new(incoming).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                // Trailers of the request are not the answer's.
                Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => {}
                Poll::Ready(Some(frame)) => return Poll::Ready(Some(frame)),
                Poll::Ready(None) => {}
            }
            self.incoming = None;
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Talker {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                connections.spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // A client that leaves is nothing that this backend has to say something about.
                    drop(builder.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(talk)).await);
                });
            }
        });
        Self { addr, _task: task }
    }
}

/// Says in which version of HTTP and as whom it was asked.
async fn talk(mut request: Request<Incoming>) -> Result<Response<Back>, Infallible> {
    let mut answer = Response::new(Back { incoming: None, trailers: None });
    let asked = HeaderValue::from_str(&format!("{:?}", request.version())).unwrap();
    answer.headers_mut().insert("x-asked-in", asked);
    if let Some(user) = request.headers().get("x-auth-user-id").cloned() {
        answer.headers_mut().insert("x-asked-by", user);
    }
    if let Some(protocol) = request.headers().get(header::UPGRADE).cloned() {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        answer.headers_mut().insert(header::UPGRADE, protocol);
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgrade.await.unwrap()));
            // It ends when the client leaves, in whichever way.
            drop(tokio::io::copy(&mut read, &mut write).await);
        });
        return Ok(answer);
    }
    if let Some(kind) = request.headers().get(header::CONTENT_TYPE).cloned() {
        let grpc = kind.as_bytes().starts_with(b"application/grpc");
        answer.body_mut().trailers = grpc.then(|| {
            HeaderMap::from_iter(
                [("grpc-status", "0"), ("x-last", "yes")]
                    .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))),
            )
        });
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    answer.body_mut().incoming = Some(request.into_body());
    Ok(answer)
}

//! An external authorization server that always says yes, over HTTP and over gRPC, on one port. It must not look at a
//! request.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::{
    Request, Response,
    body::{Bytes, Frame, Incoming},
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tokio::net::TcpListener;

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// `envoy.service.auth.v3.CheckResponse` with an empty status, which is OK, and an empty `ok_response`, after the five
/// bytes that begin a message of gRPC.
const YES: &[u8] = &[0, 0, 0, 0, 4, 0x0a, 0, 0x1a, 0];

/// Serves for as long as this process lives.
pub(crate) async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = async move {
                let builder = Builder::new(TokioExecutor::new());
                // Envoy closes it when it ends.
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
            };
            tokio::spawn(connection);
        }
    });
    addr
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let is_grpc =
        request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        return Ok(Response::new(Full::new(Bytes::new()).boxed()));
    }
    // The message has to be read: the stream would be reset otherwise.
    let _ = request.into_body().collect().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(Bytes::from_static(YES))), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(futures_util::stream::iter(frames)).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

//! A backend that answers with what reached it. It must not know Tollgate: it shows what any backend would see.

use std::net::{SocketAddr, TcpListener};

use axum::{Json, Router, body::Body, extract::Request, http::HeaderMap};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

/// A running echo backend. It ends when this is dropped.
#[derive(Debug)]
pub struct Echo {
    /// Where it listens.
    pub addr: SocketAddr,
    _task: JoinSet<()>,
}

impl Echo {
    /// Serves on a non-blocking listener.
    ///
    /// # Errors
    /// If the listener cannot be used.
    pub fn start(listener: TcpListener) -> std::io::Result<Self> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let addr = listener.local_addr()?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            let served = axum::serve(listener, Router::new().fallback(echo)).await;
            drop(served.inspect_err(|fault| tracing::error!(%fault, "the echo backend has ended")));
        });
        Ok(Self { addr, _task: task })
    }
}

/// The answer, in the order in which people read it.
#[derive(Debug, Serialize)]
struct Seen {
    method: String,
    path: String,
    headers: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_error: Option<String>,
}

async fn echo(request: Request) -> Json<Seen> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str()).to_owned();
    let (method, headers) = (parts.method.to_string(), headers(&parts.headers));
    let (body_bytes, body_error) = match count(body).await {
        Ok(bytes) => (Some(bytes), None),
        Err(fault) => (None, Some(fault)),
    };
    Json(Seen { method, path, headers, body_bytes, body_error })
}

/// Every header: a text, or a list of texts where it came more than once. Bytes that are not ASCII stand for the
/// character of the same number, so nothing is lost.
fn headers(map: &HeaderMap) -> Map<String, Value> {
    let mut out = Map::new();
    for name in map.keys() {
        let text = |bytes: &[u8]| Value::from(bytes.iter().copied().map(char::from).collect::<String>());
        let mut values: Vec<Value> = map.get_all(name).iter().map(|value| text(value.as_bytes())).collect();
        let one = if values.len() == 1 { values.pop() } else { None };
        out.insert(name.as_str().to_owned(), one.unwrap_or(Value::Array(values)));
    }
    out
}

/// Counts the body as it streams by, whatever its size.
async fn count(body: Body) -> Result<u64, String> {
    let mut body = std::pin::pin!(body);
    let mut bytes = 0u64;
    while let Some(frame) = std::future::poll_fn(|cx| axum::body::HttpBody::poll_frame(body.as_mut(), cx)).await {
        let frame = frame.map_err(|fault| fault.to_string())?;
        bytes = bytes.saturating_add(frame.data_ref().map_or(0, |data| data.len() as u64));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn shows_every_header_and_counts_the_body() {
        let request = Request::post("/a?b=c").header("x-one", &b"\xe9"[..]).header("x-two", "1").header("x-two", "2");
        let Json(answer) = echo(request.body(Body::from(vec![0; 100_000])).unwrap()).await;
        let expected = json!({
            "method": "POST", "path": "/a?b=c", "body_bytes": 100_000,
            "headers": { "x-one": "\u{e9}", "x-two": ["1", "2"] },
        });
        assert_eq!(serde_json::to_value(answer).unwrap(), expected);
    }
}

//! What is more than one request and one answer passes the filter: websockets, gRPC, HTTP/2, bodies that stream. And what
//! has no credential does not, in the words of its protocol.

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Method, Request, Response};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tollgate::dev::shipped;
use tollgate_tests::{
    http::{self as http1, Connection},
    stack::{Options, Stack},
    wait::{PATIENCE, until},
};

use crate::talker::Talker;

/// Everything, with a backend that talks, and the key of somebody.
struct Scene {
    stack: Stack,
    key: String,
    user: String,
    _talker: Talker,
}

impl Scene {
    async fn start() -> Self {
        let talker = Talker::start().await;
        let stack = Stack::start(Options { backend_port: Some(talker.addr.port()), ..Options::default() }).await;
        let user = stack.user("ada@example.com").await;
        let key = stack.api_key(&user, &[]).await.plain.expose().to_owned();
        Self { stack, key, user: user.id.as_str().to_owned(), _talker: talker }
    }
}

fn upgrade(path: &str) -> http1::Request {
    http1::Request::get(path)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_open_with_a_credential_and_not_without() {
    let scene = Scene::start().await;
    // Browsers cannot set headers of a websocket: there it is the cookie.
    let cookie = format!("__session={}", scene.stack.clerk_jwt("ada@example.com"));
    for request in [upgrade("/api/talk").api_key(&scene.key), upgrade("/web/talk").header("Cookie", cookie)] {
        let mut connection = Connection::open(scene.stack.envoy.addr).await.unwrap();
        connection.write(&request.bytes()).await.unwrap();
        let answer = connection.answer().await.unwrap();
        assert_eq!(answer.status, 101, "{}", answer.text());
        assert_eq!(answer.header("x-asked-by"), Some(&*scene.user));
        for message in [&b"one;"[..], b"\x00\xff two;", b"three;"] {
            connection.write(message).await.unwrap();
            assert_eq!(connection.up_to(b";").await.unwrap(), message);
        }
    }
    for (request, status, code) in [
        (upgrade("/api/talk"), 401, "missing_credential"),
        (upgrade("/api/talk").api_key("sk_nonsense"), 401, "api_key_malformed"),
        (upgrade("/reports/talk").api_key(&scene.key), 403, "scope_required"),
    ] {
        let answer = scene.stack.send(&request).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &code.into()), "{}", answer.text());
    }
}

/// One connection of HTTP/2.
struct Http2 {
    client: SendRequest<Bytes>,
    _task: JoinSet<()>,
}

impl Http2 {
    async fn open(scene: &Scene) -> Self {
        let stream = TcpStream::connect(scene.stack.envoy.addr).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move { drop(connection.await) });
        Self { client, _task: task }
    }

    /// Begins a call whose body is sent by and by.
    fn begin(&mut self, path: &str, kind: &str, key: Option<&str>) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder().method(Method::POST).uri(format!("http://app.test{path}"));
        request = request.header("content-type", kind).header("te", "trailers");
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        self.client.send_request(request.body(()).unwrap(), false).unwrap()
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("in time: nothing is held back")
}

/// The next piece of a body.
async fn piece(body: &mut RecvStream) -> Option<Bytes> {
    let piece = soon(body.data()).await?.unwrap();
    body.flow_control().release_capacity(piece.len()).unwrap();
    Some(piece)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// Sends pieces one by one, each only when the one before it has come back; returns the answer and its trailers.
async fn talk(http2: &mut Http2, scene: &Scene, kind: &str, pieces: usize) -> (Response<()>, Option<HeaderMap>) {
    talk_at(http2, scene, "/api/talk", kind, pieces).await
}

async fn talk_at(
    http2: &mut Http2,
    scene: &Scene,
    path: &str,
    kind: &str,
    pieces: usize,
) -> (Response<()>, Option<HeaderMap>) {
    let (answer, mut body) = http2.begin(path, kind, Some(&scene.key));
    body.send_data("piece 0".into(), pieces == 1).unwrap();
    let (head, mut back) = soon(answer).await.unwrap().into_parts();
    assert_eq!((head.status.as_u16(), text(&head.headers, "x-asked-by")), (200, &*scene.user));
    for number in 0..pieces {
        assert_eq!(piece(&mut back).await.unwrap(), format!("piece {number}"));
        if number + 1 < pieces {
            body.send_data(format!("piece {}", number + 1).into(), number + 2 == pieces).unwrap();
        }
    }
    assert!(piece(&mut back).await.is_none_or(|last| last.is_empty()));
    (Response::from_parts(head, ()), soon(back.trailers()).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_grpc_pass_with_their_trailers() {
    let scene = Scene::start().await;
    let mut http2 = Http2::open(&scene).await;
    for (kind, pieces) in [("application/grpc", 1), ("application/grpc+proto", 5)] {
        let (head, trailers) = talk(&mut http2, &scene, kind, pieces).await;
        assert_eq!((text(head.headers(), "content-type"), text(head.headers(), "x-asked-in")), (kind, "HTTP/2.0"));
        let trailers = trailers.expect("trailers");
        assert_eq!((text(&trailers, "grpc-status"), text(&trailers, "x-last")), ("0", "yes"));
    }
}

/// Routes that count beside the shipped ones.
const COUNTED: &str = r#"
[limits.seldom]
by   = "user"
rate = "1/day"
[[routes]]
path   = "/seldom/talk"
limits = ["seldom"]
[[routes]]
path = "/dear/talk"
cost = 1000000
[[routes]]
path = "/metered/talk"
cost = { body = "usage.total_tokens", reserve = 20 }
"#;

impl Scene {
    /// With [`COUNTED`], in force at every worker, and the one call that may come seldom used up.
    async fn counted() -> Self {
        let scene = Self::start().await;
        scene.stack.write_policy(&format!("{}{COUNTED}", shipped::POLICY));
        let request = http1::Request::get("/seldom/talk").api_key(&scene.key);
        let used_up = || async {
            for _ in 0..20 {
                if scene.stack.send(&request).await.status != 429 {
                    return None;
                }
            }
            Some(())
        };
        until("every worker has the rules", PATIENCE, used_up).await;
        scene
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_calls_of_grpc_say_so_in_grpc() {
    let scene = Scene::counted().await;
    let mut http2 = Http2::open(&scene).await;
    for (path, key, status, code) in [
        ("/api/talk", None, "16", "missing_credential"),
        ("/api/talk", Some("sk_nonsense"), "16", "api_key_malformed"),
        ("/reports/talk", Some(&*scene.key), "7", "scope_required"),
        ("/api/talk;v=1", Some(&*scene.key), "3", "ambiguous_path"),
        ("/nowhere", Some(&*scene.key), "7", "route_denied"),
        ("/seldom/talk", Some(&*scene.key), "8", "rate_limited"),
        ("/dear/talk", Some(&*scene.key), "8", "tokens_exhausted"),
    ] {
        for kind in ["application/grpc", "application/grpc+proto"] {
            // The body goes on: a refusal does not wait for its end.
            let (answer, _body) = http2.begin(path, kind, key);
            let (head, mut body) = soon(answer).await.unwrap().into_parts();
            assert_eq!(head.status.as_u16(), 200, "{code}: {:?}", head.headers);
            let kinds: Vec<_> = head.headers.get_all("content-type").iter().collect();
            assert_eq!(kinds, ["application/grpc"], "{code}");
            assert_eq!(text(&head.headers, "grpc-status"), status, "{code}");
            let message = text(&head.headers, "grpc-message");
            assert!(message.starts_with(&format!("{code}: ")) && message.ends_with('.'), "{message}");
            assert_eq!(text(&head.headers, "www-authenticate").is_empty(), status != "16");
            assert!(piece(&mut body).await.is_none_or(|piece| piece.is_empty()), "{code}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_stream_both_ways_in_http2_and_http1() {
    let scene = Scene::start().await;
    let mut http2 = Http2::open(&scene).await;
    let (head, trailers) = talk(&mut http2, &scene, "application/octet-stream", 20).await;
    assert_eq!((text(head.headers(), "x-asked-in"), trailers), ("HTTP/1.1", None));
    // Many at once, on one connection.
    let all = (0..50).map(|_| http2.begin("/api/talk", "text/plain", Some(&scene.key))).collect::<Vec<_>>();
    for (answer, mut body) in all {
        body.send_data("hello".into(), true).unwrap();
        let mut back = soon(answer).await.unwrap().into_body();
        assert_eq!(piece(&mut back).await.unwrap(), "hello");
    }

    let request = http1::Request::new("POST", "/api/talk").header("Transfer-Encoding", "chunked").api_key(&scene.key);
    let mut connection = Connection::open(scene.stack.envoy.addr).await.unwrap();
    connection.write(&[request.bytes(), b"6\r\nfirst;\r\n".to_vec()].concat()).await.unwrap();
    let head = String::from_utf8(connection.up_to(b"\r\n\r\n").await.unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains(&scene.user), "{head}");
    assert_eq!(connection.up_to(b";\r\n").await.unwrap(), b"6\r\nfirst;\r\n");
    connection.write(b"5\r\nlast;\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(connection.up_to(b"0\r\n\r\n").await.unwrap(), b"5\r\nlast;\r\n0\r\n\r\n");
}

/// The next piece is only sent once the last one has come back: a meter that kept one would end this in a timeout.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_metered_is_held_back_nowhere() {
    let scene = Scene::counted().await;
    let mut http2 = Http2::open(&scene).await;
    for kind in ["text/event-stream", "application/json"] {
        let (head, _) = talk_at(&mut http2, &scene, "/metered/talk", kind, 20).await;
        assert_eq!(text(head.headers(), "content-type"), kind);
    }
    // It was metered: what says nothing of its cost costs the least there is.
    let user = tollgate::domain::UserId::new(&scene.user);
    let settled = || async {
        let balance = tollgate::service::credits::balance(scene.stack.app(), &user).await.ok()?;
        (balance.account.used == 2).then_some(())
    };
    until("both are charged", PATIENCE, settled).await;
}

/// A body larger than everything on its way may hold, both ways at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_passes_whole() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 128;
    let scene = Scene::start().await;
    let mut http2 = Http2::open(&scene).await;
    let (answer, mut body) = http2.begin("/api/talk", "application/octet-stream", Some(&scene.key));
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        let mut left = PIECE * PIECES;
        while left > 0 {
            body.reserve_capacity(left.min(PIECE));
            let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
            let size = room.min(left);
            left -= size;
            body.send_data(vec![b'x'; size].into(), left == 0).unwrap();
        }
    });
    let mut back = soon(answer).await.unwrap().into_body();
    let mut received = 0;
    while let Some(piece) = piece(&mut back).await {
        assert!(piece.iter().all(|&byte| byte == b'x'));
        received += piece.len();
    }
    assert_eq!(received, PIECE * PIECES);
    soon(sending.join_all()).await;
}

//! Both listeners: the edge secret, bounds, problems, health, metrics, ports that are taken.

use std::time::Duration;

use tollgate::{config::Config, serve};
use tollgate_tests::http::{Connection, Request, send};

use super::{SECRET, Server, config};

const EDGE_PATHS: [(&str, &str); 3] =
    [("GET", "/edge/v1/sync"), ("POST", "/edge/v1/resolve"), ("POST", "/edge/v1/refresh")];

#[tokio::test(flavor = "multi_thread")]
async fn without_the_edge_secret_nothing_is_told() {
    let server = Server::plain().await;
    let longer = format!("{SECRET}x");
    for (method, path) in EDGE_PATHS {
        let with = |value: &str| Request::new(method, path).header("Authorization", value);
        let attempts = [
            Request::new(method, path),
            with(""),
            with("Bearer"),
            with("Bearer "),
            with(SECRET),
            with(&format!("Basic {SECRET}")),
            with(&format!("Bearer {}", &SECRET[..SECRET.len() - 1])),
            with(&format!("Bearer {longer}")),
            with(&format!("Bearer {SECRET} ")).header("Authorization", "Bearer other"),
            Request::new(method, &format!("{path}?secret={SECRET}")),
            Request::new(method, path).header("X-Edge-Secret", SECRET),
        ];
        for attempt in attempts {
            let answer = send(server.running.edge_addr, &attempt).await.expect("an answer");
            assert_eq!(answer.status, 401, "{attempt:?}");
            assert_eq!(answer.json()["code"], "edge_secret_required");
            assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
            assert!(!answer.text().contains(SECRET));
        }
        let public = send(server.running.api_addr, &with(&format!("Bearer {SECRET}"))).await.expect("an answer");
        assert_eq!(public.status, 404, "the public listener does not have {path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_a_problem() {
    let server = Server::plain().await;
    let post = |body: &[u8]| Request::post("/edge/v1/resolve", body).header("Content-Type", "application/json");
    let large = vec![b' '; 17 * 1024];
    for (request, status, code) in [
        (Request::get("/nowhere"), 404, "not_found"),
        (Request::get("/edge/v1/resolve"), 405, "method_not_allowed"),
        (Request::post("/edge/v1/resolve", "{}"), 415, "unsupported_media_type"),
        (post(b""), 400, "invalid_request"),
        (post(b"{\"credential\":\"magic\"}"), 400, "invalid_request"),
        (post(b"{\"credential\":\"api_key\",\"hash\":\"short\"}"), 400, "invalid_request"),
        (post(b"\xff\xff"), 400, "invalid_request"),
        (post(&large), 413, "body_too_large"),
    ] {
        let answer = server.edge(request.clone().header("X-Request-Id", "abc-123")).await;
        assert_eq!(answer.status, status, "{request:?} {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()));
        assert_eq!(problem["request_id"], "abc-123");
        assert_eq!(problem["type"], format!("urn:tollgate:{code}"));
    }
    let odd = server.edge(Request::get("/nowhere").header("X-Request-Id", "a\"b<script>")).await;
    let id = odd.json()["request_id"].as_str().expect("an id").to_owned();
    assert!(
        id.len() == 22 && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        "a made id stands for a strange one: {id}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_need_no_secret() {
    let server = Server::plain().await;
    let get = |path: &'static str| send_get(server.running.edge_addr, path);
    assert_eq!(get("/healthz").await.status, 200);
    let ready = get("/readyz").await;
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (200, Some(true)));
    server.sync(None).await;
    let metrics = get("/metrics").await.text();
    for part in [
        "tollgate_requests_total{listener=\"edge\",route=\"/edge/v1/sync\",status=\"200\"} 1",
        "tollgate_requests_total{listener=\"edge\",route=\"/healthz\",status=\"200\"} 1",
        "tollgate_sync_connections 0",
        "tollgate_policy_current 1",
        "tollgate_request_seconds_bucket",
    ] {
        assert!(metrics.contains(part), "{part} in {metrics}");
    }
    server.stop().await;
}

async fn send_get(addr: std::net::SocketAddr, path: &str) -> tollgate_tests::http::Answer {
    send(addr, &Request::get(path)).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    type Take = fn(&mut Config, std::net::SocketAddr);
    let cases: [(Take, &str); 2] = [
        (|config, address| config.api_listen = address, "TOLLGATE_API_LISTEN"),
        (|config, address| config.edge_listen = address, "TOLLGATE_EDGE_LISTEN"),
    ];
    for (set, name) in cases {
        let (mut config, _folder) = config();
        set(&mut config, address);
        let fault = serve::start(config).await.expect_err("the port is taken").to_string();
        for part in [name, &address.to_string(), "another program has this port"] {
            assert!(fault.contains(part), "{part} in {fault}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_finishes_when_the_server_stops() {
    let server = Server::plain().await;
    let body = "{\"credential\":\"legacy\",\"subject\":\"nobody\"}";
    let whole =
        Request::post("/edge/v1/resolve", body).header("Content-Type", "application/json").bearer(SECRET).bytes();
    let mut connection = Connection::open(server.running.edge_addr).await.expect("a connection");
    let (first, rest) = whole.split_at(whole.len() - 10);
    connection.write(first).await.expect("written");
    // The server has read the headers once it counts the request as one that waits for its body; nothing shows that from
    // outside, so this gives it time. If it were too short the test would only be easier to pass wrongly by being refused.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopping = tokio::spawn(server.stop());
    tokio::time::sleep(Duration::from_millis(200)).await;
    connection.write(rest).await.expect("written");
    let answer = connection.answer().await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    tokio::time::timeout(Duration::from_secs(5), stopping).await.expect("it stops").expect("the task");
}

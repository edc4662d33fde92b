//! The control plane goes and comes back; Envoy is there before it. Whoever is known goes on, whoever is not waits or
//! is told to come again, and nobody gets in unchecked. Nothing touches Envoy.

use std::time::Duration;

use tokio::{task::JoinSet, time::Instant};
use tollgate_protocol::Code;
use tollgate_tests::{
    control_plane::Kind,
    http::{self, Request},
    stack::{Options, Stack},
    wait::{PATIENCE, until},
};

/// Connections enough that each of two workers has seen some.
const MANY: usize = 16;

async fn all(stack: &Stack, what: &str, request: &Request, status: u16) {
    for _ in 0..MANY {
        let answer = stack.send(request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_control_plane_is_away_the_known_go_on() {
    let mut stack = Stack::start(Options { control_plane: Kind::Program, ..Options::default() }).await;
    let (ada, bob) = (stack.user("ada@example.com").await, stack.user("bob@example.com").await);
    let (key, new_key) = (stack.api_key(&ada, &[]).await, stack.api_key(&bob, &[]).await);
    let known = [
        Request::get("/api/a").api_key(key.plain.expose()),
        Request::get("/api/a").bearer(&stack.legacy_jwt(ada.id.as_str())),
        Request::get("/api/a").bearer(&stack.clerk_jwt("grace@example.com")),
    ];
    let unknown = [
        Request::get("/api/a").api_key(new_key.plain.expose()),
        Request::get("/api/a").bearer(&stack.legacy_jwt(bob.id.as_str())),
        Request::get("/api/a").bearer(&stack.clerk_jwt("bob@example.com")),
    ];
    for request in &known {
        all(&stack, "at first", request, 200).await;
    }

    stack.stop_control_plane().await;
    for request in &known {
        all(&stack, "known, while it is away", request, 200).await;
    }
    // A new token of a known person is as good as the old one.
    let again = Request::get("/api/a").bearer(&stack.sign(&stack.clerk("grace@example.com").claim("jti", "other")));
    all(&stack, "a new token of a known person", &again, 200).await;
    for request in &unknown {
        let answer = stack.send(request).await;
        assert_eq!(answer.json()["code"], Code::IdentityUnavailable.as_str(), "{}", answer.text());
        assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{}", answer.text());
    }
    all(&stack, "no credential", &Request::get("/api/a"), 401).await;
    all(&stack, "a public route", &Request::get("/public/a"), 200).await;
    all(&stack, "a route that nobody may take", &Request::get("/nowhere"), 403).await;

    stack.start_control_plane().await;
    let start = Instant::now();
    for (request, what) in unknown.iter().zip(["an API key", "a legacy token", "a Clerk token"]) {
        let passes = || async { (stack.send(request).await.status == 200).then_some(()) };
        until(&format!("{what} passes"), Duration::from_secs(2), passes).await;
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "back after {took:?}");
    println!("the control plane came back: everybody was let through {took:?} after it was ready");
    // The feed goes on where it was: what happens now arrives.
    tollgate::service::keys::revoke(stack.app(), &ada.id, &key.key.id).await.unwrap();
    let refused = || async { (stack.send(&known[0]).await.status == 401).then_some(()) };
    until("a revocation after the outage", Duration::from_secs(3), refused).await;
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_control_plane_that_comes_later() {
    let options = Options {
        control_plane: Kind::Program,
        control_plane_later: true,
        // Longer than the usual two seconds, so that a slow machine does not decide this test.
        filter_settings: vec!["startup_hold_ms: 10000".to_owned()],
        ..Options::default()
    };
    let mut stack = Stack::start(options).await;
    let user = stack.user("ada@example.com").await;
    let (key, token) = (stack.api_key(&user, &[]).await, stack.legacy_jwt(user.id.as_str()));
    let mut waiting = JoinSet::new();
    for place in 0..MANY {
        let request = match place % 3 {
            0 => Request::get("/public/a"),
            1 => Request::get("/api/a").api_key(key.plain.expose()),
            _ => Request::post("/api/a", vec![b'x'; 100_000]).bearer(&token),
        };
        let addr = stack.envoy.addr;
        waiting.spawn(async move { http::send(addr, &request).await });
    }
    let all_wait =
        || async { (stack.envoy.stat("http.tollgate.downstream_rq_active").await == MANY as u64).then_some(()) };
    until("all requests wait", PATIENCE, all_wait).await;

    stack.start_control_plane().await;
    let start = Instant::now();
    while let Some(answer) = waiting.join_next().await {
        let answer = answer.unwrap().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    println!("{MANY} requests that had waited passed {:?} after the control plane was ready", start.elapsed());
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_while_they_wait_harm_nothing() {
    let stack = Stack::start(Options { control_plane: Kind::Program, ..Options::default() }).await;
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await;
    let patient = Request::get("/api/a").bearer(&stack.legacy_jwt(user.id.as_str()));
    let mut requests = Vec::new();
    for place in 0..60 {
        requests.push(match place % 2 {
            0 => Request::get("/api/a").bearer(&stack.clerk_jwt(&format!("new{}@example.com", place % 7))),
            _ => Request::get("/api/a").api_key(key.plain.expose()),
        });
    }
    let came = stack.envoy.stat("http.tollgate.downstream_rq_total").await;
    // It runs, and does not answer.
    stack.freeze_control_plane(true);
    let mut leaving = Vec::new();
    for request in &requests {
        let mut connection = http::Connection::open(stack.envoy.addr).await.unwrap();
        connection.write(&request.bytes()).await.unwrap();
        leaving.push(connection);
    }
    let http = async |name: &str| stack.envoy.stat(&format!("http.tollgate.{name}")).await;
    let all_came = || async { (http("downstream_rq_total").await >= came + 60).then_some(()) };
    until("all requests came", PATIENCE, all_came).await;
    drop(leaving);
    until("all are gone", PATIENCE, || async { (http("downstream_rq_active").await == 0).then_some(()) }).await;
    let left = http("downstream_cx_destroy_remote_active_rq").await;
    println!("{left} of 60 clients left while their request waited");
    assert!(left >= 10, "{left} clients left while their request waited");
    stack.freeze_control_plane(false);

    let passes = || async { (stack.send(&patient).await.status == 200).then_some(()) };
    until("others are let through", Duration::from_secs(5), passes).await;
    for _ in 0..MANY {
        let answer = stack.send(&Request::get("/api/a").api_key(key.plain.expose())).await;
        assert_eq!(answer.status, 200, "the key that the leaving ones had asked for: {}", answer.text());
    }
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

//! Many first requests of one new person at one moment.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tollgate_protocol::headers;
use tollgate_tests::{
    echo::Seen,
    http::{Connection, Request},
    stack::{Options, Stack},
};

const CROWD: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_first_requests_makes_one_user_and_one_call_per_worker() {
    let workers = 2;
    let stack = Stack::start(Options { workers, ..Options::default() }).await;
    let before = stack.counted("tollgate_resolves_total", &[]).await;
    // Tokens of their own, as browsers' tabs have them; the connections are there before the first request.
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let request = Request::get("/web/a").bearer(&stack.clerk_jwt("new@example.com"));
        crowd.push((Connection::open(stack.envoy.addr).await.unwrap(), request));
    }
    let mut answers = JoinSet::new();
    for (mut connection, request) in crowd {
        answers.spawn(async move { connection.send(&request).await.unwrap() });
    }
    let seen: Vec<Seen> = answers.join_all().await.iter().map(Seen::of).collect();
    let users: BTreeSet<_> = seen.iter().map(|seen| seen.header(headers::USER_ID).unwrap().to_owned()).collect();
    assert_eq!((seen.len(), users.len()), (CROWD, 1), "{users:?}");

    let resolves = stack.counted("tollgate_resolves_total", &["credential=\"clerk\""]).await - before;
    let calls = stack.envoy.stat("wasmcustom.tollgate_resolve_calls_total").await;
    println!("{CROWD} first requests of one new user: 1 user, {resolves} resolve calls with {workers} workers");
    assert!((1.0..=f64::from(workers)).contains(&resolves), "{resolves} calls: {}", stack.metrics().await);
    assert!((1..=u64::from(workers)).contains(&calls), "Envoy counts {calls} calls");
    let sessions = users.iter().next().unwrap();
    let found = tollgate::service::users::get_by_email(stack.app(), "new@example.com").await.unwrap();
    assert_eq!(found.id.as_str(), sessions);
}

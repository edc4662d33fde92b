//! What changes reaches a running Envoy within a second, without a restart. Each test measures it and prints it.

use std::time::Duration;

use tokio::task::JoinSet;
use tollgate::{domain::UserPatch, service::users};
use tollgate_protocol::Code;
use tollgate_tests::{
    http::{self, Request},
    stack::{Options, Stack, new_key},
    wait::until,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// So many connections in a row: with two workers, each of them has answered with a probability of 1 - 2^-15.
const IN_A_ROW: usize = 16;

/// Waits until every worker answers so.
pub(crate) async fn everywhere(
    stack: &Stack,
    what: &str,
    within: Duration,
    request: &Request,
    expect: Result<(), Code>,
) -> Duration {
    let answers = || async {
        for _ in 0..IN_A_ROW {
            let answer = stack.send(request).await;
            let code = answer.json()["code"].as_str().and_then(Code::from_word);
            let as_expected = match expect {
                Ok(()) => answer.status == 200,
                Err(expected) => code == Some(expected),
            };
            if !as_expected {
                return None;
            }
        }
        Some(())
    };
    until(what, within, answers).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_within_a_second() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user("ada@example.com").await;
    let session = stack.legacy_jwt(user.id.as_str());
    let made = stack
        .send(
            &Request::post("/api/keys", r#"{"name":"extension"}"#)
                .header("Content-Type", "application/json")
                .bearer(&session),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let (key, id) = (made.json()["key"].as_str().unwrap().to_owned(), made.json()["id"].as_str().unwrap().to_owned());
    let request = Request::get("/extension/a").api_key(&key);
    everywhere(&stack, "the key is good", SECOND, &request, Ok(())).await;

    let gone = stack.send(&Request::new("DELETE", &format!("/api/keys/{id}")).bearer(&session)).await;
    assert_eq!(gone.status, 204, "{}", gone.text());
    let took = everywhere(&stack, "the key is refused", SECOND, &request, Err(Code::ApiKeyRevoked)).await;
    println!("revoking an API key reached every worker of Envoy in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_of_the_issuer_is_in_force_within_a_second() {
    let stack = Stack::start(Options::default()).await;
    let old = Request::get("/web/a").bearer(&stack.clerk_jwt("ada@example.com"));
    everywhere(&stack, "the old key is good", SECOND, &old, Ok(())).await;

    let key = new_key();
    stack.issuer.rotate_to(key, false).unwrap();
    let new = Request::get("/web/a").bearer(&stack.clerk_jwt("ada@example.com"));
    let start = tokio::time::Instant::now();
    let first = stack.send(&new).await;
    assert_eq!(first.status, 200, "the very first token of the new key waits for it: {}", first.text());
    let took = start.elapsed();
    everywhere(&stack, "the new key is good", SECOND, &new, Ok(())).await;
    let all = start.elapsed();
    assert!(all < SECOND, "rotation took {all:?}");
    // From here on, on every worker. The refusal itself may come later: it could be that its key is yet to come.
    let mut refused = JoinSet::new();
    for _ in 0..IN_A_ROW {
        let (addr, old) = (stack.envoy.addr, old.clone());
        refused.spawn(async move { http::send(addr, &old).await.unwrap() });
    }
    for answer in refused.join_all().await {
        assert_eq!(answer.json()["code"], Code::TokenUnknownKey.as_str(), "{}", answer.text());
    }
    println!(
        "rotating the issuer's key: first new token let through in {took:?}; on every worker, the old one gone, in {all:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deactivated_user_is_refused_within_a_second() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await;
    let by_key = Request::get("/api/a").api_key(key.plain.expose());
    let by_token = Request::get("/api/a").bearer(&stack.legacy_jwt(user.id.as_str()));
    for request in [&by_key, &by_token] {
        everywhere(&stack, "the user is good", SECOND, request, Ok(())).await;
    }
    for (is_active, expect) in [(false, Err(Code::UserInactive)), (true, Ok(()))] {
        let patch = UserPatch { is_active: Some(is_active), ..UserPatch::default() };
        users::update(stack.app(), &user.id, &patch, None).await.unwrap();
        for (what, request) in [("an API key", &by_key), ("a token", &by_token)] {
            let took = everywhere(&stack, "the change is in force", SECOND, request, expect).await;
            println!("is_active = {is_active} reached every worker of Envoy, for {what}, in {took:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_holds_one_connection_however_often_it_is_told_something() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user("ada@example.com").await;
    let stat = async |name: &str| stack.envoy.stat(&format!("cluster.tollgate_control_plane.{name}")).await;
    for change in 1..=5 {
        let told = stat("upstream_rq_200").await;
        let patch = UserPatch { name: Some(Some(format!("Ada {change}"))), ..UserPatch::default() };
        users::update(stack.app(), &user.id, &patch, None).await.expect("a change");
        let heard = || async { (stat("upstream_rq_200").await > told).then_some(()) };
        until("Envoy is told", SECOND, heard).await;
        let holds = || async { (stat("upstream_rq_active").await == 1).then_some(()) };
        until("it asks again", SECOND, holds).await;
        assert_eq!(stat("upstream_cx_active").await, 1, "after {change} changes");
    }
}

//! The older sign-in through Envoy, and what takes its tokens back: within a second, on every worker. Each test measures
//! it and prints it.

use serde_json::{Value, json};
use tollgate::{domain::Stamp, store};
use tollgate_protocol::{Code, Revocation, Revoked, headers};
use tollgate_tests::{
    http::{Answer, Request},
    mongod::{self, Cluster},
    stack::{Options, Stack},
    wait::PATIENCE,
};

use super::changes::{SECOND, everywhere};

const PASSWORD: &str = "correct horse battery staple";

async fn post(stack: &Stack, path: &str, body: Value) -> Answer {
    stack.send(&Request::post(path, body.to_string()).header("Content-Type", "application/json")).await
}

/// Signs in, and gives what the client gets.
async fn login(stack: &Stack, email: &str) -> Value {
    let answer = post(stack, "/auth/login", json!({ "email": email, "password": PASSWORD })).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn bearer(tokens: &Value) -> Request {
    Request::get("/api/a").bearer(tokens["access_token"].as_str().expect("a token"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_good_until_the_logout_and_so_is_every_other_token() {
    login_and_logout(Options::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_on_mongodb() {
    let cluster = Cluster::shared().await;
    let options = || Options { store: Some(cluster.location(&mongod::fresh_name())), ..Options::default() };
    login_and_logout(options()).await;
    end_sessions(options()).await;
}

async fn login_and_logout(options: Options) {
    let stack = Stack::start(options).await;
    let ada = stack.user_with_password("ada@example.com", PASSWORD).await;
    stack.user_with_password("bob@example.com", PASSWORD).await;
    let (tokens, bobs) = (login(&stack, "ada@example.com").await, login(&stack, "bob@example.com").await);
    let seen = stack.seen(&bearer(&tokens)).await;
    assert_eq!(seen.header(headers::METHOD), Some("legacy"));
    assert_eq!(seen.header(headers::USER_ID), Some(ada.id.as_str()));
    assert_eq!(seen.header(headers::SESSION_ID), tokens["session_id"].as_str());
    let key = stack.api_key(&ada, &[]).await;
    let by_key = Request::get("/api/a").api_key(key.plain.expose());
    // A token of the older system itself, and one that a login anywhere else has given.
    let (elders, others) = (stack.legacy_jwt(ada.id.as_str()), login(&stack, "ada@example.com").await);
    let all = [bearer(&tokens), bearer(&others), Request::get("/api/a").bearer(&elders)];
    for request in all.iter().chain([&by_key]) {
        everywhere(&stack, "it is good", PATIENCE, request, Ok(())).await;
    }

    let out = Request::new("POST", "/auth/logout").bearer(tokens["access_token"].as_str().expect("a token"));
    let answer = stack.send(&out).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    for request in &all {
        let took = everywhere(&stack, "it is refused", SECOND, request, Err(Code::TokenRevoked)).await;
        println!("a logout reached every worker of Envoy in {took:?}");
    }
    // Signing in again, perhaps within the same second, gives a token that is good; others are not concerned.
    let again = login(&stack, "ada@example.com").await;
    for request in [&bearer(&again), &bearer(&bobs), &by_key] {
        everywhere(&stack, "it is good", SECOND, request, Ok(())).await;
    }
    let refreshed = post(&stack, "/auth/refresh", json!({ "refresh_token": tokens["refresh_token"] })).await;
    assert_eq!((refreshed.status, &refreshed.json()["code"]), (401, &json!("refresh_refused")));
    assert_eq!(stack.envoy.runtime_failures().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_session_is_refused_within_a_second_and_others_are_not() {
    end_sessions(Options::default()).await;
}

async fn end_sessions(options: Options) {
    let stack = Stack::start(options).await;
    stack.user_with_password("ada@example.com", PASSWORD).await;
    let (laptop, phone) = (login(&stack, "ada@example.com").await, login(&stack, "ada@example.com").await);
    for tokens in [&laptop, &phone] {
        everywhere(&stack, "it is good", PATIENCE, &bearer(tokens), Ok(())).await;
    }
    let by_phone =
        |method: &str, path: &str| Request::new(method, path).bearer(phone["access_token"].as_str().expect("a token"));
    let listed = stack.send(&by_phone("GET", "/api/sessions")).await.json();
    let current: Vec<bool> =
        listed["sessions"].as_array().expect("sessions").iter().map(|one| one["current"] == true).collect();
    assert_eq!(current, [true, false], "{listed}");
    // What Envoy saw, which is some address of this machine, shortened to its network.
    assert!(listed["sessions"][0]["address"].as_str().is_some_and(|address| address.ends_with("/24")), "{listed}");

    let path = format!("/api/sessions/{}", laptop["session_id"].as_str().expect("a session"));
    assert_eq!(stack.send(&by_phone("DELETE", &path)).await.status, 204);
    let took = everywhere(&stack, "it is refused", SECOND, &bearer(&laptop), Err(Code::TokenRevoked)).await;
    println!("ending a session reached every worker of Envoy in {took:?}");
    everywhere(&stack, "it is good", SECOND, &bearer(&phone), Ok(())).await;

    // A refresh token that is used twice ends its session: two parties have it.
    let first = phone["refresh_token"].clone();
    let second = post(&stack, "/auth/refresh", json!({ "refresh_token": first })).await.json();
    let third = post(&stack, "/auth/refresh", json!({ "refresh_token": second["refresh_token"] })).await.json();
    everywhere(&stack, "it is good", SECOND, &bearer(&third), Ok(())).await;
    let reused = post(&stack, "/auth/refresh", json!({ "refresh_token": first })).await;
    assert_eq!(reused.status, 401, "{}", reused.text());
    for tokens in [&phone, &second, &third] {
        let took = everywhere(&stack, "it is refused", SECOND, &bearer(tokens), Err(Code::TokenRevoked)).await;
        println!("a refresh token used twice: its session was refused on every worker of Envoy in {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_clerk_can_be_ended_at_the_edge() {
    let stack = Stack::start(Options::default()).await;
    let with_session = |session: &str| stack.sign(&stack.clerk("ada@example.com").claim("sid", session));
    let (one, other) = (with_session("sess_one"), with_session("sess_other"));
    let ask = |token: &str| Request::get("/web/a").bearer(token);
    for token in [&one, &other] {
        everywhere(&stack, "it is good", PATIENCE, &ask(token), Ok(())).await;
    }
    let end = |session: &str| Request::new("DELETE", &format!("/api/sessions/{session}")).bearer(&one);
    assert_eq!(stack.send(&end("sess_other")).await.status, 404, "only the caller's own is known to be theirs");
    assert_eq!(stack.send(&end("sess_one")).await.status, 204);
    let took = everywhere(&stack, "it is refused", SECOND, &ask(&one), Err(Code::TokenRevoked)).await;
    println!("ending a session of Clerk reached every worker of Envoy in {took:?}");
    everywhere(&stack, "it is good", SECOND, &ask(&other), Ok(())).await;
    everywhere(&stack, "newer ones too", SECOND, &ask(&with_session("sess_one")), Err(Code::TokenRevoked)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_revoked_before_is_known_to_an_envoy_that_starts() {
    let mut stack = Stack::start(Options { control_plane_later: true, ..Options::default() }).await;
    let ada = stack.user("ada@example.com").await;
    let store = store::open(&stack.config.store).await.expect("the store opens");
    let now = tollgate::domain::Timestamp::from_seconds(i64::try_from(stack.now()).expect("a time"));
    // Enough of them for every page.
    for number in 0..200 {
        let id = format!("s{number}");
        let revocation = Revocation { what: Revoked::Session, issuer: None, id, until: stack.now() + 600 };
        store.revoke(&revocation, &Stamp::system(now)).await.expect("revoked");
    }
    stack.start_control_plane().await;
    let of = |session: &str| {
        Request::get("/api/a").bearer(&stack.sign_legacy(&stack.legacy(ada.id.as_str()).claim("sid", session)))
    };
    everywhere(&stack, "a session that goes on", PATIENCE, &of("other"), Ok(())).await;
    for number in 0..200 {
        let answer = stack.send(&of(&format!("s{number}"))).await;
        assert_eq!(answer.json()["code"], Code::TokenRevoked.as_str(), "{number}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_key_of_our_own_are_good_beside_those_of_the_shared_secret() {
    let stack = Stack::start(Options { own_key: true, ..Options::default() }).await;
    let ada = stack.user_with_password("ada@example.com", PASSWORD).await;
    let tokens = login(&stack, "ada@example.com").await;
    everywhere(&stack, "our key's", PATIENCE, &bearer(&tokens), Ok(())).await;
    let elders = Request::get("/api/a").bearer(&stack.legacy_jwt(ada.id.as_str()));
    everywhere(&stack, "the shared secret's", PATIENCE, &elders, Ok(())).await;
    let set = stack.send(&Request::get("/.well-known/jwks.json")).await.json();
    let kids: Vec<&str> = set["keys"].as_array().expect("keys").iter().filter_map(|key| key["kid"].as_str()).collect();
    assert!(kids.len() == 2 && kids[0] != kids[1], "one for assertions, one for tokens: {set}");
}

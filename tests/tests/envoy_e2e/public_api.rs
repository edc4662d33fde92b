//! Tollgate's own public API, through Envoy: it believes the assertion that the filter signs, and nothing else.

use serde_json::json;
use tollgate_protocol::headers;
use tollgate_tests::{
    http::{self, Request},
    stack::{Options, Stack},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_client_can_ask_who_it_is() {
    let stack = Stack::start(Options::default()).await;
    let user = stack.user("ada@example.com").await;
    let key = stack.api_key(&user, &[]).await;
    let me = || Request::get("/api/me");
    for (request, method) in [
        (me().api_key(key.plain.expose()), "api_key"),
        (me().bearer(key.plain.expose()), "api_key"),
        (me().bearer(&stack.clerk_jwt("ada@example.com")), "clerk"),
        (me().bearer(&stack.legacy_jwt(user.id.as_str())), "legacy"),
    ] {
        let answer = stack.send(&request).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        let body = answer.json();
        let told = (&body["id"], &body["email"], &body["method"]);
        assert_eq!(told, (&json!(user.id.as_str()), &json!("ada@example.com"), &json!(method)));
    }
    assert_eq!(stack.send(&me()).await.status, 401);
    // Past Envoy, nothing that a client can say is believed.
    let forged =
        me().header(headers::USER_ID, user.id.as_str()).header(headers::ASSERTION, "a.b.c").api_key(key.plain.expose());
    assert_eq!(http::send(stack.config.api_listen, &forged).await.unwrap().status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_issued_listed_and_revoked() {
    let stack = Stack::start(Options::default()).await;
    let token = stack.clerk_jwt("ada@example.com");
    let send = async |request: Request| stack.send(&request.bearer(&token)).await;
    let new = Request::post("/api/keys", json!({ "name": "laptop", "scopes": ["reports:read"] }).to_string());
    let made = send(new.header("Content-Type", "application/json")).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let (id, key) = (made.json()["id"].as_str().unwrap().to_owned(), made.json()["key"].as_str().unwrap().to_owned());
    let report = || Request::get("/reports/a").api_key(&key);
    let seen = stack.seen(&report()).await;
    assert_eq!((seen.header(headers::SCOPES), seen.header(headers::KEY_ID)), (Some("reports:read"), Some(id.as_str())));

    let listed = send(Request::get("/api/keys")).await;
    assert_eq!(listed.json()["keys"][0]["id"], id.as_str());
    assert!(!listed.text().contains(&key), "a key is shown once");
    // Another person cannot revoke it, and is not told that it exists.
    let other = Request::new("DELETE", &format!("/api/keys/{id}")).bearer(&stack.clerk_jwt("bob@example.com"));
    assert_eq!(stack.send(&other).await.status, 404);
    assert_eq!(stack.send(&report()).await.status, 200);
    assert_eq!(send(Request::new("DELETE", &format!("/api/keys/{id}"))).await.status, 204);
    assert_eq!(send(Request::get("/api/keys")).await.json()["keys"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn assertion_keys_are_public() {
    let stack = Stack::start(Options::default()).await;
    let answer = stack.send(&Request::get("/.well-known/jwks.json")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let key = &answer.json()["keys"][0];
    assert_eq!((&key["kty"], &key["crv"], &key["d"]), (&json!("OKP"), &json!("Ed25519"), &json!(null)), "{key}");
}

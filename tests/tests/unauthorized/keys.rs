//! What a believed caller may do with keys: their own only, and no more than they may themselves.

use serde_json::{Value, json};
use tollgate::{domain::UserPatch, service::users};
use tollgate_protocol::api_key::{Form, form};
use tollgate_tests::http::{Answer, Request};

use super::World;

impl World {
    async fn call(&self, method: &str, path: &str, claims: &Value, body: Option<Value>) -> Answer {
        let request = match body {
            Some(body) => Request::post(path, body.to_string()).header("Content-Type", "application/json"),
            None => Request::new(method, path),
        };
        self.ask(request.header("x-auth-assertion", self.signer.sign(claims))).await
    }

    async fn issue(&self, claims: &Value, body: Value) -> Answer {
        self.call("POST", "/api/keys", claims, Some(body)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_key_is_not_there() {
    let world = World::start().await;
    let claims = world.adas_claims();
    for id in [world.bobs_key.key.id.as_str(), "key_unknown", "x", "%00", "%ff", "..", &"k".repeat(3000)] {
        let answer = world.call("DELETE", &format!("/api/keys/{id}"), &claims, None).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("not_found")), "{id}");
    }
    let listed = world.call("GET", "/api/keys", &claims, None).await;
    let ids: Vec<_> = listed.json()["keys"].as_array().expect("keys").iter().map(|key| key["id"].clone()).collect();
    assert_eq!(ids, [json!(world.adas_key.key.id.as_str())]);
    assert_eq!(tollgate::service::keys::list(&world.app, &world.bob.id).await.expect("keys").len(), 1);
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_gone_when_revoked() {
    let world = World::start().await;
    let claims = world.adas_claims();
    let body = json!({"name": " CI \u{1F40C} ", "scopes": ["b", "a", "b"], "expires_at": "2027-01-01T00:00:00+01:00"});
    let made = world.issue(&claims, body).await;
    assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")), "{}", made.text());
    let made = made.json();
    let plain = made["key"].as_str().expect("the key");
    assert_eq!(form(plain.as_bytes()), Form::Checked);
    assert_eq!((&made["name"], &made["scopes"]), (&json!("CI \u{1F40C}"), &json!(["a", "b"])));
    assert_eq!(made["expires_at"], "2026-12-31T23:00:00Z");
    assert_eq!((&made["prefix"], &made["last_four"]), (&json!(plain[..7]), &json!(plain[plain.len() - 4..])));

    let listed = world.call("GET", "/api/keys", &claims, None).await;
    assert!(!listed.text().contains(plain) && listed.json()["keys"][1].get("key").is_none(), "{}", listed.text());
    let path = format!("/api/keys/{}", made["id"].as_str().expect("an id"));
    for _ in 0..2 {
        let answer = world.call("DELETE", &path, &claims, None).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }
    assert_eq!(world.call("GET", "/api/keys", &claims, None).await.json()["keys"].as_array().map(Vec::len), Some(1));
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_body_is_listed() {
    let world = World::start().await;
    let claims = world.adas_claims();
    for (body, fields) in [
        (json!({}), vec!["name"]),
        (
            json!({"name": 7, "scopes": "a", "expires_at": "soon", "color": 1}),
            vec!["color", "expires_at", "name", "scopes"],
        ),
        (
            json!({"name": "  ", "scopes": ["a b"], "expires_at": "2020-01-01T00:00:00Z"}),
            vec!["expires_at", "name", "scopes"],
        ),
        (json!({"name": "x".repeat(101)}), vec!["name"]),
        (json!({"name": "a\nb"}), vec!["name"]),
        (json!({"name": "x", "scopes": [1]}), vec!["scopes"]),
        (json!({"name": "x", "scopes": vec!["s"; 51]}), vec!["scopes"]),
        (json!({"name": "x", "expires_at": "2199-01-01T00:00:00Z"}), vec!["expires_at"]),
        (json!([]), vec!["body"]),
    ] {
        let answer = world.issue(&claims, body.clone()).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("invalid_request")), "{body}");
        let problem = answer.json();
        let faults = problem["faults"].as_array().expect("faults");
        let mut found: Vec<_> = faults.iter().filter_map(|fault| fault["field"].as_str()).collect();
        found.sort_unstable();
        assert_eq!(found, fields, "{body}: {problem}");
    }
    let large = world.issue(&claims, json!({"name": "x".repeat(20_000)})).await;
    assert_eq!(large.status, 413);
    let plain = Request::post("/api/keys", "{}").header("x-auth-assertion", world.signer.sign(&claims));
    assert_eq!(world.ask(plain).await.status, 415);
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hands_out_more_than_they_have() {
    let world = World::start().await;
    let mut by_key = world.adas_claims();
    by_key["method"] = json!("api_key");
    by_key["scopes"] = json!(["a:read"]);
    for (scopes, status) in [(json!(["a:read"]), 201), (json!([]), 201), (json!(["a:read", "a:write"]), 403)] {
        let answer = world.issue(&by_key, json!({"name": "x", "scopes": scopes})).await;
        assert_eq!(answer.status, status, "{scopes}: {}", answer.text());
    }
    let mut impersonated = world.adas_claims();
    impersonated["act"] = json!("user_support");
    let refused = world.issue(&impersonated, json!({"name": "x"})).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (403, Some("impersonated_session")));
    let path = format!("/api/keys/{}", world.adas_key.key.id.as_str());
    assert_eq!(world.call("DELETE", &path, &impersonated, None).await.status, 403);
    assert_eq!(world.call("GET", "/api/keys", &impersonated, None).await.status, 200);
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_closed_or_gone_is_refused_at_once() {
    let world = World::start().await;
    let mut gone = world.adas_claims();
    gone["sub"] = json!("usr_gone");
    let closed = UserPatch { is_active: Some(false), ..UserPatch::default() };
    users::update(&world.app, &world.ada.id, &closed, None).await.expect("changed");
    for (claims, status, code) in [(gone, 401, "user_unknown"), (world.adas_claims(), 403, "user_inactive")] {
        let path = format!("/api/keys/{}", world.adas_key.key.id.as_str());
        for (method, path) in [("GET", "/api/me"), ("GET", "/api/keys"), ("DELETE", &path)] {
            let answer = world.call(method, path, &claims, None).await;
            assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{method} {path}");
        }
        assert_eq!(world.issue(&claims, json!({"name": "x"})).await.status, status);
    }
    world.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_a_hundred_keys_at_most() {
    let world = World::start().await;
    let claims = world.adas_claims();
    for _ in 1..100 {
        assert_eq!(world.issue(&claims, json!({"name": "x"})).await.status, 201);
    }
    let refused = world.issue(&claims, json!({"name": "x"})).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (409, Some("limit_reached")));
    world.running.shutdown().await;
}
